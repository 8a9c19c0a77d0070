"""Who made each image of a data set, under which licence, and where it came from: CREDITS.csv.

Reads a manifest; writes one CSV file, which people open in a spreadsheet and hand on with the images.
"""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl

from tasks.core.files import write_atomic
from tasks.core.spreadsheets import harmless

_CC = "https://creativecommons.org"
# Our slugs carry no version, so these are the newest licences of their names; the image's own page has the last word.
LICENCE_ADDRESSES = {
    "cc0": f"{_CC}/publicdomain/zero/1.0/",
    **{
        f"cc-{terms}": f"{_CC}/licenses/{terms}/4.0/"
        for terms in ("by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd")
    },
}


def write_credits(manifest: pl.DataFrame, path: Path) -> Path:
    """Write one row per image of `manifest` to `path`, sorted by the image's path.

    Columns: path, class, creator, licence, licence_address, page, source_address; empty where nothing is known.
    `licence_address` is that of Creative Commons licences, in their newest version.

    For spreadsheets the file is UTF-8 with a byte order mark (Excel reads it as Latin otherwise; Polars and pandas pass
    over the mark, Python's csv does with `encoding="utf-8-sig"`), its lines end as RFC 4180 says, and a cell that
    would be taken for a formula (`=`, `+`, `-` or `@` first) has an apostrophe before it.

    Raises:
        WorkspaceError: the file cannot be written.
    """
    address = pl.col("licence").replace_strict(LICENCE_ADDRESSES, default=None, return_dtype=pl.String)
    table = manifest.sort("path").select(
        "path",
        pl.col("label").alias("class"),
        "creator",
        "licence",
        address.alias("licence_address"),
        pl.col("page_url").alias("page"),
        pl.col("url").alias("source_address"),
    )
    buffer = io.BytesIO()  # through memory: Polars tells a full disk as an error of its own
    table.with_columns(harmless(pl.all())).write_csv(buffer, include_bom=True, line_terminator="\r\n")
    return write_atomic(path, lambda stream: stream.write(buffer.getvalue()))
