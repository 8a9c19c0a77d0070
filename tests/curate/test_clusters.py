from __future__ import annotations

import hashlib
import io
import itertools
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.curate.clusters import add_clusters, near_pairs
from tasks.curate.config import NearDuplicates
from tasks.curate.symmetry import GROUPS, Invariance, Symmetry, turned
from tasks.ingest.inspect import inspect

CONFIG = NearDuplicates(radius=4, verify_radius=10, min_contrast=4.0)
SCHEMA = {
    "sha256": pl.String(),
    "phash": pl.UInt64(),
    "verify_hash": pl.Binary(),
    "contrast": pl.Float32(),
    "width": pl.Int32(),
    "height": pl.Int32(),
    "bytes": pl.Int64(),
    "published": pl.Boolean(),
    "eligible": pl.Boolean(),
}
Row = dict[str, Any]

_BASES = np.random.default_rng(7).integers(0, 256, (3, 40), dtype=np.uint8)


def _image(name: str, phash: int = 0, verify: bytes = bytes(32), **told: object) -> Row:
    plain = {"contrast": 50.0, "width": 10, "height": 10, "bytes": 100, "published": False, "eligible": True}
    return {"sha256": name, "phash": phash, "verify_hash": verify} | plain | told


def _frame(images: list[Row]) -> pl.DataFrame:
    told = {name: pl.Boolean() for name in ("protected", "named") if name in {*images[0]}} if images else {}
    return pl.DataFrame(images, schema=SCHEMA | told)


def _clusters(*images: Row, config: NearDuplicates = CONFIG) -> dict[str, str]:
    return dict(add_clusters(_frame(list(images)), config).select("sha256", "cluster_id").iter_rows())


def _near(*images: Row, config: NearDuplicates = CONFIG) -> dict[str, int]:
    return dict(add_clusters(_frame(list(images)), config).select("sha256", "near").iter_rows())


# One of three pictures in one of eight positions with a few bits flipped, often the very same hashes again.
DRAWN = st.builds(
    lambda base, symmetry, bits, told: (base, symmetry, bits, told),
    st.integers(0, 2),
    st.sampled_from(GROUPS["rotation"]) | st.just(Symmetry()),
    st.lists(st.integers(0, 63) | st.integers(64, 319), max_size=9),
    st.fixed_dictionaries(
        {
            "contrast": st.sampled_from([50.0, 50.0, 50.0, 4.0, 3.9, None]),
            "width": st.sampled_from([10, 20, None]),
            "bytes": st.sampled_from([100, 200, None]),
            "published": st.booleans(),
            "eligible": st.sampled_from([True, True, True, False]),
        }
    ),
)


def _drawn(drawn: list[tuple[int, Symmetry, list[int], Row]]) -> list[Row]:
    images = []
    for number, (base, symmetry, bits, told) in enumerate(drawn):
        hashes = _BASES[base].copy()
        for bit in bits:
            hashes[bit // 8] ^= 1 << bit % 8
        short, long = turned(hashes[None, :8], symmetry)[0], turned(hashes[None, 8:], symmetry)[0]
        name = hashlib.sha256(bytes([number])).hexdigest()
        images.append(_image(name, int.from_bytes(short.tobytes()), long.tobytes(), **told))
    return images


def _positions(image: Row, config: NearDuplicates) -> list[tuple[int, int]]:
    """Both hashes as whole numbers, in every position that counts as the same."""
    both = np.frombuffer(image["phash"].to_bytes(8) + image["verify_hash"], np.uint8)[None]
    return [
        tuple(int.from_bytes(turned(hashes, symmetry).tobytes()) for hashes in (both[:, :8], both[:, 8:]))
        for symmetry in GROUPS[config.invariance]
    ]


def _distances(images: list[Row], config: NearDuplicates) -> dict[tuple[str, str], int]:
    """Differing bits of the long hash of each confirmed pair, both ways, in the most alike confirmed position."""
    seen = [image for image in images if image["contrast"] is not None and image["contrast"] >= config.min_contrast]
    positions = {image["sha256"]: _positions(image, config) for image in seen}
    found: dict[tuple[str, str], int] = {}
    for one, two in itertools.permutations(positions, 2):
        short, long = positions[two][0]
        bits = [((short ^ left).bit_count(), (long ^ right).bit_count()) for left, right in positions[one]]
        near = [long for short, long in bits if short <= config.radius and long <= config.verify_radius]
        if near:
            found[one, two] = min(near)
    return found


def _best_first(image: Row) -> tuple[object, ...]:
    pixels = -1 if image["width"] is None else image["width"] * image["height"]
    size = -1 if image["bytes"] is None else image["bytes"]
    return (not image["published"], -pixels, -size, image["sha256"])


INVARIANCES: st.SearchStrategy[Invariance] = st.sampled_from(["none", "mirror", "rotation"])


@given(st.lists(DRAWN, max_size=14), INVARIANCES, st.integers(1, 60), st.randoms())
@settings(max_examples=60)
def test_clusters_near_and_pairs_are_those_of_comparing_all_with_all(
    drawn: list[tuple[int, Symmetry, list[int], Row]], invariance: Invariance, held: int, random: object
) -> None:
    config = CONFIG.model_copy(update={"invariance": invariance})
    images = _drawn(drawn)
    apart = _distances(images, config)
    keepers: dict[str, str] = {}
    for image in sorted((image for image in images if image["eligible"]), key=_best_first):
        name = image["sha256"]
        first = [keeper for keeper in keepers.values() if (name, keeper) in apart]
        keepers[name] = first[0] if first else name
    near = {image["sha256"]: place for place, image in enumerate(sorted(images, key=lambda image: image["sha256"]))}
    for _ in images:
        for a, b in apart:
            near[a] = near[b] = min(near[a], near[b])
    random.shuffle(images)  # type: ignore[attr-defined]
    found = add_clusters(_frame(images), config, held=held)
    assert found["sha256"].is_sorted()
    assert dict(found.select("sha256", "cluster_id").iter_rows()) == {name: keepers.get(name, name) for name in near}
    assert dict(found.select("sha256", "near").iter_rows()) == near
    expected = sorted((a, b, distance) for (a, b), distance in apart.items() if a < b)
    assert near_pairs(_frame(images), config).rows() == expected


def test_a_chain_ties_strangers_but_does_not_make_them_one_cluster() -> None:
    chain = [_image(name, (1 << bits) - 1) for name, bits in (("a", 0), ("b", 4), ("c", 8), ("d", 12))]
    assert _clusters(*chain) == {"a": "a", "b": "a", "c": "c", "d": "c"}
    assert len(set(_near(*chain).values())) == 1


def test_a_pair_counts_only_when_both_hashes_agree() -> None:
    near, far = b"\0" * 31 + b"\x0f", b"\0" * 28 + b"\xff" * 4
    clusters = _clusters(_image("a"), _image("b", 0b1111, near), _image("c", 0, far))
    assert clusters == {"a": "a", "b": "a", "c": "c"}


def test_a_published_image_stands_for_the_cluster_though_a_larger_one_comes() -> None:
    images = (_image("a", width=999), _image("b", 1, published=True), _image("c", 2, bytes=999))
    assert set(_clusters(*images).values()) == {"b"}


def test_an_image_that_a_person_has_named_goes_before_a_published_one() -> None:
    images = [_image("a", protected=False, named=False, published=True), _image("b", protected=False, named=True)]
    assert set(_clusters(*images).values()) == {"b"}


def test_images_that_a_person_keeps_stand_for_themselves_and_each_gathers_its_own() -> None:
    """b and c are kept; c, though it is like b, gathers d, which is not; a' has the very hashes of b."""
    told = {"a": "", "b": "kept", "b'": "kept", "c": "kept", "d": "", "e": ""}
    hashes = {"a": 0, "b": 1, "b'": 1, "c": 0b11111, "d": 0b1_1111_1111, "e": 0b1_1111_1111_1111}
    images = [
        _image(name, hashes[name], protected=bool(word), named=bool(word), published=not word)
        for name, word in told.items()
    ]
    assert _clusters(*images) == {"a": "b", "b": "b", "b'": "b'", "c": "c", "d": "c", "e": "e"}


def test_what_is_not_eligible_stands_for_nothing_and_still_ties() -> None:
    bridge = _image("b", 0b1111, eligible=False, published=True, width=999)
    images = (_image("a"), bridge, _image("c", 0b1111_1111))
    assert _clusters(*images) == {"a": "a", "b": "b", "c": "c"}
    assert len(set(_near(*images).values())) == 1


def test_images_of_one_short_hash_are_still_told_apart_and_joined_by_the_long_one() -> None:
    """A star around the first of equal short hashes would miss c = d, which only resemble each other."""
    left, right = b"\0" * 32, b"\xff" * 32
    clusters = _clusters(
        *(_image(name, 9, long) for name, long in zip("abcd", (left, left, right, right), strict=True))
    )
    assert clusters == {"a": "a", "b": "a", "c": "c", "d": "c"}


@pytest.mark.parametrize(("invariance", "found"), [("none", set()), ("mirror", {"m"}), ("rotation", {"m", "t", "h"})])
def test_mirrored_and_turned_pictures_are_members_where_the_recipe_says_so(
    invariance: Invariance, found: set[str]
) -> None:
    def moved(name: str, symmetry: Symmetry) -> Row:
        short, long = turned(_BASES[:1, :8], symmetry), turned(_BASES[:1, 8:], symmetry)
        return _image(name, int.from_bytes(short.tobytes()), long.tobytes())

    images = [
        moved("a", Symmetry()),
        moved("m", Symmetry(mirrored=True)),
        moved("t", Symmetry(transposed=True, flipped=True)),
        moved("h", Symmetry(mirrored=True, flipped=True)),
    ]
    clusters = _clusters(*images, config=CONFIG.model_copy(update={"invariance": invariance}))
    assert {name for name, keeper in clusters.items() if keeper == "a"} == {"a", *found}


@pytest.mark.real
@pytest.mark.parametrize(("invariance", "found"), [("none", 0), ("mirror", 19)])
def test_mirrored_photos_are_found_by_their_hashes_alone(real_data: Path, invariance: Invariance, found: int) -> None:
    config = NearDuplicates(radius=10, verify_radius=40, invariance=invariance)
    paths = sorted(real_data.glob("photos/bees-hornets/test/*/*.jpg"))[:20]
    assert len(paths) == 20
    images = []
    for number, path in enumerate(paths):
        with Image.open(path) as photo:
            mirrored, stream = photo.convert("RGB").transpose(Image.Transpose.FLIP_LEFT_RIGHT), io.BytesIO()
        mirrored.resize((200, 160)).save(stream, "JPEG", quality=70)
        for name, content in ((f"{number}", path.read_bytes()), (f"{number} mirrored", stream.getvalue())):
            seen = inspect(content, min_side=1, max_pixels=10**8)
            images.append(_image(name, seen.phash, seen.verify_hash, contrast=seen.contrast))
    pairs = near_pairs(_frame(images), config).select("first", "second").rows()
    assert sum((name, f"{name} mirrored") in pairs for name in map(str, range(20))) >= found
    assert {first.split()[0] for first, _ in pairs} == {second.split()[0] for _, second in pairs}
    assert invariance == "mirror" or not pairs


def test_a_crowd_of_mirrored_pictures_is_compared_in_all_positions() -> None:
    """Where fewer pairs may be held than there are, keepers are compared with their members once more."""
    images = []
    for number in range(8):
        short, long = (
            turned(_BASES[:1, part], Symmetry(mirrored=number % 2 == 1)) for part in (slice(8), slice(8, 40))
        )
        images.append(_image(str(number), int.from_bytes(short.tobytes()) ^ number, long.tobytes()))
    config = CONFIG.model_copy(update={"invariance": "mirror"})
    assert add_clusters(_frame(images), config, held=2)["cluster_id"].unique().to_list() == ["0"]


def test_a_pair_found_in_several_positions_has_the_smallest_of_its_distances() -> None:
    right, below = bytes([0b01000000]) + bytes(31), bytes([0, 0, 0b10000000]) + bytes(29)
    frame = _frame([_image("a", 0, right), _image("b", 0, below)])
    assert near_pairs(frame, CONFIG).rows() == [("a", "b", 2)]
    assert near_pairs(frame, CONFIG.model_copy(update={"invariance": "rotation"})).rows() == [("a", "b", 0)]


def test_flat_and_unhashed_images_resemble_nothing() -> None:
    images = (
        _image("red", contrast=0.0),
        _image("blue", contrast=3.9),
        _image("unknown", contrast=None),
        _image("odd", contrast=float("nan")),
        _image("short", verify=b"\0" * 18),
        _image("photo", contrast=4.0),
        _image("bare") | {"phash": None, "verify_hash": None},
    )
    assert all(name == cluster for name, cluster in _clusters(*images).items())
    assert len(set(_near(*images).values())) == len(images)
    assert near_pairs(_frame(list(images)), CONFIG).is_empty()


def test_no_image_has_no_cluster() -> None:
    assert add_clusters(_frame([]), CONFIG).select("cluster_id", "near").rows() == []
    assert near_pairs(_frame([]), CONFIG).schema == {"first": pl.String, "second": pl.String, "distance": pl.Int64}


def test_thousands_of_alike_pictures_take_little_memory() -> None:
    """4,000 pictures of one short hash, half of them with the same long one, are 8 million pairs: 128 MB at once."""
    count = 4000
    long = np.zeros((count, 32), np.uint8)
    long[:, :2] = (np.arange(count, dtype=np.uint16) // 2).view(np.uint8).reshape(-1, 2)
    frame = _frame([_image(f"{number:04}", 5, row.tobytes()) for number, row in enumerate(long)])
    add_clusters(frame.head(10), CONFIG)
    tracemalloc.start()
    found = add_clusters(frame, NearDuplicates(radius=4, verify_radius=16), held=100_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found["cluster_id"].unique().to_list() == ["0000"]
    assert found["near"].n_unique() == 1
    assert peak < 64e6
