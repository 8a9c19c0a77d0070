"""Three versions through curation and publication, of sources that forget, change their files and tell other things."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.tables import CANDIDATES, LEDGER, conform, write_table
from tasks.core.workspace import Workspace
from tasks.curate.config import CurateConfig, NearDuplicates
from tasks.curate.verdicts import curate
from tasks.split.config import SplitConfig
from tasks.split.publish import publish

LABELS = ("bee", "wasp")
CONFIGS = (SplitConfig(), SplitConfig(group_by=("creator",)), SplitConfig(train=0.6, val=0.2, test=0.2, folds=3))
Keep = Literal["best", "all"]


@dataclass(frozen=True)
class Offer:
    """What one address shows in a version."""

    picture: int
    """Neighbours are near-duplicates of each other: 8 bits from one to the next, 16 to the one after it."""
    coding: int
    """The bytes that the picture is written in; its hashes are the same in all."""
    group: int | None
    creator: int | None


_OFFER = st.builds(Offer, st.integers(0, 7), st.integers(0, 1), st.none() | st.integers(0, 3), st.integers(0, 5))
_ADDRESS = st.tuples(*[st.none() | _OFFER] * 3)


def _row(url: str, label: str, offer: Offer) -> dict[str, Any]:
    name = f"{offer.picture} {offer.coding}"
    fresh = hashlib.sha256(name.encode())
    placed = {"phash": (1 << 8 * offer.picture) - 1, "verify_hash": b"\x10" * 32}
    alone = {"phash": int.from_bytes(fresh.digest()[:8]), "verify_hash": fresh.digest()}
    return {
        "url": url,
        "label": label,
        "source": "list",
        "outcome": "kept",
        "sha256": fresh.hexdigest(),
        "format": "JPEG",
        "width": 100,
        "height": 100,
        "bytes": 1000,
        "contrast": 50.0,
        "group_id": None if offer.group is None else f"o{offer.group}",
        "creator": None if offer.creator is None else f"c{offer.creator}",
        **(placed if offer.picture < 8 else alone),
    }


_LOOSE = [_row(f"http://a.example/loose{n}", LABELS[n % 2], Offer(100 + n, 0, None, None)) for n in range(30)]


def _versions(root: Path, addresses: list[tuple[Offer | None, ...]], keep: Keep, config: SplitConfig) -> Iterator[Any]:
    """Yield rows and manifest of each version; candidates and ledger are those of the version alone."""
    workspace = Workspace(root)
    collection = workspace.collection("insects")
    near = NearDuplicates(radius=10, verify_radius=40, keep=keep)
    for version in range(3):
        offers = [(n, offer) for n, of in enumerate(addresses) if (offer := of[version])]
        rows = [*_LOOSE, *(_row(f"http://a.example/{n}", "bee", offer) for n, offer in offers)]
        frame = pl.DataFrame(rows, schema_overrides={"phash": pl.UInt64()}, infer_schema_length=None)
        write_table(conform(frame, CANDIDATES), collection / "candidates" / "0.parquet")
        write_table(conform(frame, LEDGER), collection / "ledger" / "0.parquet")
        for sha256 in frame["sha256"].unique():
            path = workspace.image(sha256, "JPEG")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(sha256.encode())
        curated = curate(collection, CurateConfig(near_duplicates=near), labels=LABELS)
        dataset, _, _ = publish(workspace, "insects", verdicts=curated.path, config=config, labels=LABELS)
        yield frame, pl.read_parquet(workspace.datasets("insects") / dataset.version / "manifest.parquet")


def _alike(one: int, other: int) -> bool:
    return (one ^ other).bit_count() <= 10


def _ties(config: SplitConfig) -> tuple[str, ...]:
    return ("group_id", *config.group_by)


@settings(max_examples=12)
@given(st.lists(_ADDRESS, max_size=14), st.sampled_from(("best", "all")), st.sampled_from(CONFIGS))
def test_no_group_crosses_nothing_moves_and_what_was_in_test_never_trains_whatever_sources_forget(
    addresses: list[tuple[Offer | None, ...]], keep: Keep, config: SplitConfig
) -> None:
    sides: dict[str, tuple[str, int | None]] = {}
    told: list[tuple[str, str]] = []  # what ties to a test image of any version: kind and value
    hashes: set[int] = set()
    folder = Path(tempfile.mkdtemp(prefix="harvestman-memory-"))
    try:
        for frame, manifest in _versions(folder, addresses, keep, config):
            side = manifest.with_columns(side=pl.format("{} {}", "split", pl.col("fold").fill_null(-1)))
            for column in ("component", "cluster_id", "group_id", *config.group_by):
                assert side.drop_nulls(column).group_by(column).agg(pl.n_unique("side"))["side"].max() in {1, None}
            now = {row[0]: row[1:] for row in manifest.select("sha256", "split", "fold").rows()}
            assert all(sides[sha256] == where for sha256, where in now.items() if sha256 in sides)
            rows = frame.select("sha256", "phash", *_ties(config))
            for sha256, phash, *values in rows.filter(pl.col("sha256").is_in(list(now.keys() - sides.keys()))).rows():
                if set(zip(_ties(config), values, strict=True)) & set(told) or any(
                    _alike(phash, old) for old in hashes
                ):
                    assert now[sha256][0] == "test"
            sides |= {sha256: where for sha256, where in now.items() if sha256 not in sides}
            for sha256, phash, *values in rows.rows():
                if sha256 in now and sides[sha256][0] == "test":
                    hashes.add(phash)
                    told += [pair for pair in zip(_ties(config), values, strict=True) if pair[1] is not None]
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("change", ["vanished", "forgotten"])
def test_new_photos_of_the_observation_of_a_test_image_stay_in_test(tmp_path: Path, change: str) -> None:
    """The image is no longer offered, or its source no longer tells of the observation."""
    offers = [Offer(200 + n, 0, n, None) for n in range(20)]
    then = [None if change == "vanished" else Offer(offer.picture, 0, None, None) for offer in offers]
    old = [(offer, later, None) for offer, later in zip(offers, then, strict=True)]
    addresses = [*old, *((None, Offer(300 + n, 0, n, None), None) for n in range(20))]
    (_, before), (_, after), _ = _versions(tmp_path, addresses, "best", SplitConfig())
    tested = before.filter(pl.col("group_id").is_not_null(), split="test")["group_id"]
    assert tested.len() > 0
    new = after.join(before, on="sha256", how="anti")
    assert set(new.filter(pl.col("group_id").is_in(tested.implode()))["split"]) == {"test"}
    sides = new.join(before, on="group_id", suffix="_before")
    assert (sides["split"] == sides["split_before"]).all()
    assert sides.height == 20
