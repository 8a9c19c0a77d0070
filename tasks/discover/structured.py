"""Tables that are not text with delimiters: Parquet, JSON lines, and what gzip has packed.

Reads and writes nothing: bytes come in, a frame of strings goes out.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping

import polars as pl

from tasks.core.archives import gunzipped
from tasks.core.errors import ImageRefusedError, SourceError
from tasks.discover.delimited import tidy

LARGEST = 1 << 30
"""Bytes that a packed table may unpack to: reading it takes 4 to 6 times as much memory for a moment."""


def unpacked(content: bytes, name: str, shown: str) -> bytes:
    """Return `content` without the gzip that the suffix of `name` speaks of.

    Raises:
        SourceError: it is damaged, not gzipped, or unpacks to an absurd size.
    """
    if not name.lower().endswith(".gz"):
        return content
    try:
        return gunzipped(content, limit=LARGEST)
    except ImageRefusedError as error:
        raise SourceError(
            f"{shown} cannot be unpacked.",
            received=error.what,
            hint="Divide it, or unpack it yourself."
            if error.outcome == "too-large"
            else "Fetch or pack it again; a file that is not gzipped must not end with .gz.",
        ) from error


def parquet(content: bytes, shown: str) -> pl.DataFrame:
    """Return a Parquet file as strings; lists and structs as JSON, bytes as null.

    Raises:
        SourceError: it is none.
    """
    try:
        frame = pl.read_parquet(io.BytesIO(content))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(
            f"{shown} is not a Parquet file.",
            received=str(error).splitlines()[0][:200],
            hint="Write it again; a table of another kind must not end with .parquet.",
        ) from error
    return tidy(pl.DataFrame([_as_text(frame[column]) for column in frame.columns]))


def _as_text(values: pl.Series) -> pl.Series:
    if values.dtype.is_nested():
        return values.to_frame().select(pl.struct(values.name).struct.json_encode().alias(values.name)).to_series()
    if values.dtype == pl.Binary:
        return pl.Series(values.name, [None] * len(values), dtype=pl.String)
    if values.dtype.is_float() and (values.drop_nulls().drop_nans() % 1 == 0).all():
        return values.fill_nan(None).cast(pl.Int64, strict=False).cast(pl.String)
    return values.cast(pl.String)


def json_lines(text: str, shown: str) -> pl.DataFrame:
    """Return one JSON object a line, or one list of them, as strings; what is no string as JSON.

    Raises:
        SourceError: it is something else.
    """
    rows: list[Mapping[str, object]] = []
    whole = text.lstrip("\ufeff \n\t").startswith("[")
    for number, line in enumerate([text] if whole else text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line.lstrip("\ufeff"))
        except ValueError as error:
            raise _not_json(shown, number, str(error)) from error
        objects = found if whole and isinstance(found, list) else [found]
        if not all(isinstance(item, dict) for item in objects):
            raise _not_json(shown, number, f"a {type(objects[0]).__name__}, not an object")
        rows += objects
    names = list(dict.fromkeys(key for row in rows for key in row))
    columns = {key: pl.Series(key, [_json_text(row.get(key)) for row in rows], dtype=pl.String) for key in names}
    return tidy(pl.DataFrame(columns))


def _json_text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _not_json(shown: str, line: int, received: str) -> SourceError:
    return SourceError(
        f"{shown} is not JSON lines.",
        received=f"line {line}: {received}",
        hint="Each line must be one JSON object; a table of another kind needs its usual suffix.",
    )
