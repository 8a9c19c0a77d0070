"""Text from strangers in files that people open in a spreadsheet: one line, and never a formula.

Reads and writes nothing.
"""

from __future__ import annotations

import polars as pl

# What a spreadsheet takes for a formula, also behind blanks that some drop; the wide forms count where Japanese is set.
_FORMULA = r"^\s*[=+\-@＝＋－＠]"  # noqa: RUF001 - the wide forms are meant
_UNSEEN = r"[\x00-\x1f\x7f-\x9f\x{2028}\x{2029}]+"  # line ends and controls


def harmless(text: pl.Expr) -> pl.Expr:
    """Return text as a cell that no spreadsheet runs.

    Line ends and control characters become a blank; an apostrophe stands before a cell that begins with `=`, `+`, `-`
    or `@`, as spreadsheets themselves mark text.
    """
    return text.str.replace_all(_UNSEEN, " ").str.replace(_FORMULA, "'${0}")
