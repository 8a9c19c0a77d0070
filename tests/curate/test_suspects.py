from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.errors import DataError
from tasks.core.files import read_json
from tasks.core.tables import write_table
from tasks.curate.evidence import out_of_sample, reduce
from tasks.curate.suspects import SUSPECTS, Featured, read_suspects, suspects, write_suspects

WIDTH = 24


def _names(count: int) -> np.ndarray:
    return np.array([hashlib.sha256(str(number).encode()).hexdigest() for number in range(count)])


def _clouds(count: int, *classes: str, seed: int = 0, noise: float = 0.25) -> tuple[np.ndarray, np.ndarray]:
    """`count` images a class, each class around a corner of its own."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.array(classes), count)
    corners = np.eye(WIDTH)[np.repeat(np.arange(len(classes)), count)]
    return (corners + noise * rng.random((len(labels), WIDTH))).astype(np.float32), labels


def _ranked(features: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None) -> pl.DataFrame:
    names = _names(len(labels))
    return suspects(features, labels, names if groups is None else groups, sha256=names)


def test_planted_wrong_labels_come_first_with_the_right_class_suggested() -> None:
    features, right = _clouds(40, "bee", "fly", "wasp")
    labels = right.copy()
    wrong = [3, 17, 50, 77, 90, 111]
    labels[wrong] = ["fly", "wasp", "bee", "wasp", "bee", "fly"]
    found = _ranked(features, labels)
    assert dict(found.schema) == SUSPECTS
    first = found.head(6)
    assert dict(zip(first["sha256"], first["suggested"], strict=True)) == dict(
        zip(_names(120)[wrong], right[wrong], strict=True)
    )
    assert set(first["reason"]) == {"mislabelled"}
    assert found["rank"].to_list() == list(range(1, found.height + 1))
    assert found["score"].is_sorted(descending=True)
    assert found["score"].is_between(0.5, 1).all()
    assert found.height < 12


def test_a_clean_set_has_next_to_no_suspects() -> None:
    assert _ranked(*_clouds(60, "bee", "wasp")).height <= 3


def test_an_image_unlike_all_others_is_off_topic_and_gets_no_suggestion() -> None:
    features, labels = _clouds(60, "bee", "wasp")
    features[[5, 70]] = np.eye(WIDTH, dtype=np.float32)[[10, 11]]
    off = _ranked(features, labels).filter(reason="off-topic")
    assert set(off.head(2)["sha256"]) == set(_names(120)[[5, 70]])
    assert off["suggested"].null_count() == off.height


def test_copies_do_not_vouch_for_each_other() -> None:
    features, labels = _clouds(60, "bee", "wasp")
    labels[:30] = "wasp"  # thirty copies of one bee, all called wasps
    features[:30] = features[0]
    names = _names(120)
    groups = names.copy()
    groups[:30] = names[0]
    copies = set(names[:30])
    assert set(_ranked(features, labels, groups).head(30)["sha256"]) == copies
    assert not copies & set(_ranked(features, labels).head(30)["sha256"])  # as if each came from elsewhere


def test_an_image_is_contradicted_by_its_own_group() -> None:
    rng = np.random.default_rng(0)
    features = rng.random((120, WIDTH)).astype(np.float32)  # strangers tell nothing
    labels = np.array(["bee", "wasp"] * 60)
    names = _names(120)
    groups = names.copy()
    groups[:9] = names[0]
    features[:9] = features[0] + 0.001 * rng.random((9, WIDTH)).astype(np.float32)
    labels[:9] = "bee"
    labels[4] = "wasp"
    first = _ranked(features, labels, groups).row(0, named=True)
    assert (first["sha256"], first["score"]) == (names[4], 1.0)


@settings(max_examples=4)
@given(st.permutations(range(60)))
def test_the_order_of_the_rows_does_not_count(order: list[int]) -> None:
    features, labels = _clouds(30, "bee", "wasp", noise=1.5)
    labels[::5] = "wasp"
    names = _names(60)
    groups = np.array([names[number - number % 3] for number in range(60)])
    usual = suspects(features, labels, groups, sha256=names)
    assert suspects(features[order], labels[order], groups[order], sha256=names[order]).equals(usual)
    assert usual.height > 2


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_next_to_nothing_is_no_error(count: int) -> None:
    features, labels = _clouds(2, "bee", "wasp")
    assert _ranked(features[:count], labels[:count]).height <= count


def test_a_single_class_has_no_mislabelled_images_but_can_have_strangers() -> None:
    features, labels = _clouds(60, "bee")
    features[7] = np.eye(WIDTH, dtype=np.float32)[9]
    found = _ranked(features, labels)
    assert found["sha256"][0] == _names(60)[7]
    assert set(found["reason"]) == {"off-topic"}


def test_images_of_a_class_with_one_group_are_not_judged_by_the_classifier() -> None:
    features, labels = _clouds(20, "bee", "wasp", "fly")
    names = _names(60)
    groups = names.copy()
    groups[40:] = names[40]  # all flies are one observation
    assert not set(_ranked(features, labels, groups).filter(reason="mislabelled")["sha256"]) & set(names[40:])
    codes, parts = (np.unique(values, return_inverse=True)[1] for values in (labels, groups))
    told = out_of_sample(features, codes, parts, seed=0)
    fly = int(codes[40])
    assert np.isnan(told[40:]).all()
    assert np.allclose(told[:40].sum(axis=1), 1)
    assert (told[:40, fly] == 0).all()


def test_a_class_of_two_groups_is_learnt_in_every_fold() -> None:
    features, labels = _clouds(12, "bee", "wasp")
    features, labels = features[:14], labels[:14]  # two wasps
    codes = np.unique(labels, return_inverse=True)[1]
    for seed in range(5):
        assert not np.isnan(out_of_sample(features, codes, np.arange(14), seed=seed)).any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_no_numbers_are_refused_and_counted(value: float) -> None:
    features, labels = _clouds(30, "bee", "wasp")
    features[[3, 40], 2] = value
    with pytest.raises(DataError, match="features of 2 of 60 images are not finite"):
        _ranked(features, labels)


def test_features_of_other_images_are_refused() -> None:
    features, labels = _clouds(5, "bee", "wasp")
    with pytest.raises(DataError, match=r"\(9, 24\)"):
        _ranked(features[:9], labels)


def test_components_keep_the_cosine_distances_block_by_block() -> None:
    rng = np.random.default_rng(0)
    features = rng.random((5000, 12)).astype(np.float32)  # more than one block
    order = rng.permutation(5000)
    reduced, rest = reduce(features, order)
    unit = features[order] / np.linalg.norm(features[order], axis=1, keepdims=True)
    assert np.allclose(
        np.linalg.norm(reduced[:50] - reduced[-50:], axis=1), np.linalg.norm(unit[:50] - unit[-50:], axis=1), atol=1e-4
    )
    assert rest.max() < 1e-2


@pytest.fixture
def featured(tmp_path: Path) -> Featured:
    """Two classes with one wrong label; the index is in another order than the manifest."""
    features, labels = _clouds(30, "bee", "wasp")
    labels[8] = "wasp"
    names = _names(60)
    rows = pl.DataFrame({"sha256": names, "label": labels, "component": names})
    dataset, folder, prepared = tmp_path / "datasets" / "v1", tmp_path / "features" / "key", tmp_path / "prepared"
    write_table(rows.sort("label", "sha256"), dataset / "manifest.parquet")
    write_table(rows.drop("component").reverse(), prepared / "index.parquet")
    folder.mkdir(parents=True)
    np.save(folder / "clean.npy", features[::-1])
    return Featured(features=folder, index=prepared / "index.parquet", dataset=dataset)


def test_the_table_is_named_by_version_and_features_and_the_last_one_written_is_read(
    featured: Featured, tmp_path: Path
) -> None:
    collection = tmp_path / "collection"
    assert read_suspects(collection).is_empty()
    path = write_suspects(collection, featured)
    assert path == collection / "suspects" / "v1-key-1.parquet"
    first = read_suspects(collection)
    assert dict(first.schema) == SUSPECTS
    assert first.row(0, named=True)["sha256"] == _names(60)[8]
    assert first["suggested"][0] == "bee"
    written = path.stat().st_mtime_ns
    later = featured.dataset.rename(featured.dataset.with_name("v0"))
    other = write_suspects(collection, Featured(features=featured.features, index=featured.index, dataset=later))
    write_table(first.head(0), other)
    assert read_suspects(collection).is_empty()  # v0 was written last, whatever its name
    later.rename(featured.dataset)
    assert write_suspects(collection, featured) == path
    assert path.stat().st_mtime_ns == written
    assert read_suspects(collection).equals(first)
    assert read_json(path.with_name("newest.json")) == {"table": path.name}


def test_features_of_another_version_are_refused(featured: Featured, tmp_path: Path) -> None:
    manifest = featured.dataset / "manifest.parquet"
    write_table(pl.read_parquet(manifest).head(57), manifest)
    with pytest.raises(DataError, match="3 images with features are not in the data set v1"):
        write_suspects(tmp_path / "collection", featured)
    assert read_suspects(tmp_path / "collection").is_empty()
