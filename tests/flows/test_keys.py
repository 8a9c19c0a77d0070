"""Keys of paid interfaces: from the environment, else from Secret blocks of a real Prefect server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from prefect.blocks.system import Secret
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.keys import find_keys
from flows.settings import Settings
from tasks.core.errors import ServerUnavailableError
from tasks.discover.config import AnySource
from tasks.discover.searches import GoogleSource, OpenverseSource

if TYPE_CHECKING:
    from tests.flows.conftest import RunningStack

NOWHERE = "http://127.0.0.1:9/api"


@pytest.fixture
def prefect(running_stack: RunningStack) -> Iterator[None]:
    blocks = {"harvestman-serper-key": "key of the block", "harvestman-google-key": "12e34"}
    with temporary_settings({PREFECT_API_URL: running_stack.stack.prefect_api_url}):
        for name, value in blocks.items():
            Secret(value=value).save(name)
        yield
        for name in blocks:
            Secret.delete(name)


@pytest.fixture(autouse=True)
def no_keys_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_KEY", "GOOGLE_CX", "SERPAPI_KEY", "SERPER_KEY"):
        monkeypatch.delenv(f"HARVESTMAN_{name}", raising=False)


def google(provider: str) -> GoogleSource:
    return GoogleSource.model_validate({"source": "google", "query": "spider", "provider": provider})


def found(settings: Settings, *sources: AnySource) -> dict[str, str]:
    return {name: key.get_secret_value() for name, key in find_keys(settings, sources).items()}


def test_keys_of_the_environment_are_found_without_asking_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARVESTMAN_SERPAPI_KEY", "key of the environment")
    monkeypatch.setenv("HARVESTMAN_SERPER_KEY", "not needed")
    with temporary_settings({PREFECT_API_URL: NOWHERE}):
        assert found(Settings(), google("serpapi")) == {"serpapi-key": "key of the environment"}


def test_nobody_is_asked_for_keys_that_no_source_needs() -> None:
    with temporary_settings({PREFECT_API_URL: NOWHERE}):
        assert found(Settings(), OpenverseSource(source="openverse", query="spider")) == {}


@pytest.mark.usefixtures("prefect")
def test_what_the_environment_lacks_comes_from_secret_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARVESTMAN_GOOGLE_CX", "engine of the environment")
    sources = (google("serper"), google("custom_search"), google("serper"))
    assert found(Settings(), *sources) == {
        "serper-key": "key of the block",
        "google-key": "12e34",
        "google-cx": "engine of the environment",
    }
    monkeypatch.setenv("HARVESTMAN_SERPER_KEY", "key of the environment")
    assert found(Settings(), google("serper")) == {"serper-key": "key of the environment"}


@pytest.mark.usefixtures("prefect")
def test_a_block_that_is_not_there_is_left_to_the_source_to_tell() -> None:
    assert found(Settings(), google("serpapi")) == {}


def test_a_server_that_does_not_answer_is_an_error_that_names_the_variable() -> None:
    with temporary_settings({PREFECT_API_URL: NOWHERE}), pytest.raises(ServerUnavailableError) as caught:
        find_keys(Settings(), [google("serper")])
    assert "HARVESTMAN_SERPER_KEY" in caught.value.hint


def test_keys_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARVESTMAN_SERPER_KEY", "sk5Tr0ngK3y")
    settings = Settings()
    assert "sk5Tr0ngK3y" not in f"{settings!r} {find_keys(settings, [google('serper')])} {settings.exported()}"
