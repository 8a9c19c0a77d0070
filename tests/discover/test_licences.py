from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.discover.fields import OPEN_LICENCES
from tasks.discover.licences import accepted, slug, slugs

NOE = (  # as an export has it
    "Copyright Nicolas Noé, licensed under a Creative Commons Attribution License license: "
    "http://creativecommons.org/licenses/by/4.0/"
)
SPELLINGS: dict[str | None, list[str | None]] = {
    "cc0": [
        "cc0", "CC0", "CC0 1.0", "CC0_1_0", "CC-0", "CC Zero", "CC0 1.0 Universal", "Creative Commons Zero",
        "http://creativecommons.org/publicdomain/zero/1.0/", "https://creativecommons.org/publicdomain/zero/1.0/deed.de",
        "http://creativecommons.org/publicdomain/zero/1.0/legalcode", "Public Domain Dedication (CC0)",
        "This work is in the public domain (CC0 1.0)",
    ],
    "cc-by": [
        "cc-by", "CC-BY", "CC_BY_4_0", "CC BY 4.0", "CC BY 3.0 de", "CC-BY-2.5", "by", "by 2.0", "BY", "CC BY",
        "CC-BY 4.0 Int.",
        "http://creativecommons.org/licenses/by/4.0/", "http://creativecommons.org/licenses/by/4.0/legalcode",
        "https://creativecommons.org/licenses/by/3.0/br/deed.pt_BR", "creativecommons.org/licenses/by/2.0",
        "//creativecommons.org/licenses/by/2.0/jp/", "Creative Commons Attribution 4.0 International",
        "Creative Commons Attribution License", "Attribution License", "Attribution 4.0 International License",
        NOE,
        "CC BY license", "Creative Commons BY 4.0", "CC BY 4.0; the metadata is CC0",
        "Creative Commons Namensnennung 4.0",
    ],
    "cc-by-sa": [
        "cc-by-sa", "CC-BY-SA", "CC BY-SA 4.0", "CC BY-SA 3.0 de", "cc-by-sa-3.0,2.5,2.0,1.0", "by-sa", "CC_BY_SA_4_0",
        "http://creativecommons.org/licenses/by-sa/4.0/", "https://creativecommons.org/licenses/by-sa/3.0/de/deed.en",
        "Attribution-ShareAlike License", "Creative Commons Attribution-Share Alike 4.0", "GFDL, CC BY-SA 3.0",
        "CC BY\u2011SA 4.0", "CC BY-SA4.0", "Creative Commons Namensnennung - Weitergabe unter gleichen Bedingungen",
    ],
    "cc-by-nd": [
        "cc-by-nd", "CC BY-ND 4.0", "by-nd", "http://creativecommons.org/licenses/by-nd/2.0/",
        "Attribution-NoDerivs License", "Attribution-NoDerivatives 4.0 International",
    ],
    "cc-by-nc": [
        "cc-by-nc", "CC-BY-NC", "CC_BY_NC_4_0", "CC BY-NC 4.0", "by-nc", "by-nc 4.0", "CC BY NC", "CC-BYNC",
        "http://creativecommons.org/licenses/by-nc/4.0/", "http://creativecommons.org/licenses/by-nc/4.0",
        "http://creativecommons.org/licenses/by-nc/4.0/legalcode", "http://creativecommons.org/licenses/by-nc/3.0/",
        "(c) Field Museum of Natural History - CC BY-NC 4.0", "(c) Alex Bairstow, some rights reserved (CC BY-NC)",
        "© 2019 Jane Doe, some rights reserved (CC BY-NC)", "Attribution-NonCommercial License",
        "Creative Commons Attribution Non Commercial 4.0", "Creative Commons Attribution Non-Commercial",
        "Attribution - Pas d\u2019Utilisation Commerciale 4.0", "Creative Commons Reconocimiento-NoComercial 4.0",
        "Creative Commons Namensnennung - Nicht kommerziell 4.0", "Images: CC BY-NC 4.0, data: CC BY 4.0",
    ],
    "cc-by-nc-sa": [
        "cc-by-nc-sa", "CC-BY-NC-SA", "CC BY-NC-SA 4.0", "by-nc-sa", "CC-BY-NC-SA4.0", "CC_BY_NC_SA_4_0",
        "http://creativecommons.org/licenses/by-nc-sa/4.0/", "https://creativecommons.org/licenses/by-nc-sa/2.0/fr/",
        "Attribution-NonCommercial-ShareAlike License", "Creative Commons Attribution Non Commercial Share Alike 4.0",
        "Creative Commons Atribuição-NãoComercial-CompartilhaIgual",
    ],
    "cc-by-nc-nd": [
        "cc-by-nc-nd", "CC-BY-NC-ND", "CC BY-NC-ND 4.0", "by-nc-nd", "http://creativecommons.org/licenses/by-nc-nd/4.0/",
        "http://creativecommons.org/licenses/by-nd-nc/1.0/", "Attribution-NonCommercial-NoDerivs License",
        "Creative Commons Attribution-NonCommercial-NoDerivatives 4.0 International",
        "Creative Commons Namensnennung - Nicht-kommerziell - Keine Bearbeitungen",
    ],
    "public-domain": [
        "pd", "PD", "pdm", "PDM 1.0", "Public domain", "public_domain", "PD-old-100", "Public Domain Mark",
        "https://creativecommons.org/publicdomain/mark/1.0/", "http://creativecommons.org/licenses/publicdomain/",
        "No known copyright restrictions", "By Nicolas Noé no rights reserved", "United States Government Work",
    ],
    "all-rights-reserved": [
        "All rights reserved", "all_rights_reserved", "© all rights reserved", "© All rights reserved",
        "© 2019 Jane Doe", "(c) Jane Doe", "Copyright Jane Doe", "C", "Usage Conditions Apply",
        "Alle Rechte vorbehalten",
        "Tous droits réservés", "Todos los derechos reservados", "(c) Baby Nash", "Photo © standby",
    ],
    None: [
        None, "", "  ", "UNSPECIFIED", "UNSUPPORTED", "J.A. Cooper", "S. Hunter", "By Jane Doe", "by Nancy",
        "CC by Jane Doe", "Creative Commons by Jane", "sampling+", "nc-sampling+", "GFDL", "GFDL 1.2", "FAL",
        "Attribution", "MIT",
        "Baby", "Attribution required; see license",
        "Copyrighted free use", "This work is not in the public domain", "CC BY 4.0, but not for commercial use",
        "Attribution required, non-commercial use only", "http://example.org/licences",
        "https://creativecommons.org/licenses/nc/1.0/",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"), [(text, expected) for expected, texts in SPELLINGS.items() for text in texts]
)
def test_each_spelling_is_read(text: str | None, expected: str | None) -> None:
    assert slug(text) == expected


@pytest.mark.parametrize("licence", [*OPEN_LICENCES, "public-domain", "all-rights-reserved"])
def test_a_slug_is_its_own_slug_in_any_case(licence: str) -> None:
    assert slug(licence) == slug(licence.upper()) == slug(f"  {licence} ") == licence


CONDITIONS = ("nc", "nd", "sa")


@given(
    flags=st.lists(st.sampled_from(CONDITIONS), unique=True, max_size=3),
    separator=st.sampled_from(["-", " ", "_", "/"]),
    lead=st.sampled_from(["cc-", "CC ", "cc_", "https://creativecommons.org/licenses/"]),
    version=st.sampled_from(["", " 4.0", "-3.0", "/2.5/es/", "_1_0", "4.0"]),
    upper=st.booleans(),
)
def test_no_condition_of_a_code_is_ever_lost(
    flags: list[str], separator: str, lead: str, version: str, *, upper: bool
) -> None:
    code = separator.join(["by", *flags])
    text = lead + (code.upper() if upper else code) + version
    assert set((slug(text) or "").split("-")) == {"cc", "by", *flags}


@given(st.text(max_size=60))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert slug(text) in {*SPELLINGS, *(f"cc-by-{a}-{b}" for a in CONDITIONS for b in CONDITIONS)}


def test_columns_are_read_as_their_values() -> None:
    texts = [text for group in SPELLINGS.values() for text in group] * 3
    assert slugs(pl.Series(texts)).to_list() == [slug(text) for text in texts]
    assert slugs(pl.Series([], dtype=pl.String)).to_list() == []
    assert slugs(pl.Series([None, None])).to_list() == [None, None]
    assert slugs(pl.Series([1, None])).to_list() == [None, None]


def test_a_recipe_may_spell_licences_as_it_likes() -> None:
    assert accepted(("CC BY 4.0", "cc0")) == {"cc-by", "cc0"}
    assert accepted(("GFDL",)) == {"gfdl"}
    assert accepted("any") is None


def _stated(value: object) -> Iterator[str | None]:
    """Yield what stands under the names of licences, however deep."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in {"license", "license_code", "license_url"} and isinstance(inner, str | None):
                yield inner
            yield from _stated(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _stated(inner)


@pytest.mark.real
def test_every_licence_of_the_recorded_answers_is_known(real_data: Path) -> None:
    files = sorted((real_data / "fixtures").rglob("*.json"))
    found = Counter(text for path in files for text in _stated(json.loads(path.read_text(encoding="utf-8"))))
    assert len(found) > 10
    assert [text for text in found if text and slug(text) is None] == []


@pytest.mark.real
@pytest.mark.usefixtures("long_cells")
def test_every_licence_of_the_real_tables_is_known_or_a_name(real_data: Path) -> None:
    path = real_data / "fixtures/gbif/multimedia_psilocybe_semilanceata.txt"
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    stated = [row["license"] for row in rows]
    counts = Counter(slug(text) for text in stated)
    assert {text for text in stated if slug(text) is None} == {"", "J.A. Cooper", "S. Hunter"}
    # Counted by the parts of the addresses, not by our reading of them.
    for code in ("by", "by-nc", "by-sa", "by-nc-sa", "by-nc-nd"):
        named = sum(1 for text in stated if re.search(rf"/licenses/{code}/|CC {code} \d", text, re.IGNORECASE))
        assert counts[f"cc-{code}"] == named > 0
    assert counts["all-rights-reserved"] == sum("rights reserved" in text.lower() for text in stated)
    assert sum(counts.values()) == len(rows)
