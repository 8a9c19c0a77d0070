"""The files that stand in for those a recipe names: where they lie, and what is written into which.

Reads what has been put up. Writes lists, tables, folders and archives into `<site>/urls` and `<site>/files`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath

from tasks.core.files import write_atomic
from tasks.rehearse import dumps, local
from tasks.rehearse.hosted import Shown
from tasks.rehearse.lists import untidy
from tasks.rehearse.local import Filed
from tasks.rehearse.observations import Seen
from tasks.rehearse.rows import Site, cells, parted, table
from tasks.rehearse.sources import TEXT, Slot

_ARCHIVES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tbz2", ".txz", ".tar")


def files_of(slot: Slot) -> list[str]:
    """Return the paths, relative to the site's folder, that stand in for those the recipe gives a source."""
    stem = f"{'urls' if slot.source == 'url_list' else 'files'}/{slot.name}"
    if slot.source in {"folder", "inaturalist_open_data"}:
        return [stem]
    suffixes = [_suffix(slot, path) for path in slot.paths]
    if len(suffixes) == 1:
        return [stem + suffixes[0]]
    return [f"{stem}-{number}{suffix}" for number, suffix in enumerate(suffixes)]


def table_of(slot: Slot) -> str | None:
    """Return the member of an archive that is its table."""
    named = slot.options.get("table")
    return None if named is None else PurePath(str(named)).name


def write_files(
    put_up: tuple[Sequence[Seen], Sequence[Shown], Sequence[Filed]],
    slots: Sequence[Slot],
    folder: Path,
    *,
    site: Site,
) -> None:
    """Write what stands in for every file that the recipe names.

    Args:
        put_up: Observations, pictures of lists and searches, and files, in their order.
        slots: Sources of the recipe.
        folder: The site's folder.
        site: What they have in common.
    """
    seen, shown, filed = put_up
    named: dict[str, Slot] = {}
    for slot in slots:
        named.setdefault(slot.name, slot)
    number = 0
    for name, slot in named.items():
        targets = [folder / path for path in files_of(slot)]
        if slot.source == "url_list":
            mine = [item for item in shown if item.slot.name == name]
            _write_lists(sorted(mine, key=lambda item: item.address.path), targets, site, number=number)
            number += 1
        elif slot.source in dumps.WRITERS:
            dumps.WRITERS[slot.source]([item for item in seen if item.slot.name == name], targets, site)
        elif slot.source in {"folder", "archive"}:
            local.write([item for item in filed if item.slot.name == name], targets[0], table_of(slot))


def _write_lists(shown: Sequence[Shown], targets: Sequence[Path], site: Site, *, number: int) -> None:
    """Write the addresses of one source as lists or tables, as the suffixes of the files say."""
    rows = []
    for item in shown:
        column = item.slot.options.get("columns", {}).get("url", "url")
        own = (
            cells(item.slot, item.kind, site.drop, unique=item.address.key.rpartition("/")[2])
            if item.slot.tabular
            else {}
        )
        rows.append({column: site.base_url + item.address.path} | own)
    for target, part in zip(targets, parted(rows, len(targets)), strict=True):
        if target.suffix in TEXT:
            body = untidy([next(iter(row.values())) for row in part], number=number)
        else:
            body = table(part, _tail(target), bom=number % 2 == 0)
        write_atomic(target, lambda out, body=body: out.write(body))  # type: ignore[misc]


def _tail(path: Path) -> str:
    return "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix


def _suffix(slot: Slot, path: PurePath) -> str:
    name = path.name.lower()
    if slot.source == "archive":
        return next((suffix for suffix in _ARCHIVES if name.endswith(suffix)), ".zip")
    if slot.source == "darwin_core":
        return path.suffix.lower()
    if slot.source == "inaturalist_export":
        return ".zip" if name.endswith(".zip") else ".csv"
    if name.endswith(".gz"):
        return "".join(PurePath(name).suffixes[-2:])
    return path.suffix.lower() or ".txt"
