from __future__ import annotations

import hashlib
from collections.abc import Callable

import polars as pl
import pytest

from tasks.core.tables import VERDICTS, conform

Rows = Callable[..., pl.DataFrame]
_EXTRA = {"contrast": pl.Float32(), "colour": pl.Float32(), "published": pl.Boolean(), "protected": pl.Boolean()}


def _table(*images: dict[str, object], **common: object) -> pl.DataFrame:
    """Rows as the rules get them; `picture` names the bytes, what is not said is null."""
    rows = []
    for number, image in enumerate(images):
        values = {"url": f"http://a/{number}", "label": "ant", "picture": f"p{number}"} | common | image
        picture = values.pop("picture")
        values["sha256"] = None if picture is None else hashlib.sha256(str(picture).encode()).hexdigest()
        rows.append(values)
    schema = VERDICTS | _EXTRA
    frame = pl.DataFrame(rows, schema_overrides=schema, infer_schema_length=None) if rows else pl.DataFrame()
    return conform(frame, schema).drop("verdict", "detail")


@pytest.fixture(scope="session")  # a plain function; hypothesis wants it no narrower
def rows() -> Rows:
    return _table
