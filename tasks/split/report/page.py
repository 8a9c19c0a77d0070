"""The page itself: figures in, one self-contained HTML text out.

Reads its template and style sheet from the package; writes nothing. What it is given comes from the network, so
everything is escaped, no script stands in it, and its policy lets no request out.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tasks.split.report.pictures import web_page
from tasks.split.report.words import MEANING

# Controls, and what turns the direction of writing: in a caption they would garble the words around them.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]")
LONGEST = 160  # letters of an address, a name or a reason


def render(figures: dict[str, Any]) -> str:
    """Return the page for the figures `tasks.split.report.write_report` collects."""
    return str(_environment().get_template("report.html.j2").render(figures))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tasks.split.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_readable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"n": _count, "percent": _percent, "of": _width, "short": short, "means": MEANING.get}
    environment.globals["web_page"] = web_page
    return environment


def _readable(value: object) -> object:
    """Drop from text what nobody could read; markup, made by the template itself, stays as it is."""
    return _UNSEEN.sub("", value) if type(value) is str else value


def _count(number: int) -> str:
    return f"{number:,}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _width(part: int, whole: int) -> str:
    """Return a CSS length: `part` of `whole`, in percent."""
    return f"{100 * part / whole:.3f}%" if whole else "0%"


def short(text: object, longest: int = LONGEST) -> str:
    """Return `text` on one line, its middle left out where it is too long: both ends of an address tell something."""
    line = " ".join(str(text).split())
    return line if len(line) <= longest else f"{line[: longest * 2 // 3]} … {line[-longest // 4 :]}"
