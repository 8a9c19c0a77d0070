from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tasks.rehearse.paint import OBSERVATIONS, paint

from .conftest import opened

CLASSES = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return paint(tmp_path_factory.mktemp("painted"), CLASSES, per_class=60, seed=11, side=160)


def observation(path: Path) -> str:
    match = re.search(OBSERVATIONS, path.name)
    assert match
    return f"{path.parent.name}/{match[1]}"


def test_each_class_gets_exactly_the_photos_asked_for(photos: list[Path]) -> None:
    assert Counter(path.parent.name for path in photos) == dict.fromkeys(CLASSES, 60)
    assert all(path.is_file() for path in photos)


def test_observations_have_one_to_three_photos(photos: list[Path]) -> None:
    sizes = Counter(Counter(map(observation, photos)).values())
    assert set(sizes) == {1, 2, 3}


def test_photos_come_in_several_formats_modes_and_shapes(photos: list[Path]) -> None:
    images = [opened(path) for path in photos]
    assert {image.format for image in images} == {"JPEG", "PNG", "WEBP"}
    assert {image.mode for image in images} == {"RGB", "L"}
    assert len({image.size for image in images}) > 100
    assert min(min(image.size) for image in images) >= 60


def test_no_two_photos_look_alike_to_a_perceptual_hash(photos: list[Path]) -> None:
    hashes = np.array([int(str(imagehash.phash(opened(path))), 16) for path in photos], np.uint64)
    apart = np.bitwise_count(hashes[:, None] ^ hashes)[np.triu_indices(len(hashes), 1)]
    assert apart.min() > 10
    assert (apart <= 14).mean() < 0.001


def test_coarse_colour_tells_the_classes_apart_better_than_chance_but_not_well(photos: list[Path]) -> None:
    pixels = [np.asarray(opened(path).convert("RGB").resize((8, 8), Image.Resampling.BOX)) for path in photos]
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    scores = cross_val_score(
        probe,
        np.stack(pixels).reshape(len(pixels), -1) / 255.0,
        [path.parent.name for path in photos],
        groups=[observation(path) for path in photos],
        cv=GroupKFold(5),
    )
    assert 0.4 < scores.mean() < 0.85


def test_the_same_seed_paints_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    first, again, other = (
        [path.read_bytes() for path in paint(tmp_path / name, ["x", "y"], per_class=3, seed=seed, side=120)]
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert first == again
    assert not set(first) & set(other)
