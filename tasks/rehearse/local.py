"""Images in folders and archives of this machine, as a photo site hands them out beside its addresses.

Reads pictures. Writes folders and archives below `<site>/files`.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.core.errors import RecipeError
from tasks.core.files import write_atomic
from tasks.rehearse.door import Door
from tasks.rehearse.faults import SUFFIXES, body_of
from tasks.rehearse.plan import Address
from tasks.rehearse.posts import Post, Shot
from tasks.rehearse.rows import Row, cells, table
from tasks.rehearse.sources import LOCAL, Slot

_EPOCH = (2020, 1, 1, 0, 0, 0)  # date of every member: the same photos give the same archive
_FIELD = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True)
class Filed:
    """An image that has been put into a folder or an archive."""

    slot: Slot
    shot: Shot
    inner: str  # path below the folder, or in the archive
    row: Row  # of the archive's table
    address: Address


def filed(posts: Sequence[Post], door: Door, *, drop: Sequence[str]) -> Iterator[Filed]:
    """Yield every image of the sources that are folders and archives."""
    used: set[tuple[str, str]] = set()
    for post in posts:
        for shot in post.shots if post.slot.source in LOCAL else ():
            slot, number = post.slot, 0
            inner, row = _named(slot, shot, shot.file.stem, drop=drop)
            while (slot.name, inner) in used:
                number += 1
                inner, row = _named(slot, shot, f"{shot.file.stem}-{number}", drop=drop)
            used.add((slot.name, inner))
            path = f"files/{slot.name}/{inner}"
            address = door.address(slot, shot, place=(path, path), licence=slot.options["licence"])
            yield Filed(slot, shot, inner, row, address)


def write(items: Sequence[Filed], target: Path, named: str | None) -> None:
    """Write the images of one source: a folder, or an archive of the kind that the suffix says, with its table."""
    bodies = {item.inner: body_of(item.shot.kind, item.shot.file) for item in items}
    if items[0].slot.source == "folder":
        for inner, body in bodies.items():
            write_atomic(target / inner, lambda out, body=body: out.write(body))  # type: ignore[misc]
        return
    if named is not None:
        bodies[named] = table([item.row for item in items], Path(named).suffix.lower())
    packed = _zipped(bodies) if target.suffix == ".zip" else _tarred(bodies, target.name)
    write_atomic(target, lambda out: out.write(packed))


def _named(slot: Slot, shot: Shot, unique: str, *, drop: Sequence[str]) -> tuple[str, Row]:
    """Return an image's path in its folder or archive, and its row of the table."""
    suffix = ({"page": ".jpg"} | SUFFIXES).get(shot.kind, shot.file.suffix.lower() or ".jpg")
    if slot.options.get("table") is not None:
        return _rendered(slot, f"{unique}{suffix}", cells(slot, shot.kind, drop, unique=unique))
    rule = slot.rule
    if slot.shared is None:
        return f"{unique}{suffix}", {}
    if rule is None or rule.pattern is None:
        return f"{slot.raw}/{unique}{suffix}", {}
    return rule.written(str(slot.raw), unique, tails=(suffix, f"_0{suffix}", f"/{unique}{suffix}")), {}


def _rendered(slot: Slot, name: str, row: Row) -> tuple[str, Row]:
    """Return where the image of `row` lies by the recipe's `image:`, and the row with the columns it names."""
    form = str(slot.options["image"])
    open_fields = [field for field in _FIELD.findall(form) if field not in row]
    if not open_fields:
        raise RecipeError(
            "A photo site cannot name the images of the archive.",
            received=f"image: {form}",
            hint="`image:` needs a column that tells one image from another.",
        )
    whole = form.endswith("}")  # the column holds the whole name, suffix and all
    filled = dict.fromkeys(open_fields[:-1], "a") | {open_fields[-1]: name if whole else name.rpartition(".")[0]}
    row = filled | row
    return _FIELD.sub(lambda found: row[found[1]], form).lstrip("/"), row


def _zipped(bodies: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        for name, body in bodies.items():
            packed.writestr(zipfile.ZipInfo(name, _EPOCH), body)
    return stream.getvalue()


def _tarred(bodies: dict[str, bytes], name: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as packed:
        for inner, body in bodies.items():
            member = tarfile.TarInfo(inner)
            member.size = len(body)
            packed.addfile(member, io.BytesIO(body))
    return _compressed(stream.getvalue(), name)


def _compressed(body: bytes, name: str) -> bytes:
    if name.endswith("gz"):
        return gzip.compress(body, mtime=0)
    if name.endswith("bz2"):
        return bz2.compress(body)
    return lzma.compress(body) if name.endswith("xz") else body
