from __future__ import annotations

import unicodedata

import pytest

from tasks.core.names import name_fault

COMPOSED = "café"
APART = unicodedata.normalize("NFD", COMPOSED)


@pytest.mark.parametrize(
    "name",
    ["", "  ", "a/b", "..", "../up", ".hidden", "a\\b", "a\nb", "a\x00b", "a:b", "bell\x07", "\u202eevil", "\ud800"],
)
def test_what_no_folder_can_be_called_is_named(name: str) -> None:
    fault = name_fault(["bee", name])
    assert fault
    assert repr(name) in fault


@pytest.mark.parametrize(
    "name", ["bee.", "bee ", "bee. .", "CON", "nul", "aux.txt", "Com1", "lpt9.tar.gz", "COM²", "con .txt", "CONIN$"]
)
def test_what_windows_renames_or_takes_for_a_device_is_named(name: str) -> None:
    fault = name_fault(["bee", name])
    assert fault
    assert repr(name) in fault
    assert "Windows" in fault


@pytest.mark.parametrize(
    "name",
    [
        "Ameisenbläuling",
        "クモ",
        "паук",
        "می\u200cروم",
        COMPOSED,
        APART,
        "Vespa crabro",
        "a..b",
        "1",
        "Conus",
        "com",
        "com10",
        "sp. nov",
        " nulla",
    ],
)
def test_names_in_any_script_stand_as_they_are(name: str) -> None:
    assert name_fault(["bee", name]) is None


def test_names_that_differ_only_in_case_are_twins() -> None:
    fault = name_fault(["wasp", "Bee", "bee", "STRASSE", "straße"])
    assert fault == "classes Bee, STRASSE, bee, straße differ only in upper and lower case"


def test_names_that_differ_only_in_their_encoding_are_twins_and_told_apart_in_the_message() -> None:
    fault = name_fault([COMPOSED, APART, "bee"])
    assert fault == "classes 'cafe\\u0301', 'caf\\xe9' differ only in how Unicode writes their letters"


def test_a_twin_may_differ_in_case_and_encoding_at_once() -> None:
    assert "upper and lower case" in (name_fault([COMPOSED, APART.upper()]) or "")


def test_a_name_longer_than_file_systems_take_is_refused_by_its_bytes() -> None:
    assert name_fault(["é" * 127]) is None
    assert "256 bytes" in (name_fault(["é" * 128]) or "")


def test_one_class_named_twice_is_one_folder() -> None:
    assert name_fault(["bee", "bee"]) is None
