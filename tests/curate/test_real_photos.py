from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tasks.core.errors import ImageRefusedError
from tasks.core.fingerprint import file_digest
from tasks.curate.config import CurateConfig, NearDuplicates
from tasks.curate.conflicts import conflicts
from tasks.curate.near import pairs_within
from tasks.curate.verdicts import curate
from tasks.ingest.inspect import inspect
from tasks.ingest.inspectors import hush_pillow

pytestmark = pytest.mark.real
Row = Callable[..., dict[str, Any]]


def _rows(folder: Path, row: Row, *classes: str) -> list[dict[str, Any]]:
    rows = []
    hush_pillow()
    wanted = (path for name in classes or ("*",) for path in folder.glob(f"{name}/*"))
    for path in sorted(path for path in wanted if path.is_file() and path.suffix != ".txt"):
        try:
            seen = inspect(path, min_side=1, max_pixels=10**8)
        except ImageRefusedError:
            continue
        address, size = str(path.relative_to(folder)), path.stat().st_size
        rows.append(row(address, path.parent.name, address, sha256=file_digest(path), bytes=size, **vars(seen)))
    return rows


def test_the_files_several_queries_found_are_kept_once_or_set_aside(
    real_data: Path, row: Row, collect: Callable[..., Path]
) -> None:
    rows = [r | {"label": "bee"} for r in _rows(real_data / "photos" / "bees-google", row)]
    copies = Counter(r["sha256"] for r in rows)
    assert sum(count > 1 for count in copies.values()) == 48
    curated = curate(collect(rows), CurateConfig(), labels=("bee",))
    assert curated.verdicts["duplicate-bytes"] == sum(copies.values()) - len(copies)
    assert curated.conflicts == 0
    table = pl.read_parquet(curated.path)
    assert table.filter(verdict="near-duplicate").height >= 5
    assert table.filter(pl.col("verdict").is_in(["kept", "near-duplicate"]))["sha256"].n_unique() == len(copies)


@pytest.mark.parametrize(
    ("policy", "kept", "lost"), [("quarantine", 349, 23), ("majority", 353, 15), ("keep-first", 358, 11)]
)
def test_queries_that_found_the_same_pictures_are_settled_as_the_recipe_says(
    real_data: Path,
    row: Row,
    collect: Callable[..., Path],
    policy: Any,  # noqa: ANN401
    kept: int,
    lost: int,
) -> None:
    """Each query (bee in nineteen languages and species) as a class of its own: nine pictures came by several.

    One picture came by one query twice, once with the marks of an agency, 56 of 256 bits apart.
    """
    rows = _rows(real_data / "photos" / "bees-google", row)
    curated = curate(collect(rows), CurateConfig(conflicts=policy), labels=tuple(sorted({r["label"] for r in rows})))
    assert curated.verdicts == {
        "duplicate-bytes": len(rows) - kept - lost - 1,
        "kept": kept,
        "label-conflict": lost,
        "near-duplicate": 1,
    }
    assert curated.conflicts == 9


def test_one_picture_found_for_two_kinds_of_bear_is_set_aside_until_a_person_decides(
    real_data: Path, row: Row, collect: Callable[..., Path], decide: Callable[..., CurateConfig]
) -> None:
    rows = _rows(real_data / "photos" / "bears-google", row)
    claims: dict[str, set[str]] = {}
    for r in rows:
        claims.setdefault(r["sha256"], set()).add(r["label"])
    (twice,) = (sha256 for sha256, labels in claims.items() if len(labels) > 1)
    collection, labels = collect(rows), ("black", "grizzly", "teddys")
    curated = curate(collection, CurateConfig(), labels=labels)
    listed = conflicts(pl.read_parquet(curated.path))
    assert (set(listed["sha256"]), set(listed["label"]), curated.conflicts) == ({twice}, {"black", "grizzly"}, 1)
    decided = curate(collection, decide(({"sha256": twice}, "relabel", "grizzly")), labels=labels)
    assert decided.conflicts == 0
    assert decided.verdicts == {"duplicate-bytes": 3, "kept": curated.verdicts["kept"] + 1}


def test_frames_of_a_fish_counter_are_thinned_out_and_those_claimed_twice_set_aside(
    real_data: Path, row: Row, collect: Callable[..., Path]
) -> None:
    """Frames of one passage are near-duplicates; an empty frame says neither bream nor trout."""
    rows = _rows(real_data / "photos" / "fish", row, "bream", "rainbowtrout")
    config = CurateConfig(near_duplicates=NearDuplicates(radius=10, verify_radius=40))
    curated = curate(collect(rows), config, labels=("bream", "rainbowtrout"))
    table = pl.read_parquet(curated.path)
    assert sum(curated.verdicts.values()) == len(rows)
    assert curated.conflicts == 2
    assert table.filter(pl.col("url").str.contains("20150820_122740.*_nofish1_frame17"))["verdict"].to_list() == [
        "label-conflict"
    ]
    dropped = table.filter(verdict="near-duplicate")
    passage = pl.col("url").str.extract(r"(\d{8}_\d{6})")
    kept = table.filter(verdict="kept").select(keeper="sha256", kept_passage=passage)
    together = dropped.select("keeper", passage=passage).join(kept, on="keeper")
    assert together.height == dropped.height
    assert (together["passage"] == together["kept_passage"]).mean() > 0.9


def test_banded_and_brute_search_agree_on_real_hashes(real_data: Path, row: Row) -> None:
    """Real hashes crowd some buckets; repeated three times with a bit flipped they pass the brute-force limit."""
    rows = [
        r for name in ("bees-hornets", "bears-google", "ants-bees") for r in _rows(real_data / "photos" / name, row)
    ]
    hashes = np.array([r["phash"] for r in rows], np.uint64)
    assert len(hashes) > 300
    many = np.concatenate([hashes ^ np.uint64(1 << bit) for bit in range(0, 64, 64 * len(hashes) // 3500 or 1)])[:3600]
    distances = np.bitwise_count(many[:, None] ^ many[None, :])
    first, second = np.nonzero(np.triu(distances <= 10, 1))
    np.testing.assert_array_equal(pairs_within(many, 10), np.column_stack((first, second)))
