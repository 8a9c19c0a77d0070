from __future__ import annotations

import inspect
import pickle

import pytest

from tasks.core import errors
from tasks.core.errors import HarvestmanError, ImageRefusedError, RecipeError


def test_message_keeps_the_three_sentences() -> None:
    error = RecipeError("It broke.", received="this", hint="Do that.")
    assert str(error) == "It broke.\nthis\nDo that."
    assert (error.what, error.received, error.hint) == ("It broke.", "this", "Do that.")


@pytest.mark.parametrize("error", [RecipeError("a", received="b", hint="c"), ImageRefusedError("html", "a page")])
def test_errors_survive_the_trip_between_processes(error: HarvestmanError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is type(error)
    assert (copy.__dict__, copy.args, str(copy)) == (error.__dict__, error.args, str(error))


def test_the_drawn_tree_names_every_error_under_its_parent() -> None:
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        name = line.strip("│ ├└─").split(" ")[0]
        if name.endswith("Error"):
            depth = line.index(name) // 4
            path[depth:] = [name]
            drawn[name] = path[depth - 1] if depth else "Exception"
    real = {name: kind.__base__.__name__ for name, kind in inspect.getmembers(errors, inspect.isclass)}
    assert drawn == real
