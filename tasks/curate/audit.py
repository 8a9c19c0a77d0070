"""What is wrong with a folder of images: damage, wrong names, copies, labels that contradict, splits that leak.

Owns the findings of `harvestman audit`, described field by field in docs/audit.md. Reads what one look at each file
told; writes nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tasks.curate.clusters import add_clusters, near_pairs
from tasks.curate.config import NearDuplicates
from tasks.curate.layout import FORMATS, extension, named_image, promised

IDENTICAL, NEAR = "identical", "near"
PAIRS = 250_000  # of near-duplicates whose distances are told: 70 MB
STRAY = 20  # where of more images than so many times the GIFs most are JPEG, a GIF is no photo: a placeholder, an icon

_IMAGES = {
    "sha256": pl.String,
    "phash": pl.UInt64,
    "verify_hash": pl.Binary,
    "contrast": pl.Float32,
    "width": pl.Int32,
    "height": pl.Int32,
    "bytes": pl.Int64,
    "published": pl.Boolean,
    "eligible": pl.Boolean,
}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class File:
    """One image file, or what is named like one: a row of `files`."""

    path: str
    """Relative to the folder; bytes that are no text as surrogate escapes (PEP 383), which no Polars string holds."""
    split: str | None
    label: str | None
    verdict: str
    """`ok`: it decodes without an error; `damaged`: with errors; `unreadable`: not at all, or too large to try."""
    reason: str | None = None
    """The outcome slug of the ledger, where it is not ok."""
    detail: str | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    size: int | None = None
    sha256: str | None = None
    contrast: float | None = None
    """Standard deviation of the gray pixels, 0 to 127.5."""
    phash: int | None = None
    verify_hash: bytes | None = None

    def as_json(self) -> Row:
        """Return the row as it stands in the JSON."""
        return {
            "path": self.path,
            "split": self.split,
            "class": self.label,
            "verdict": self.verdict,
            "format": self.format,
            "width": self.width,
            "height": self.height,
            "bytes": self.size,
            "sha256": self.sha256,
            "contrast": None if self.contrast is None else round(self.contrast, 2),
            "phash": None if self.phash is None else f"{self.phash:016x}",
        }


@dataclass(frozen=True)
class Findings:
    """Everything found in a folder, each list in the order of its first path."""

    files: list[Row]
    unreadable: list[Row]
    damaged: list[Row]
    wrong_extension: list[Row]
    suspects: list[Row]
    identical_groups: list[Row]
    near_groups: list[Row]
    label_conflicts: list[Row]
    split_leaks: list[Row]

    def faults(self) -> dict[str, list[Row]]:
        """Return the lists of what is wrong, by key."""
        return {name: rows for name, rows in vars(self).items() if name != "files"}


@dataclass(frozen=True)
class _Group:
    """Files that are the same picture: linked by equal bytes or by near-duplicates."""

    files: list[File]
    distances: tuple[int | None, int | None] | None
    """Fewest and most bits of 256 between two near-duplicates among them; null where all bytes are equal."""

    def contents(self) -> dict[str, list[File]]:
        return _by(self.files, lambda file: str(file.sha256))


def findings(files: Sequence[File], config: NearDuplicates) -> Findings:
    """Return what is wrong with the files of a folder, whatever their order.

    Files are compared by their bytes where they decode, with or without errors, or were too large to try; as pictures
    where they decode without an error and are not too flat. What does not decode is listed, and compared with nothing.
    """
    files = sorted(files, key=lambda file: file.path)
    groups = _groups([file for file in files if _comparable(file)], config)
    return Findings(
        files=[file.as_json() for file in files],
        unreadable=[_fault(file) for file in files if file.verdict == "unreadable"],
        damaged=[_fault(file) for file in files if file.verdict == "damaged"],
        wrong_extension=[_misnamed(file, reason) for file in files if (reason := _wrong_extension(file))],
        suspects=list(_suspects(files, config)),
        identical_groups=sorted(_identical(groups), key=lambda row: row["files"]),
        near_groups=[_near(group, group.distances) for group in groups if group.distances],
        label_conflicts=list(_spanning(groups, "classes", lambda file: file.label)),
        split_leaks=list(_spanning(groups, "splits", lambda file: file.split)),
    )


def _comparable(file: File) -> bool:
    return file.sha256 is not None and (file.verdict != "unreadable" or file.reason == "too-large")


def _fault(file: File) -> Row:
    return {"path": file.path, "reason": file.reason, "detail": file.detail, "format": file.format}


def _wrong_extension(file: File) -> str | None:
    if file.verdict == "unreadable" or file.format is None or promised(file.path) == file.format:
        return None
    return "mismatch" if named_image(file.path) else "missing"


def _misnamed(file: File, reason: str) -> Row:
    return {
        "path": file.path,
        "reason": reason,
        "extension": extension(file.path),
        "format": file.format,
        "expected": FORMATS[str(file.format)][0],
    }


def _suspects(files: Sequence[File], config: NearDuplicates) -> Iterator[Row]:
    """Yield what is whole and yet hardly a photo of its class: flat images, and GIFs where photos stand."""
    whole = [file for file in files if file.verdict != "unreadable"]
    formats = Counter(file.format for file in whole)
    strays = formats["JPEG"] * 2 > len(whole) > formats["GIF"] * STRAY
    for file in whole:
        if file.contrast is not None and file.contrast < config.min_contrast:
            detail = f"a contrast of {file.contrast:.1f}: next to one colour, compared by its bytes only"
            yield {"path": file.path, "reason": "flat", "detail": detail}
        elif strays and file.format == "GIF":
            detail = f"a GIF among photos ({formats['GIF']:,} to {formats['JPEG']:,}): a placeholder or an icon, mostly"
            yield {"path": file.path, "reason": "stray-gif", "detail": detail}


def _groups(files: Sequence[File], config: NearDuplicates) -> list[_Group]:
    """Return the files in groups that share a picture, those of several files only, in the order of their first."""
    contents = _by(files, lambda file: str(file.sha256))
    images = add_clusters(_images(contents), config).select("sha256", "phash", "verify_hash", "contrast", "near")
    ranges = _ranges(images, config)
    part_of = dict(images.select("sha256", "near").iter_rows())
    members = _by(files, lambda file: part_of[str(file.sha256)])
    return [_Group(group, ranges.get(part)) for part, group in members.items() if len(group) > 1]


def _ranges(images: pl.DataFrame, config: NearDuplicates) -> dict[int, tuple[int | None, int | None]]:
    """Return fewest and most bits between two near-duplicates of each group, the smallest first while PAIRS last.

    The frames of a camera that stands still are all near each other: 20,000 of them are 200 million pairs.
    """
    sizes = images.group_by("near").len("size").filter(pl.col("size") > 1).sort("size", "near")
    told = sizes.filter((pl.col("size").cast(pl.Int64) * (pl.col("size") - 1) // 2).cum_sum() <= PAIRS)
    compared = images.join(told, on="near")
    pairs = near_pairs(compared, config).join(compared.select(pl.col("sha256").alias("first"), "near"), on="first")
    ranges = pairs.group_by("near").agg(
        pl.col("distance").min().alias("closest"), pl.col("distance").max().alias("farthest")
    )
    unknown: dict[int, tuple[int | None, int | None]] = dict.fromkeys(sizes["near"], (None, None))
    return unknown | {near: (closest, farthest) for near, closest, farthest in ranges.iter_rows()}


def _images(contents: Mapping[str, list[File]]) -> pl.DataFrame:
    """Return one row per content, as the search for near-duplicates reads it."""
    first = [group[0] for group in contents.values()]
    return pl.DataFrame(
        {
            "sha256": list(contents),
            "phash": [file.phash for file in first],
            "verify_hash": [file.verify_hash for file in first],
            "contrast": [file.contrast for file in first],
            "width": [file.width for file in first],
            "height": [file.height for file in first],
            "bytes": [file.size for file in first],
            "published": [False] * len(first),
            "eligible": [True] * len(first),
        },
        schema=_IMAGES,
    )


def _identical(groups: Iterable[_Group]) -> Iterator[Row]:
    for group in groups:
        for sha256, same in group.contents().items():
            if len(same) > 1:
                yield {"sha256": sha256, "bytes": same[0].size, "files": [file.path for file in same]}


def _near(group: _Group, distances: tuple[int | None, int | None]) -> Row:
    return {
        "images": len(group.contents()),
        "closest": distances[0],
        "farthest": distances[1],
        "files": [file.path for file in group.files],
    }


def _spanning(groups: Iterable[_Group], key: str, side: Callable[[File], str | None]) -> Iterator[Row]:
    """Yield the groups that stand on several sides: of different classes, or of different splits."""
    for group in groups:
        sides = _sides(group.files, side)
        if len(sides) > 1:
            exact = any(len(_sides(same, side)) > 1 for same in group.contents().values())
            yield {
                "kind": IDENTICAL if exact else NEAR,
                key: sides,
                "files": [file.path for file in group.files],
            }


def _sides(files: Iterable[File], side: Callable[[File], str | None]) -> list[str]:
    return sorted({name for name in map(side, files) if name is not None})


def _by(files: Iterable[File], key: Callable[[File], Any]) -> dict[Any, list[File]]:
    groups: dict[Any, list[File]] = defaultdict(list)
    for file in files:
        groups[key(file)].append(file)
    return groups
