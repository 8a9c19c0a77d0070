"""Licences in one spelling: SPDX-like slugs without a version. Reads and writes nothing.

Sources write `CC_BY_NC_4_0`, `http://creativecommons.org/licenses/by-nc/4.0/legalcode`, `CC BY-NC 4.0`, `by-nc` or
`© 2019 Jane Doe, all rights reserved`, in several languages. In doubt the narrower reading counts: of two licences
the one with more conditions, and none where a text says of a licence what that licence does not say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

import polars as pl

_ORDER = ("nc", "nd", "sa")
_SEP = r"[\s/,:(-]*"
_FLAGS = {
    "nc": r"nc|non-?\s?comm?ercial\w*|no-?comercial|n[ãa]o-?\s?comercial|non\s?commerciale|nicht[\s-]?kommerziell\w*"
    r"|pas d.utilisation commerciale|niet-?commercieel",
    "nd": r"nd|no[nt]?-?\s?deriv\w*(?:\swork\w*)?|keine bearbeitung\w*|pas de modification\w*|sans d[ée]riv\w*"
    r"|sin ?(?:obra ?)?derivad\w*|sem ?deriva\w*|non opere derivate|geen ?afgeleide ?werken",
    "sa": r"sa|share-?\s?alike|weitergabe unter gleichen bedingungen|partage dans les m[êe]mes conditions"
    r"|partage à l.identique|compartir-?igual|compartilha-?igual|condividi allo stesso modo|gelijk ?delen",
}
_BY = (
    r"attribution|namensnennung|atribuci[óo]n|reconocimiento|atribui[çc][ãa]o|attribuzione|paternit[ée]|naamsvermelding"
)
_CONDITIONS = "|".join(_FLAGS.values())
_CODE = r"by(?:[\s/-]*(?:nc|nd|sa))*(?![a-z]|[\s/-]*(?:nc|nd|sa))"
_NAME_AFTER = r"(?!\s+(?!v?\d|licen|intern|unported|generic|deed|and\b|or\b)\w)"  # `CC by Jane Doe` is no licence
_CODED = re.compile(
    rf"(?:licenses/|\bcc[\s-]*|creative commons[\s-]*)({_CODE}){_NAME_AFTER}|^({_CODE})[\s-]*(?:v?\d.*)?$"
)
_SPELLED = re.compile(rf"\b(?:{_BY})\b((?:{_SEP}\b(?:{_CONDITIONS})\b)*)")
_WHOLE = re.compile(rf"(?:creative ?commons|\bcc)[\s:-]*(?:{_BY})|^(?:{_BY})[\s-]*(?:v?\d\.\d|licen[cs]e)")
_NOT_SOLD = re.compile(
    r"\b(?:nc|no|non|not|nicht|keine?|pas|sin|senza|sem|n[ãa]o|niet|geen|without)\b\W*(?:\S+\s+){0,2}?\S*[ck]omm?er[cz]|nicht-?komm"
)
_ZERO = re.compile(r"\bcc[\s-]?0\b|\bcc[\s-]?zero\b|publicdomain/zero|creative commons zero")
_NOT_FREE = re.compile(r"\bnot\b[^.;]*public[\s-]?domain")
_MARK = re.compile(
    r"publicdomain/mark|public[\s-]?domain|\bpdm\b|^pd\b|no known copyright|\bno rights reserved|government work"
)
_RESERVED = re.compile(
    r"all[\s-]?rights?[\s-]?reserved|alle rechte vorbehalten|tous droits r[ée]serv[ée]s|todos los derechos reservados"
    r"|todos os direitos reservados|tutti i diritti riservati|alle rechten voorbehouden|©|\(c\)|^c$"
    r"|copyright(?:ed)?\b(?! free use)|usage conditions"
)


@lru_cache(maxsize=65_536)
def slug(text: str | None) -> str | None:
    """Return the licence that `text` states; None when it states none that we know.

    Examples: cc0, cc-by, cc-by-nc-sa, public-domain, all-rights-reserved.
    """
    plain = _plain(text or "")
    conditions = [set(re.findall(r"nc|nd|sa", code or bare)) for code, bare in _CODED.findall(plain)]
    conditions += [_conditions(tail) for tail in _SPELLED.findall(plain) if _WHOLE.search(plain) or tail]
    if conditions:
        most = max(conditions, key=lambda flags: (len(flags), sorted(flags)))
        if "nc" not in most and _NOT_SOLD.search(plain):
            return None
        return "-".join(["cc", "by", *(flag for flag in _ORDER if flag in most)])
    if _ZERO.search(plain):
        return "cc0"
    if _MARK.search(plain) and not _NOT_FREE.search(plain):
        return "public-domain"
    return "all-rights-reserved" if _RESERVED.search(plain) else None


def slugs(column: pl.Series) -> pl.Series:
    """Return a column of licences as slugs, each spelling looked at once."""
    spellings = column.cast(pl.String).unique().to_list()
    return column.cast(pl.String).replace_strict(spellings, [slug(text) for text in spellings], return_dtype=pl.String)


def accepted(licences: Iterable[str] | str) -> set[str] | None:
    """Return the slugs of a recipe's `licences`, or None where any is taken."""
    return None if licences == "any" else {slug(text) or text.lower() for text in licences}


def _plain(text: str) -> str:
    """Return `text` in lower case with one kind of dash and of space."""
    return " ".join(re.sub(r"[_\u2010-\u2015]", "-", text).lower().split())


def _conditions(words: str) -> set[str]:
    """Return which conditions are spelled out in `words`."""
    return {flag for flag, spelled in _FLAGS.items() if re.search(rf"\b(?:{spelled})\b", words)}
