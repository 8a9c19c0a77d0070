from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.core.tables import OUTCOMES, VERDICT_SLUGS
from tasks.split.report.funnel import steps


def test_every_step_says_what_went_no_further_and_why(row: Callable[..., Any], scene: Callable[..., Any]) -> None:
    made = scene([
        *(row(f"k{n}") for n in range(5)),
        row("k9", split=None, left="leaks"),
        row("d", verdict="duplicate-bytes", picture="k0"),
        row("n1", verdict="near-duplicate"), row("n2", verdict="near-duplicate"),
        row("late", verdict=None),
        row("w", outcome=None, verdict=None),
        row("x", outcome="html", verdict=None), row("y", outcome="damaged", verdict=None),
        row("z", outcome="html", verdict=None),
        row("g", verdict="gone"),
    ])  # fmt: skip
    found = steps(made.collected, made.left_out, made.manifest)
    assert [(step.name, step.count) for step in found] == [
        ("Offered by the sources", 14), ("Asked", 13), ("Stored at the door", 10), ("Kept by the curation", 6),
        ("In the data set", 5),
    ]  # fmt: skip
    assert [dict(step.lost) for step in found] == [
        {"not asked yet": 1}, {"html": 2, "damaged": 1},
        {"near-duplicate": 2, "duplicate-bytes": 1, "came after the curation": 1}, {"leaks": 1}, {},
    ]  # fmt: skip
    assert list(dict(found[1].lost)) == ["html", "damaged"]


def test_an_address_of_two_classes_counts_twice_and_a_relabelled_one_once(
    row: Callable[..., Any], scene: Callable[..., Any]
) -> None:
    made = scene([
        row("a", picture="p", verdict="label-conflict"), row("a", "wasp", picture="p", verdict="label-conflict"),
        row("b", "wasp", offered_label="bee"), row("c"),
    ])  # fmt: skip
    found = steps(made.collected, made.left_out, made.manifest)
    assert found[0].count >= 4
    assert dict(found[2].lost)["label-conflict"] == 2


_fates = st.one_of(
    st.tuples(st.just("kept"), st.sampled_from([slug for slug in VERDICT_SLUGS if slug != "gone"])),
    st.tuples(st.sampled_from([slug for slug in OUTCOMES if slug != "kept"]) | st.none(), st.none()),
)


@given(fates=st.lists(st.tuples(_fates, st.booleans()), min_size=1, max_size=25))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_step_is_the_one_before_less_what_it_lost(
    row: Callable[..., Any], scene: Callable[..., Any], fates: list[tuple[tuple[str | None, str | None], bool]]
) -> None:
    rows = [
        row(f"u{n}", outcome=outcome, verdict=verdict, split="train" if taken else None, left="leaks")
        for n, ((outcome, verdict), taken) in enumerate(fates)
    ]
    made = scene([*rows, row("always")])
    found = steps(made.collected, made.left_out, made.manifest)
    assert found[0].count == len(rows) + 1
    assert found[-1].count == made.manifest.height
    for step, following in itertools.pairwise(found):
        assert step.count - sum(count for _, count in step.lost) == following.count
