from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.core.tables import VERDICT_SLUGS
from tasks.curate.config import Rules
from tasks.curate.rules import OVER_CAP, RULES, apply_rules, over_cap

Rows = Callable[..., pl.DataFrame]
STRICT = Rules(
    placeholder_addresses=3,
    placeholder_classes=2,
    min_side=64,
    max_aspect=4,
    gray="refuse",
    min_contrast=3,
    per_class=2,
)
FINE = {"width": 100, "height": 100, "contrast": 50.0, "colour": 20.0}


def _verdicts(frame: pl.DataFrame) -> list[tuple[str | None, str | None]]:
    return frame.select("verdict", "detail").rows()


def test_every_rule_has_a_verdict_of_its_own() -> None:
    assert {*RULES, OVER_CAP} <= set(VERDICT_SLUGS)
    assert len(set(RULES.values())) == len(RULES)


def test_each_rule_sets_aside_what_it_is_for(rows: Rows) -> None:
    judged = apply_rules(
        rows(
            {},
            *[{"picture": "sorry"}] * 3,
            {"width": 10, "height": 12},
            {"width": 100, "height": 500},
            {"colour": 0.0},
            {"contrast": 1.0},
            **FINE,
        ),
        STRICT,
    )
    assert _verdicts(judged) == [
        (None, None),
        *[("placeholder", "3 addresses in 1 class")] * 3,
        ("too-small", "10 x 12 px, the shorter side must have 64"),
        ("extreme-aspect", "100 x 500 px: 5.0 : 1"),
        ("gray", "colour 0.0, below 0.9 is gray"),
        ("blank", "contrast 1.0, at least 3 is asked for"),
    ]


def test_the_first_rule_wins_where_several_hold(rows: Rows) -> None:
    bad = {"width": 10, "height": 100, "colour": 0.0, "contrast": 0.0}
    assert _verdicts(apply_rules(rows(bad), STRICT))[0][0] == "too-small"
    assert _verdicts(apply_rules(rows(*[bad | {"picture": "x"}] * 3), STRICT))[0][0] == "placeholder"


def test_a_verdict_that_stands_already_stays(rows: Rows) -> None:
    small = {"width": 10, "height": 10}
    settled = rows(small, small).with_columns(
        verdict=pl.Series(["rejected", None], dtype=pl.String), detail=pl.Series(["Eve", None], dtype=pl.String)
    )
    judged = apply_rules(settled, STRICT)
    assert [verdict for verdict, _ in _verdicts(judged)] == ["rejected", "too-small"]
    assert judged["detail"][0] == "Eve"


def test_the_rules_of_an_empty_recipe_set_aside_placeholders_alone(rows: Rows) -> None:
    bad = {"width": 1, "height": 9999, "contrast": 0.0}
    judged = apply_rules(rows(bad, *[{"picture": "x"}] * 10).drop("colour"), Rules())
    assert judged["verdict"].to_list() == [None] + ["placeholder"] * 10


@pytest.mark.parametrize("config", [Rules(), STRICT])
def test_no_rows_and_rows_of_nothing_but_nulls_are_fine(rows: Rows, config: Rules) -> None:
    empty = apply_rules(rows(), config)
    assert empty.height == 0
    assert empty.schema["verdict"] == empty.schema["detail"] == pl.String
    assert over_cap(rows(), config).dtype == pl.String
    nothing = rows(*[dict.fromkeys(("url", "label", "picture"))] * 5)
    assert _verdicts(apply_rules(nothing, config)) == [(None, None)] * 5
    assert over_cap(nothing, config).null_count() == 5


@pytest.mark.parametrize("name", [*RULES, OVER_CAP])
def test_a_rule_returns_one_string_or_null_a_row_in_order(rows: Rows, name: str) -> None:
    rule = RULES.get(name, over_cap)
    for config in (Rules(placeholder_addresses=0, placeholder_classes=0), STRICT):
        assert rule(rows({}), config).to_list() == [None]
        told = rule(rows(*[{"picture": "x"}] * 4, {}), config)
        assert (told.dtype, len(told)) == (pl.String, 5)


@pytest.mark.parametrize("field", ["placeholder_addresses", "placeholder_classes", "max_aspect"])
def test_limits_that_would_set_aside_everything_are_refused(field: str) -> None:
    with pytest.raises(ValidationError, match=f"{field}\n.*must be 0"):
        Rules(**{field: 1 if field != "max_aspect" else 0.5})


IMAGE = st.fixed_dictionaries(
    {
        "picture": st.sampled_from([None, *"abcdefgh"]),
        "label": st.sampled_from([None, "ant", "bee", "wasp"]),
        "offered_label": st.sampled_from([None, "ant", "bee"]),
        "width": st.sampled_from([None, 0, 10, 64, 100, 500]),
        "height": st.sampled_from([None, 0, 10, 64, 100, 500]),
        "contrast": st.sampled_from([None, float("nan"), 0.0, 2.9, 50.0]),
        "colour": st.sampled_from([None, float("nan"), 0.0, 0.8, 50.0]),
    }
)


@settings(max_examples=40)
@given(images=st.lists(IMAGE, max_size=25), seed=st.integers(0, 2**32))
def test_the_order_of_the_rows_changes_no_verdict(rows: Rows, images: list[dict[str, Any]], seed: int) -> None:
    frame = rows(*images).with_row_index("row")
    shuffled = frame.sample(fraction=1, shuffle=True, seed=seed)
    assert apply_rules(shuffled, STRICT).sort("row").equals(apply_rules(frame, STRICT))


@settings(max_examples=40)
@given(images=st.lists(IMAGE, max_size=25))
def test_each_row_set_aside_has_the_verdict_of_the_first_rule_that_tells_it_and_no_other(
    rows: Rows, images: list[dict[str, Any]]
) -> None:
    frame = rows(*images)
    judged = apply_rules(frame, STRICT)
    assert judged.drop("verdict", "detail").equals(frame)
    told = {slug: rule(frame, STRICT).to_list() for slug, rule in RULES.items()}
    for place, (verdict, detail) in enumerate(_verdicts(judged)):
        holding = [slug for slug in RULES if told[slug][place] is not None]
        assert (verdict, detail) == ((holding[0], told[holding[0]][place]) if holding else (None, None))
