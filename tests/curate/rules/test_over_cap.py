from __future__ import annotations

import hashlib
from collections.abc import Callable

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.curate.config import Rules
from tasks.curate.rules.over_cap import over_cap

Rows = Callable[..., pl.DataFrame]


def _kept(frame: pl.DataFrame, cap: int) -> set[tuple[str, str]]:
    kept = frame.filter(over_cap(frame, Rules(per_class=cap)).is_null())
    return set(kept.select("label", "sha256").iter_rows())


def test_each_class_keeps_as_many_images_as_the_cap_says(rows: Rows) -> None:
    frame = rows(*({"label": "ant"} for _ in range(7)), *({"label": "bee"} for _ in range(3)))
    told = over_cap(frame, Rules(per_class=4))
    counts = frame.filter(told.is_null())["label"].value_counts(sort=True)
    assert counts.rows() == [("ant", 4), ("bee", 3)]
    assert set(told.drop_nulls()) == {"7 images in the class, 4 are kept"}


def test_published_images_stay_before_others(rows: Rows) -> None:
    frame = rows(*({"published": number in {3, 8} or None} for number in range(20)))
    told = over_cap(frame, Rules(per_class=2))
    assert [place for place, detail in enumerate(told) if detail is None] == [3, 8]


def test_images_that_a_person_keeps_stay_beyond_the_cap_and_count(rows: Rows) -> None:
    frame = rows(*({"protected": number < 3, "published": number == 9} for number in range(10)))
    places = [place for place, detail in enumerate(over_cap(frame, Rules(per_class=4))) if detail is None]
    assert places == [0, 1, 2, 9]
    assert [d is None for d in over_cap(frame, Rules(per_class=2))] == [True] * 3 + [False] * 7


def test_rows_of_one_image_are_one_place(rows: Rows) -> None:
    frame = rows({"picture": "a"}, {"picture": "a"}, {"picture": "b"}, {"picture": "b", "label": "bee"})
    assert over_cap(frame, Rules(per_class=2)).null_count() == 4


def test_the_flags_may_be_missing_and_the_class_or_the_bytes_unknown(rows: Rows) -> None:
    frame = rows({"label": None}, {"picture": None}, {}).drop("published", "protected")
    assert over_cap(frame, Rules(per_class=1)).null_count() == 3


def test_no_cap_keeps_all(rows: Rows) -> None:
    assert over_cap(rows({}, {}, {}), Rules()).to_list() == [None] * 3


def test_the_draw_is_the_same_everywhere_and_for_ever() -> None:
    pictures = {hashlib.sha256(b"%d" % number).hexdigest(): number for number in range(12)}
    frame = pl.DataFrame({"sha256": list(pictures), "label": "ant"})
    kept = [pictures[sha256] for _, sha256 in _kept(frame, 4)]
    drawn = sorted(
        pictures, key=lambda sha256: ((int(sha256[:16], 16) ^ 0x6F7665722D636170) * 0x9E3779B97F4A7C15) % 2**64
    )
    assert sorted(kept) == sorted(pictures[sha256] for sha256 in drawn[:4])
    assert drawn[:4] != sorted(pictures)[:4]


def test_the_choice_favours_no_part_of_the_digests() -> None:
    digests = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(4000)]
    kept = {sha256 for _, sha256 in _kept(pl.DataFrame({"sha256": digests, "label": "ant"}), 2000)}
    low = sum(sha256 < "8" for sha256 in kept)
    assert 900 < low < 1100  # of 2,000; the standard deviation is 16


IMAGES = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from("ab"), st.booleans()), unique_by=lambda image: image[0], max_size=40
)


def _frame(images: list[tuple[int, str, bool]]) -> pl.DataFrame:
    values = [(hashlib.sha256(b"%d" % number).hexdigest(), label, published) for number, label, published in images]
    return pl.DataFrame(values, schema={"sha256": pl.String, "label": pl.String, "published": pl.Boolean}, orient="row")


@settings(max_examples=40)
@given(images=IMAGES, cap=st.integers(1, 10), random=st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_count(images: list[tuple[int, str, bool]], cap: int, random: object) -> None:
    kept = _kept(_frame(images), cap)
    random.shuffle(images)  # type: ignore[attr-defined]
    assert _kept(_frame(images), cap) == kept
    for label in "ab":
        assert sum(of == label for of, _ in kept) == min(cap, sum(of == label for _, of, _ in images))


@settings(max_examples=40)
@given(images=IMAGES, more=IMAGES, cap=st.integers(1, 10))
def test_newcomers_never_push_out_what_was_published(
    images: list[tuple[int, str, bool]], more: list[tuple[int, str, bool]], cap: int
) -> None:
    before = _kept(_frame(images), cap)
    there = {number for number, _, _ in images}
    newcomers = [(number, label, False) for number, label, _ in more if number not in there]
    grown = _frame([*images, *newcomers])
    published = pl.Series([pair in before for pair in grown.select("label", "sha256").iter_rows()], dtype=pl.Boolean)
    assert before <= _kept(grown.with_columns(published=published), cap)
