"""What is split: the kept images of a verdicts table, gathered into groups that stay together.

Reads tables; refuses classes that cannot be split, in words that say how many images are missing and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl

from tasks.core.errors import DataError
from tasks.core.identity import canonical
from tasks.core.names import name_fault
from tasks.core.tables import KEPT
from tasks.core.unions import tied
from tasks.split.config import SplitConfig
from tasks.split.sides import sides_of

MIN_CLASSES = 2
_SQUARES = 100  # a degree: 0.01 degrees are 1.1 km from south to north
_CURATED = ("cluster_id", "group_id")  # what curation ties by, beside near-duplicates of near-duplicates

Reasons = Callable[[], Mapping[str, Mapping[str, int]]]


def _place() -> pl.Expr:
    """Return the square that latitude and longitude lie in; 180 degrees east and west are one meridian."""
    # Rounded first: 38.71 * 100 is a little less than 3871.
    squares = [
        (degrees * _SQUARES).round(6).floor() for degrees in (pl.col("latitude"), (pl.col("longitude") + 180) % 360)
    ]
    known = pl.all_horizontal(square.is_finite() for square in squares)
    return pl.when(known).then(
        pl.concat_str(*(square.cast(pl.Int64, strict=False) for square in squares), separator=":")
    )


# How each column of `group_by` is read; equal values tie, null and empty ones do not.
GROUP_BY: dict[str, pl.Expr] = {
    "creator": pl.col("creator").str.strip_chars().str.to_lowercase(),
    "place": _place(),
    "page_url": canonical(pl.col("page_url").str.strip_chars()),
    "observed_on": pl.col("observed_on").cast(pl.String),
    "source": pl.col("source"),
    "taxon": pl.col("taxon").str.strip_chars().str.to_lowercase(),
    "host": canonical(pl.col("url")).str.extract("^//([^/?]+)", 1),
}


def ties(rows: pl.DataFrame, config: SplitConfig) -> pl.DataFrame:
    """Return sha256 and, as text, the columns of `rows` whose equal values tie images, other than components."""
    by = {f"by_{name}": GROUP_BY[name] for name in dict.fromkeys(config.group_by)}
    return rows.select("sha256", *(name for name in _CURATED if name in rows.columns), **by)


def component(rows: pl.DataFrame, facts: pl.DataFrame, config: SplitConfig, *, beside: str) -> pl.Series:
    """Return for each of `rows` the smallest SHA-256 of all tied to it: by their columns, by `beside`, by `facts`."""
    told = pl.concat([ties(rows, config).with_columns(rows[beside]), ties(facts, config)], how="diagonal")
    return tied(told, told.columns[1:]).head(rows.height)


def tie(rows: pl.DataFrame, config: SplitConfig, facts: pl.DataFrame) -> pl.DataFrame:
    """Return all rows of a verdicts table with `component` widened by what `group_by` and earlier versions say.

    Every row counts, also those not kept: a near-duplicate that was dropped still ties the image kept in its place to
    the photographer it came from. So does every value that an image was published with: a source that forgets an
    observation, or now tells another, does not undo it.

    Args:
        rows: a verdicts table.
        config: the recipe's `split:` block.
        facts: see `tasks.core.history.scan_facts`; the columns `told` are enough.
    """
    return rows.with_columns(component(rows, facts, config, beside="component"))


def told(config: SplitConfig) -> tuple[str, ...]:
    """Return the columns that an image and its values of what ties are told by."""
    by = (name for of in dict.fromkeys(config.group_by) for name in GROUP_BY[of].meta.root_names())
    return tuple(dict.fromkeys(("sha256", "group_id", *by)))


def is_kept(labels: tuple[str, ...]) -> pl.Expr:
    """Tell the rows of a verdicts table that are to be split: kept, of a class of the recipe."""
    return (pl.col("verdict") == KEPT) & pl.col("label").is_in(labels)


def check_names(labels: tuple[str, ...]) -> None:
    """Raise DataError where the classes cannot be folders side by side, whoever named them."""
    if fault := name_fault(labels):
        raise DataError(
            "A data set has a folder a class, and these classes cannot all have one.",
            received=fault,
            hint="Give the class another name in the recipe (`labels: {merge: …}` renames one that a source tells).",
        )


def check_sizes(kept: pl.DataFrame, labels: tuple[str, ...], *, config: SplitConfig, set_aside: Reasons) -> None:
    """Raise DataError unless there are two classes, each with groups enough for all sides.

    Args:
        kept: rows with the columns label and component.
        labels: classes of the recipe.
        config: the recipe's `split:` block.
        set_aside: called in case of need; returns for each class why its other addresses gave no image, with counts.
    """
    if len(labels) < MIN_CLASSES:
        raise DataError(
            f"A classifier needs at least {MIN_CLASSES} classes.",
            received=f"{len(labels)}: {', '.join(labels) or 'none'}",
            hint="Add a class with its sources to the recipe.",
        )
    groups = pl.col("component").n_unique().alias("groups")
    sizes = {row[0]: row[1:] for row in kept.group_by("label").agg(pl.len(), groups).iter_rows()}
    found = {label: sizes.get(label, (0, 0)) for label in sorted(labels)}
    needed = len(sides_of(config))
    small = {label: size for label, size in found.items() if size[1] < needed}
    if small:
        reasons = set_aside()
        raise DataError(
            f"{len(small)} of {len(labels)} classes cannot be split into {_into(config)}.",
            received="\n".join(
                _complaint(label, size, reasons.get(label, {}), needed=needed) for label, size in small.items()
            ),
            hint="Give these classes more sources, loosen what refuses their images, or take them out of the recipe. "
            f"Images of {_one_group(config)} form one group, and a group is never divided.",
        )


def _into(config: SplitConfig) -> str:
    if config.folds:
        return f"test and {config.folds} folds"
    return f"{', '.join(config.splits[:-1])} and {config.splits[-1]}"


def _one_group(config: SplitConfig) -> str:
    tying = ["observation", "near-duplicate cluster", *config.group_by]
    return f"{', '.join(f'one {name}' for name in tying[:-1])} or one {tying[-1]}"


def _complaint(label: str, size: tuple[int, int], reasons: Mapping[str, int], *, needed: int) -> str:
    images, groups = size
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    without = f"its other addresses: {listed}" if listed else "no other address is known"
    got = f"{_count(images, 'image')} in {_count(groups, 'group')}" if images else "no image"
    return f"  {label}: {got}, at least {needed} groups are needed; {without}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
