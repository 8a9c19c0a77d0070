"""Taxa of iNaturalist's open data: names to ids, everything below a taxon, and the class each of them belongs to.

Reads the table of taxa (1.4 million rows, about 250 MB in memory); writes nothing.
"""

from __future__ import annotations

import difflib

import polars as pl

from tasks.core.errors import SourceError
from tasks.discover.fields import LabelRule, Names
from tasks.discover.taxa import listed, not_one

_OFFERED = 10  # similar names
_SEPARATOR = r"[/\\]"  # dumps have been published with either


def chosen_taxa(taxa: pl.DataFrame, wanted: Names, label: str | LabelRule | None) -> pl.DataFrame:
    """Return the taxa of `wanted` and all their descendants, active or not.

    Args:
        taxa: taxon_id, ancestry, rank, name and active, all as text.
        wanted: scientific names, or ids.
        label: the rank whose taxon is the class of an image, or classes by their taxa; None = the caller knows.

    Returns:
        taxon_id (i64), taxon (name), label (text, null where there is none), ordered by taxon_id.

    Raises:
        SourceError: a name that no taxon has, or several have; an id that stands nowhere.
    """
    ids = [_taxon_id(taxa, name) for name in listed(wanted)]
    lineage = pl.concat_str(pl.col("ancestry").fill_null(""), "taxon_id", separator="/")
    inside = rf"(?:^|{_SEPARATOR})(?:{'|'.join(map(str, sorted(set(ids))))})(?:{_SEPARATOR}|$)"
    below = taxa.filter(lineage.str.contains(inside)).select(
        pl.col("taxon_id").cast(pl.Int64), taxon="name", above=lineage.str.replace_all("\\", "/", literal=True)
    )
    steps = _steps(below)
    lost = sorted(set(ids) - set(steps["above"].unique()))
    if lost:
        raise SourceError(
            f"The open data has no taxon with the id {lost[0]}.",
            hint="Look the taxon up on inaturalist.org: its id stands in the address of its page.",
        )
    classes = _classes(taxa, steps, label)
    return below.select("taxon_id", "taxon").join(classes, on="taxon_id", how="left").sort("taxon_id")


def _steps(below: pl.DataFrame) -> pl.DataFrame:
    """Return one row for each taxon and each of its ancestors and itself: taxon_id, above (id), depth."""
    chains = below.select("taxon_id", pl.col("above").str.strip_chars("/").str.split("/"))
    depth = pl.int_ranges(pl.col("above").list.len()).alias("depth")
    return chains.with_columns(depth).explode("above", "depth").with_columns(pl.col("above").cast(pl.Int64))


def _classes(taxa: pl.DataFrame, steps: pl.DataFrame, label: str | LabelRule | None) -> pl.DataFrame:
    """Return taxon_id and label: of several ancestors that name a class the nearest decides."""
    if label is None:
        named = pl.DataFrame(schema={"above": pl.Int64, "label": pl.String})
    elif isinstance(label, str):
        named = taxa.filter(pl.col("rank") == label).select(above=pl.col("taxon_id").cast(pl.Int64), label="name")
    else:
        named = _named_classes(taxa, label)
    return (
        steps.join(named, on="above").sort("taxon_id", "depth").group_by("taxon_id").last().select("taxon_id", "label")
    )


def _named_classes(taxa: pl.DataFrame, rule: LabelRule) -> pl.DataFrame:
    classes: dict[int, str] = {}
    for name, parts in rule.taxa.items():
        for part in listed(parts):
            other = classes.setdefault(_taxon_id(taxa, part), name)
            if other != name:
                raise SourceError(
                    f"The taxon {part!r} stands in two classes of `label:`.",
                    received=f"{other} and {name}",
                    hint="Leave it in one of them.",
                )
    return pl.DataFrame(
        {"above": list(classes), "label": list(classes.values())}, {"above": pl.Int64, "label": pl.String}
    )


def _taxon_id(taxa: pl.DataFrame, name: str | int) -> int:
    """Return the id of the one taxon of this name; of several the only active one."""
    if isinstance(name, int):
        return name
    plain = " ".join(name.split()).lower()
    same = taxa.filter(pl.col("name").str.to_lowercase() == plain)
    active = same.filter(pl.col("active").str.to_lowercase().is_in(["true", "t"]))
    for matches in (active, same):
        if matches.height == 1:
            return int(matches["taxon_id"].item())
    offered = (same if same.height else _similar(taxa, plain)).sort("name", "taxon_id")
    raise not_one(
        f"The open data has {'several taxa' if same.height else 'no taxon'} named {name!r}.",
        [f"{row['name']} ({row['rank']}, id {row['taxon_id']})" for row in offered.iter_rows(named=True)],
        hint="Write the scientific name as iNaturalist has it, or the taxon's id, in `taxon:` or `label:`.",
    )


def _similar(taxa: pl.DataFrame, plain: str) -> pl.DataFrame:
    """Return taxa whose names resemble `plain`; only those that begin alike are looked at."""
    lower = pl.col("name").str.to_lowercase()
    begun = taxa.filter(lower.str.starts_with(plain[:3])).with_columns(lower.alias("lower"))
    close = difflib.get_close_matches(plain, begun["lower"].unique().sort(), n=_OFFERED, cutoff=0.6)
    return begun.filter(pl.col("lower").is_in(close))
