"""Images in a zip or tar file of this machine, with a table of them or with their folders as classes.

Reads the names of the archive's members and the table, which lies beside the recipe or in the archive; writes nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import polars as pl

from tasks.core.archives import kind, members, read_member
from tasks.core.errors import HarvestmanError, SourceError
from tasks.core.local import address, shown
from tasks.discover.config import ArchiveSource
from tasks.discover.fields import ALIASES
from tasks.discover.found import Ask, Page
from tasks.discover.licences import slug
from tasks.discover.names import folder_of, left_out, searched, unknown_licence
from tasks.discover.structured import LARGEST
from tasks.discover.tabular import candidates, label, read_file, read_table, require, where

_FIELD = re.compile(r"\{([^{}]+)\}")
_SHOWN = 3  # names in an error


def problems(ask: Ask[ArchiveSource]) -> Iterable[HarvestmanError]:
    """Yield an error where there is no such archive, it is none, or its licence has no slug."""
    yield from unknown_licence(ask.source.licence, "archive")
    try:
        kind(ask.source.path)
    except SourceError as error:
        yield error


def pages(ask: Ask[ArchiveSource]) -> Iterator[Page]:
    """Yield one page: every image of the archive, or every row of the table whose image the archive holds.

    Members that are never read (`unsafe-name`, `not-a-file`, `encrypted`, `other-compression`), hidden ones and those
    with the suffix of something else are counted, as are rows without an image (`missing-image`), with several
    (`ambiguous-image`), not asked for (`other-value`), and images that no row names (`without-row`).

    Raises:
        SourceError: the archive or the table cannot be read, a column is missing, or there is not one image.
    """
    source = ask.source
    names, notes = _names(source.path)
    images = _images(source.path, names, notes)
    if images.is_empty():
        raise SourceError(
            f"The archive {source.path} holds no image.",
            received=", ".join(f"{number} {reason}" for reason, number in sorted(notes.items()) if number)
            or "no files",
            hint="Names that end in a suffix must end in that of an image format; archives in archives are not opened.",
        )
    if source.table is None:
        notes["rows"] = images.height
        frame, told = images, pl.DataFrame()
    else:
        table, name = _table(source, source.table, names)
        frame = _chosen(_joined(table, images, source, name=name, notes=notes), source, name=name, notes=notes)
        told = candidates(frame, source.columns, aliases=ALIASES, name=name)
    yield Page(_columns(frame, told, ask), notes)


def _names(path: Path) -> tuple[list[str], Counter[str]]:
    """Return the members that may be read, each once, and the number of the others by reason."""
    names: dict[str, None] = {}
    notes: Counter[str] = Counter()
    for member in members(path):
        reason = member.refused or ("duplicates" if member.name in names else None)
        if reason:
            notes[reason] += 1
        else:
            names[member.name] = None
    return list(names), notes


def _images(path: Path, names: list[str], notes: Counter[str]) -> pl.DataFrame:
    """Return `_url` and `_path` of the members that may be images, in the archive's order."""
    path = path.resolve()
    urls, paths = [], []
    for name in names:
        plain = _plain(name)
        if reason := _left_out(plain):
            notes[reason] += 1
        else:
            urls.append(address(path, name))
            paths.append(plain)
    return pl.DataFrame({"_url": urls, "_path": paths}, schema={"_url": pl.String, "_path": pl.String})


def _plain(name: str) -> str:
    """Return a member's name as a path: some programs of Windows pack with backslashes, tar with `./` in front."""
    return str(PurePosixPath(shown(name).replace("\\", "/")))


def _left_out(path: str) -> str | None:
    parts = PurePosixPath(path).parts
    return "hidden" if any(part.startswith(".") for part in parts) else left_out(parts[-1])


def _table(source: ArchiveSource, table: Path, names: list[str]) -> tuple[pl.DataFrame, str]:
    """Return the table and its name for errors."""
    if table.is_file():
        return read_file(table), str(table)
    member = _member(source.path, table, names)
    content = read_member(source.path, member, limit=LARGEST)
    name = f"{source.path}/{shown(member)}"  # its end says what it is
    return read_table(content, name), name


def _member(path: Path, table: Path, names: list[str]) -> str:
    """Return the member that shares most of its last parts with `table`, before others the one it shares all of."""
    wanted = table.parts[::-1]
    alike: dict[str, tuple[int, bool]] = {}
    for name in names:
        parts = _plain(name).split("/")[::-1]
        if parts[0] == table.name:
            shared = next((n for n, (a, b) in enumerate(zip(parts, wanted, strict=False)) if a != b), len(parts))
            alike[name] = shared, shared == len(parts)
    most = max(alike.values(), default=None)
    best = [name for name, likeness in alike.items() if likeness == most]
    if len(best) == 1:
        return best[0]
    if best:
        raise SourceError(
            f"The archive {path} holds several tables {table.name}.",
            received=", ".join(shown(name) for name in best[:_SHOWN]),
            hint="Give more of the path in `table:`, as it stands in the archive.",
        )
    tables = [shown(name) for name in names if not shown(name).startswith(".") and _is_table(name)]
    raise SourceError(
        f"There is no table {table}, and none of that name in the archive {path}.",
        received=f"Tables in the archive: {', '.join(tables[:_SHOWN]) or 'none'}.",
        hint="Correct `table:`: a file (its path starts at the recipe's folder), or the path of a member.",
    )


def _is_table(name: str) -> bool:
    return name.lower().removesuffix(".gz").endswith((".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".parquet"))


def _joined(
    table: pl.DataFrame, images: pl.DataFrame, source: ArchiveSource, *, name: str, notes: Counter[str]
) -> pl.DataFrame:
    """Return the rows whose image is in the archive, with its `_url` and `_path`."""
    told = [source.label.column] if source.label and source.label.column else []
    require(table, [*_FIELD.findall(source.image), *told, *source.where, *source.columns.values()], name)
    rows = table.with_columns(_wanted(source.image).alias("_image"))
    depths = rows.select((pl.col("_image").str.count_matches("/", literal=True) + 1).unique()).to_series().drop_nulls()
    ends = pl.concat([_ends(images, depth) for depth in depths.sort().to_list() or [1]])
    found = rows.join(ends, on="_image", how="left", maintain_order="left")
    whole = found.filter(pl.col("_url").is_not_null())
    notes["rows"] = table.height
    notes["ambiguous-image"] += (ambiguous := found.filter("_several").height)
    notes["missing-image"] += table.height - whole.height - ambiguous
    notes["without-row"] += images.height - whole["_url"].n_unique()
    if whole.is_empty():
        raise SourceError(
            f"No row of {name} names an image in the archive.",
            received=f"{source.image} gives {', '.join(rows['_image'].drop_nulls().head(_SHOWN)) or 'nothing'}; "
            f"in the archive: {', '.join(images['_path'].head(_SHOWN))}.",
            hint="Mend `image:`, the end of an image's path with column names in braces.",
        )
    return whole


def _wanted(template: str) -> pl.Expr:
    """Return the end of an image's path for each row, null where a column of the template is."""
    pieces = [
        pl.col(piece).str.strip_chars() if number % 2 else pl.lit(piece)
        for number, piece in enumerate(_FIELD.split(template))
    ]
    path = pl.concat_str(pieces).str.replace_all("\\", "/", literal=True)
    return path.str.replace_all(r"/{2,}|/(?:\./)+", "/").str.replace(r"^(?:\.?/)+", "")


def _ends(images: pl.DataFrame, depth: int) -> pl.DataFrame:
    """Return every end of `depth` parts that paths have: `_image`, the image's `_url` and `_path`, or `_several`."""
    parts = pl.col("_path").str.split("/")
    return (
        images.with_columns(parts.list.len().alias("_depth"), parts.list.tail(depth).list.join("/").alias("_image"))
        .filter(pl.col("_depth") >= depth)
        .sort("_depth", maintain_order=True)
        .group_by("_image", maintain_order=True)
        # A path that is no longer than the end itself is meant before others that end like it.
        .agg(pl.col("_url", "_path").first(), ((pl.len() > 1) & (pl.col("_depth").first() > depth)).alias("_several"))
        .with_columns(pl.when(~pl.col("_several")).then(pl.col("_url", "_path")))
    )


def _chosen(rows: pl.DataFrame, source: ArchiveSource, *, name: str, notes: Counter[str]) -> pl.DataFrame:
    kept = where(rows, source.where, name)
    notes["other-value"] += rows.height - kept.height
    return kept


def _columns(frame: pl.DataFrame, told: pl.DataFrame, ask: Ask[ArchiveSource]) -> pl.DataFrame:
    """Return the page's columns; what the table tells comes before what the archive does."""
    source = ask.source
    stated = pl.lit(slug(source.licence), dtype=pl.String)
    result = pl.DataFrame([frame["_url"].alias("url"), frame["_path"].alias("source_id")])
    result = result.with_columns(told.drop("url", strict=False)).with_columns(
        (pl.coalesce("licence", stated) if "licence" in told.columns else stated).alias("licence")
    )
    if "group_id" in result.columns:  # a plain number must not meet that of another source
        own = pl.col("group_id").str.contains(r"^[a-z_]+:")
        result = result.with_columns(pl.when(own).then("group_id").otherwise(pl.lit("archive:") + pl.col("group_id")))
    return result if ask.label is not None else result.with_columns(_labels(frame, source).alias("label"))


def _labels(frame: pl.DataFrame, source: ArchiveSource) -> pl.Series:
    rule = source.label
    if rule is None:
        return pl.Series([folder_of(path) for path in frame["_path"]], dtype=pl.String)
    if source.table is None and rule.pattern and not rule.column and not rule.taxa:
        return pl.Series(list(searched(rule.pattern, frame["_path"])), dtype=pl.String)
    name = str(source.table or f"The list of images of {source.path}")
    return label(frame, rule, name, taxon_columns=ALIASES["taxon"], path="_path")
