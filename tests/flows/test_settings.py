"""What is wrong with the environment is told by variable, value and reason, one line each."""

from __future__ import annotations

import pytest

from flows.settings import read_settings
from tasks.core.errors import StopError


@pytest.mark.parametrize(
    ("variable", "value", "wrong"),
    [
        ("HARVESTMAN_TASKS_AT_ONCE", "0", "greater than or equal to 1"),
        ("HARVESTMAN_TASKS_AT_ONCE", "many", "valid integer"),
        ("HARVESTMAN_ALLOWED_HOSTS", '["foo"]', "'foo' is no host:port pair; expected is one such as localhost:8000"),
        ("HARVESTMAN_ALLOWED_HOSTS", "foo:80", "not JSON: Expecting value"),
        ("HARVESTMAN_APIS", '{"gbiff": "http://e.org"}', "did you mean gbif?"),
        ("HARVESTMAN_APIS", '{"gbif": "http://127.0.0.1:99999"}', "gbif: http://127.0.0.1:99999 is no base address"),
        ("HARVESTMAN_BUDGETS", '{"x": {"hosts": ["e.org"], "requests": {"hour": 0}}}', "x.requests.hour: "),
    ],
)
def test_a_value_that_cannot_be_is_one_line(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, wrong: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(StopError) as told:
        read_settings()
    (line,) = str(told.value.received).splitlines()
    assert line.startswith(f"  {variable}: ")
    assert wrong in line
    assert "(received " in line
    assert "pydantic" not in line
    assert "docs/settings.md" in str(told.value.hint)


def test_all_that_is_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARVESTMAN_TASKS_AT_ONCE", "0")
    monkeypatch.setenv("HARVESTMAN_ALLOWED_HOSTS", '["foo"]')
    with pytest.raises(StopError) as told:
        read_settings()
    assert told.value.what == "2 variables of the environment cannot be read."
    assert len(str(told.value.received).splitlines()) == 2


def test_a_right_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARVESTMAN_ALLOWED_HOSTS", '["localhost:8000", "[::1]:90"]')
    assert read_settings().allowed_hosts == ("localhost:8000", "[::1]:90")
