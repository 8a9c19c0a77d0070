"""Three versions in a row, with random ties between old and new images, dealt by the same code that publishes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.tables import SPLITS, VERDICTS, conform
from tasks.core.unions import tied
from tasks.split.config import SplitConfig
from tasks.split.manifest import Divided, divide

LABELS = ("a", "b", "c")
CONFIGS = (
    SplitConfig(),
    SplitConfig(train=0.8, val=0, test=0.2),
    SplitConfig(train=0.5, val=0.25, test=0.25, folds=3),
    SplitConfig(group_by=("creator",)),
)
GROUPS = ("component", "cluster_id", "group_id")


@dataclass(frozen=True)
class Image:
    """One image and what ties it: the clusters and near-duplicates, the observation, the creator; small numbers."""

    number: int
    version: int
    """The version it comes with."""
    label: str
    cluster: int | None
    near: int | None
    """Ties that only the component tells of: near-duplicates of near-duplicates."""
    group: int | None
    creator: int | None
    verdicts: tuple[str, str, str]
    """Its verdict in each of the three versions; `away` = no row of it at all."""


_TIE = st.none() | st.integers(0, 9)
_SOMETIMES = st.tuples(*[st.sampled_from(["kept", "kept", "kept", "near-duplicate", "gone", "away"])] * 3)
_ALWAYS = st.just(("kept", "kept", "kept"))


def _images(verdicts: st.SearchStrategy[tuple[str, str, str]]) -> st.SearchStrategy[list[Image]]:
    """Random images, and for each class twenty without any tie, so that a split exists in all versions."""
    loose = [Image(1000 + n, 0, LABELS[n % 3], None, None, None, None, ("kept",) * 3) for n in range(60)]
    some = st.builds(Image, st.just(0), st.integers(0, 2), st.sampled_from(LABELS), _TIE, _TIE, _TIE, _TIE, verdicts)
    numbered = st.lists(some, max_size=40).map(
        lambda images: [Image(**(vars(image) | {"number": n})) for n, image in enumerate(images)]
    )
    return numbered.map(lambda images: loose + images)


def _table(images: list[Image], version: int) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for image in images:
        verdict = image.verdicts[version]
        if image.version > version or verdict == "away":
            continue
        sha256 = hashlib.sha256(str(image.number).encode()).hexdigest()
        rows.append(
            {
                "sha256": sha256,
                "label": image.label,
                "verdict": verdict,
                "url": f"http://photos.example/{image.number}",
                "cluster_id": sha256 if image.cluster is None else f"cluster {image.cluster}",
                "near": None if image.near is None else f"near {image.near}",
                "group_id": None if image.group is None else f"observation {image.group}",
                "creator": None if image.creator is None else f"creator {image.creator}",
                "format": "JPEG",
            }
        )
    frame = pl.DataFrame(rows, schema_overrides=dict.fromkeys(("near", "group_id", "creator"), pl.String))
    return conform(frame.with_columns(tied(frame, ["cluster_id", "near", "group_id"])), VERDICTS)


def _versions(images: list[Image], config: SplitConfig) -> Iterator[tuple[pl.DataFrame, Divided]]:
    """Divide one version after the other, each with the history of those before."""
    history = pl.DataFrame(schema=SPLITS)
    for version in range(3):
        table = _table(images, version)
        divided = divide(table, config, labels=LABELS, history=history)
        yield table, divided
        history = pl.concat([history, conform(divided.manifest, SPLITS)]).unique("sha256", keep="first")


def _side(divided: Divided) -> dict[str, tuple[str, int | None]]:
    return {sha256: (split, fold) for sha256, split, fold in divided.manifest.select("sha256", "split", "fold").rows()}


@settings(max_examples=40)
@given(_images(_SOMETIMES), st.sampled_from(CONFIGS))
def test_no_group_ever_crosses_and_nothing_is_lost_or_moved_or_trains_that_was_in_test(
    images: list[Image], config: SplitConfig
) -> None:
    sides: dict[str, tuple[str, int | None]] = {}
    tested: set[str] = set()
    for table, divided in _versions(images, config):
        manifest = divided.manifest.with_columns(side=pl.format("{} {}", "split", pl.col("fold").fill_null(-1)))
        for column in (*GROUPS, *config.group_by):
            assert manifest.drop_nulls(column).group_by(column).agg(pl.n_unique("side"))["side"].max() in {1, None}
        # The parts make the whole: every kept image is in the version or left out, once.
        kept = sorted(table.filter(verdict="kept")["sha256"])
        assert sorted([*manifest["sha256"], *divided.left_out["sha256"]]) == kept
        assert manifest.group_by("label").agg(pl.n_unique("split"))["split"].to_list() == [len(config.splits)] * 3
        # What was in an earlier version is where it was; what was in test never trains, nor does what is tied to it.
        now = _side(divided)
        assert all(sides[sha256] == side for sha256, side in now.items() if sha256 in sides)
        tied_to_test = table.filter(pl.col("sha256").is_in(tested))["component"].implode()
        beside = table.filter(pl.col("component").is_in(tied_to_test))["sha256"]
        assert all(now[sha256] == ("test", None) for sha256 in beside if sha256 in now and sha256 not in sides)
        sides |= {sha256: side for sha256, side in now.items() if sha256 not in sides}
        tested = {sha256 for sha256, side in sides.items() if side[0] == "test"}


@settings(max_examples=20)
@given(_images(_SOMETIMES), st.sampled_from(CONFIGS), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_count(images: list[Image], config: SplitConfig, chance: Random) -> None:
    before = [divided for _, divided in _versions(images, config)]
    chance.shuffle(images)
    for one, other in zip(before, [divided for _, divided in _versions(images, config)], strict=True):
        assert one.manifest.equals(other.manifest)
        assert one.left_out.equals(other.left_out)


@settings(max_examples=40)
@given(_images(_ALWAYS), st.sampled_from(CONFIGS))
def test_where_images_are_only_added_every_old_row_is_in_the_next_manifest_as_it_was(
    images: list[Image], config: SplitConfig
) -> None:
    columns = ["sha256", "label", "split", "fold", "path"]
    manifests = [divided.manifest.select(columns) for _, divided in _versions(images, config)]
    for before, after in pairwise(manifests):
        assert before.join(after, on=columns, how="anti", nulls_equal=True).is_empty()


@settings(max_examples=40)
@given(_images(_SOMETIMES), st.sampled_from(CONFIGS))
def test_the_same_images_again_are_the_same_version(images: list[Image], config: SplitConfig) -> None:
    table, first = next(_versions(images, config))
    again = divide(table, config, labels=LABELS, history=conform(first.manifest, SPLITS))
    assert again.manifest.equals(first.manifest)
    assert again.left_out.equals(first.left_out)


@settings(max_examples=30)
@given(
    st.lists(st.integers(200, 400), min_size=2, max_size=3),
    st.lists(st.integers(0, 200), min_size=3, max_size=3),
    st.sampled_from(CONFIGS),
    st.integers(0, 2**31),
)
def test_shares_of_single_images_are_within_a_point_in_every_version(
    first: list[int], more: list[int], config: SplitConfig, seed: int
) -> None:
    config = config.model_copy(update={"seed": seed})
    history, sizes = pl.DataFrame(schema=SPLITS), dict(zip(LABELS, first, strict=False))
    for _ in range(2):
        rows = [
            {"sha256": (name := f"{label}{n:04d}"), "component": name, "cluster_id": name, "label": label}
            for label, size in sizes.items()
            for n in range(size)
        ]
        table = conform(pl.DataFrame(rows).with_columns(verdict=pl.lit("kept"), format=pl.lit("JPEG")), VERDICTS)
        manifest = divide(table, config, labels=tuple(sizes), history=history).manifest
        wanted = {"train": config.train, "val": config.val, "test": config.test}
        if config.folds:
            fold = (1 - config.test) / config.folds
            wanted = {"train": fold * (config.folds - 1), "val": fold, "test": config.test}
        for label, size in sizes.items():
            counts = dict(manifest.filter(label=label).group_by("split").len().iter_rows())
            assert all(abs(images / size - wanted[split]) < 0.01 for split, images in counts.items())
        history = conform(manifest, SPLITS)
        sizes = {label: size + extra for (label, size), extra in zip(sizes.items(), more, strict=False)}
