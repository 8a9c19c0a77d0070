"""What the thresholds of near-duplicates cost and find: false pairs among strangers, recall over edits.

Run from the repository root: python -m benchmarks.curate.thresholds [--photos FOLDER] [--originals 200]. Reads the
photos of HARVESTMAN_REAL_DATA, edits some in memory, prints tables in Markdown (docs/near-duplicates.md has them) and
writes nothing. Takes two to three minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image, ImageOps

from benchmarks.curate.edits import AFTERWARDS, EDITS, MOVES, Edit, flat_pictures, moved
from tasks.core.errors import ImageRefusedError
from tasks.curate.config import NearDuplicates
from tasks.curate.near import MAX_RADIUS, bits_apart, pair_blocks
from tasks.curate.symmetry import GROUPS, Invariance, Symmetry, folded, turned, versions
from tasks.ingest.inspect import Inspected, inspect
from tasks.ingest.inspectors import hush_pillow

DEFAULT = NearDuplicates()
SETTINGS = (
    (8, 256), (10, 256), (10, 30), (10, 40), (12, 40), (10, 50), (10, 60),
    (12, 60), (12, 80), (14, 80), (16, 80), (16, 90), (16, 100),
)  # fmt: skip
SOURCES = {  # folders that may hold the same picture are one source
    "fish": "fish",
    "spiders": "spiders",
    "ants-bees": "insects",
    "bees-hornets": "insects",
    "bees-google": "insects",
    "bears-google": "bears",
    "bears-polar": "bears",
}
UNKNOWN = ("mixed", "none")  # classes that say nothing of what is shown
SEED = 1337


@dataclass(frozen=True)
class Photo:
    """A photo of the real data."""

    path: Path
    source: str
    label: str
    seen: Inspected


def photos(folder: Path) -> list[Photo]:
    """Return each distinct file that decodes, in the order of its path."""
    found: dict[bytes, Photo] = {}
    for path in sorted(path for name in SOURCES for path in (folder / name).rglob("*") if path.is_file()):
        content, name = path.read_bytes(), path.relative_to(folder).parts[0]
        digest = hashlib.sha256(content).digest()
        if digest in found:
            continue
        try:
            seen = inspect(content, min_side=32, max_pixels=10**8)
        except ImageRefusedError:
            continue
        label = "bees" if name == "bees-google" else path.parent.name  # there a folder is a search query
        found[digest] = Photo(path, SOURCES[name], label, seen)
    return list(found.values())


def hashes(seen: Iterable[Inspected]) -> tuple[np.ndarray, np.ndarray]:
    """Return both hashes, shapes (N,) and (N, 32)."""
    listed = list(seen)
    long = np.frombuffer(b"".join(one.verify_hash for one in listed), np.uint8)
    return np.array([one.phash for one in listed], np.uint64), long.reshape(-1, 32)


def distances(seen: Iterable[Inspected], invariance: Invariance) -> pl.DataFrame:
    """Return each pair within the widest radius: rows first and second, bits of both hashes, once per symmetry."""
    phash, long = hashes(seen)
    shorts, longs = versions(phash, long, invariance)
    parts = [np.empty((0, 4), np.int64)]
    for block in pair_blocks(shorts, MAX_RADIUS):
        pairs, new = folded(block, len(phash))
        short = np.bitwise_count(shorts[block[new, 0]] ^ shorts[block[new, 1]]).astype(np.int64)
        parts.append(np.column_stack((pairs, short, bits_apart(block[new], longs))))
    return pl.DataFrame(np.concatenate(parts), schema=["first", "second", "short", "long"], orient="row")


def within(pairs: pl.DataFrame, radius: int, verify_radius: int) -> pl.DataFrame:
    """Return the pairs that count with these thresholds, each once."""
    near = (pl.col("short") <= radius) & (pl.col("long") <= verify_radius)
    return pairs.filter(near).unique(["first", "second"])


def table(head: list[str], rows: Iterable[list[str]]) -> None:
    """Print a table in Markdown."""
    for row in (head, ["---"] + ["---:"] * (len(head) - 1), *rows):
        print(f"| {' | '.join(row)} |")
    print()


def print_false_pairs(taken: list[Photo]) -> None:
    """Print how many strangers each pair of thresholds takes for one picture.

    Strangers are different for certain: photos of different sources, or of different classes of one source. Fish count
    among themselves only: frames that a camera took of one river bed are strangers with the same background.
    """
    found = [distances((photo.seen for photo in taken), invariance) for invariance in GROUPS]
    names = [(row, photo.source, photo.label) for row, photo in enumerate(taken) if photo.label not in UNKNOWN]
    known = pl.DataFrame(names, schema=["row", "source", "label"], orient="row")
    for title, part in (
        ("photos of different sources or classes", known.filter(pl.col("source") != "fish")),
        ("video frames with fish of different species", known.filter(source="fish")),
    ):
        sizes = part.group_by("source", "label").len()["len"].to_numpy().astype(np.int64)
        count = int((sizes.sum() ** 2 - (sizes**2).sum()) // 2)
        print(f"False pairs among the {count:,} pairs of {title} ({part.height:,} images)\n")
        rows = [
            [f"{radius} / {verify}", *(str(crossing(within(pairs, radius, verify), part)) for pairs in found)]
            for radius, verify in SETTINGS
        ]
        table(["radius / verify radius", *GROUPS], rows)


def crossing(pairs: pl.DataFrame, part: pl.DataFrame) -> int:
    """Return how many of `pairs` are of rows of `part` with another source or class."""
    ends = pairs.join(part, left_on="first", right_on="row").join(part, left_on="second", right_on="row", suffix="_2")
    return ends.filter((pl.col("source") != pl.col("source_2")) | (pl.col("label") != pl.col("label_2"))).height


def print_recall(originals: list[Photo]) -> None:
    """Print which share of edited copies each pair of thresholds finds."""
    edits: dict[str, tuple[Edit, Invariance]] = {name: (edit, "none") for name, edit in EDITS.items()}
    for name, move in MOVES.items():
        kind: Invariance = "mirror" if name == "mirrored" else "rotation"
        edits |= {f"{name}, {then}": (moved(move, EDITS[then]), kind) for then in AFTERWARDS}
    print(f"Recall: share of {len(originals)} photos found again after an edit\n")
    rows = []
    for name, (edit, invariance) in edits.items():
        apart = [copy_distances(photo, edit, invariance) for photo in originals]
        shares = [np.mean([found_again(one, *setting) for one in apart]) for setting in SETTINGS]
        rows.append([name, *(f"{share:.3f}" for share in shares)])
    table(["edit", *(f"{radius} / {verify}" for radius, verify in SETTINGS)], rows)


def found_again(apart: np.ndarray, radius: int, verify_radius: int) -> bool:
    """Tell whether a copy is near in one of its positions, rows of `copy_distances`."""
    return bool(((apart[:, 0] <= radius) & (apart[:, 1] <= verify_radius)).any())


def copy_distances(photo: Photo, edit: Edit, invariance: Invariance) -> np.ndarray:
    """Return in how many bits of both hashes the edited photo differs from the photo, in each position that counts."""
    with Image.open(photo.path) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    copy = inspect(edit(image), min_side=1, max_pixels=10**8)
    return np.array([derived_errors(photo.seen, copy, symmetry) for symmetry in GROUPS[invariance]])


def derived_errors(one: Inspected, two: Inspected, symmetry: Symmetry) -> tuple[int, int]:
    """Return in how many bits the hashes of `two` differ from those that `one` should have after `symmetry`."""
    sides = [
        (np.frombuffer(seen.phash.to_bytes(8), np.uint8), np.frombuffer(seen.verify_hash, np.uint8))
        for seen in (one, two)
    ]
    short, long = (int(np.bitwise_count(turned(a[None], symmetry)[0] ^ b).sum()) for a, b in zip(*sides, strict=True))
    return short, long


def print_derived(originals: list[Photo]) -> None:
    """Print how far derived hashes lie from those of pixels that were really mirrored or turned, without any loss."""
    moves = {"mirrored": Symmetry(mirrored=True), "half turn": Symmetry(mirrored=True, flipped=True)}
    moves["quarter turn"] = Symmetry(transposed=True, flipped=True)  # Pillow turns to the left
    print("Bits in which a derived hash differs from that of the moved pixels (PNG): median / 99th percentile / most\n")
    rows = []
    for name, symmetry in moves.items():
        edit = moved(MOVES[name], EDITS["PNG"])
        errors = []
        for photo in originals:
            with Image.open(photo.path) as opened:
                image = ImageOps.exif_transpose(opened).convert("RGB")
            files = (EDITS["PNG"](image), edit(image))
            plain, copy = (inspect(content, min_side=1, max_pixels=10**8) for content in files)
            errors.append(derived_errors(plain, copy, symmetry))
        figures = np.percentile(errors, [50, 99, 100], axis=0)
        rows.append([name, *(" / ".join(f"{value:.0f}" for value in column) for column in figures.T)])
    table(["", "of 64", "of 256"], rows)


def print_flat(taken: list[Photo], count: int = 40) -> None:
    """Print which share of pairs of pictures without contrast would count as near-duplicates, were they compared."""
    rows = []
    for name, files in flat_pictures(SEED, count).items():
        seen = [inspect(content, min_side=1, max_pixels=10**8) for content in files]
        near = within(distances(seen, "none"), DEFAULT.radius, DEFAULT.verify_radius).height
        contrast = np.median([one.contrast for one in seen])
        rows.append([name, f"{contrast:.1f}", f"{near / (count * (count - 1) / 2):.3f}"])
    print(f"Flat pictures of {count} colours: share of pairs within {DEFAULT.radius} / {DEFAULT.verify_radius}\n")
    table(["picture", "contrast", "false pairs"], rows)
    contrast = np.sort([photo.seen.contrast for photo in taken])
    print(f"Lowest contrasts of {len(taken):,} photos: {', '.join(f'{value:.1f}' for value in contrast[:8])}\n")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    root = Path(os.environ.get("HARVESTMAN_REAL_DATA", "../shared/data"))
    parser.add_argument("--photos", type=Path, default=root / "photos")
    parser.add_argument("--originals", type=int, default=200)
    arguments = parser.parse_args()
    hush_pillow()
    taken = photos(arguments.photos)
    print_flat(taken)
    taken = [photo for photo in taken if photo.seen.contrast >= DEFAULT.min_contrast]
    print_false_pairs(taken)
    chosen = np.random.default_rng(SEED).choice(len(taken), min(arguments.originals, len(taken)), replace=False)
    originals = [taken[row] for row in np.sort(chosen)]
    print_derived(originals)
    print_recall(originals)


if __name__ == "__main__":
    main()
