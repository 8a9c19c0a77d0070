"""What becomes of every stored image: kept, or set aside for a reason. The order of judgement stands in `judge`.

Reads the candidates, the ledger, the decisions and the history of a collection, never a pixel (the rule `gray` alone
has colours measured); writes one immutable verdicts table, named by its content.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tasks.core.fingerprint import LENGTH, table_digest
from tasks.core.history import read_history, scan_facts
from tasks.core.tables import (
    DECISIONS,
    DUPLICATE_BYTES,
    KEPT,
    NEAR_DUPLICATE,
    VERDICTS,
    conform,
    narrowness,
    read_candidates,
    read_ledger,
    write_table,
)
from tasks.core.unions import tied
from tasks.core.workspace import Workspace
from tasks.curate.clusters import OPEN, add_clusters, add_walk, images_of
from tasks.curate.colour import measure_colour
from tasks.curate.config import CurateConfig, NearDuplicates, Rules
from tasks.curate.conflicts import conflicts, settle
from tasks.curate.decisions import decisions_digest, decisions_of, obey, obeyed
from tasks.curate.rules import OVER_CAP, apply_rules, over_cap

_FROM_CANDIDATES = (
    "url", "label", "source", "group_id", "taxon", "licence", "creator", "page_url", "observed_on", "latitude",
    "longitude",
)  # fmt: skip
_FROM_LEDGER = ("url", "sha256", "format", "width", "height", "bytes", "contrast", "phash", "verify_hash")


@dataclass(frozen=True)
class Curated:
    """A verdicts table and what it says."""

    path: Path
    fingerprint: str
    """First digits of the SHA-256 of the table's rows."""
    verdicts: dict[str, int]
    """Rows by verdict."""
    classes: dict[str, dict[str, int]]
    """Rows by class and verdict; every class of the recipe is there."""
    decisions: dict[str, int]
    """Decisions that were obeyed, by verdict; `unknown`: those on images that were never stored."""
    unknown: tuple[str, ...]
    """SHA-256 of the images of these, sorted."""
    conflicts: int
    """Clusters that span classes, settled or not."""
    decisions_digest: str
    """SHA-256 of the decisions; see `decisions_digest`."""


def curate(
    collection: Path, config: CurateConfig, *, labels: tuple[str, ...], workspace: Workspace | None = None
) -> Curated:
    """Judge every stored image of `collection` and write the verdicts, unless the very same stand there.

    Args:
        collection: folder with `candidates/`, `ledger/`, `decisions/` and `splits/`; `verdicts/` is made beside them.
        config: the recipe's `curate:` block.
        labels: classes of the recipe, in its order; rows of any other class are left out.
        workspace: where the images lie; needed by `rules.gray: refuse` alone.

    Returns:
        The table's address and counts.

    Raises:
        SourceError: a file of decisions cannot be read or is wrong.
        ValueError: colours are needed and there is no `workspace`.
        WorkspaceError: the table cannot be written.
    """
    decisions = decisions_of(collection, config.decisions, labels=labels)
    rows = stored_rows(collection, labels)
    if config.rules.gray == "refuse":
        if workspace is None:
            raise ValueError("rules.gray is `refuse`: curate needs the workspace to measure colours")
        images = rows.unique("sha256", maintain_order=True)
        rows = rows.join(measure_colour(workspace, collection, images), on="sha256", how="left")
    table = judge(rows, config, labels=labels, decisions=decisions)
    key = table_digest(table)[:LENGTH]
    path = collection / "verdicts" / f"{key}.parquet"
    if not path.exists():
        write_table(table, path)
    verdicts, classes = _counted(table, labels)
    counts, unknown = obeyed(decisions, rows, read_ledger(collection, "sha256")["sha256"])
    fought = conflicts(table)["cluster_id"].n_unique()
    return Curated(
        path,
        key,
        verdicts,
        classes,
        decisions=counts,
        unknown=tuple(unknown),
        conflicts=fought,
        decisions_digest=decisions_digest(decisions),
    )


def stored_rows(collection: Path, labels: Sequence[str]) -> pl.DataFrame:
    """Return one row per address and class whose image is stored, and one per published image that has gone, sorted.

    Returns:
        Columns of candidates and ledger, with `published` (the image is in some version), `credited` (a version names
        this address for it) and `gone` (no source offers it any more, and all that is known of it is what was written
        down when it was published; its class too).
    """
    stored = read_ledger(collection, "outcome", *_FROM_LEDGER).filter(pl.col("sha256").is_not_null(), outcome=KEPT)
    stored = stored.drop("outcome")
    offered = read_candidates(collection).filter(pl.col("label").is_in(list(labels))).select(_FROM_CANDIDATES)
    history = read_history(collection).select("sha256", "label").unique("sha256", keep="first", maintain_order=True)
    facts = scan_facts(collection)
    named = facts.filter("credited").select("sha256", "url", "credited").unique().collect(engine="streaming")
    rows = offered.join(stored, on="url", how="inner").join(named, on=("sha256", "url"), how="left")
    # Not from the ledger: the address may hold another file by now, and the ledger may be another one.
    gone = facts.join(rows.lazy().select("sha256"), on="sha256", how="anti").drop("credited").unique()
    ghosts = gone.collect(engine="streaming").sort("sha256", "url", *_FROM_LEDGER, nulls_last=True)
    ghosts = ghosts.unique("sha256", keep="first", maintain_order=True).join(history, on="sha256", how="inner")
    both = pl.concat(
        [rows.with_columns(gone=pl.lit(value=False)), ghosts.with_columns(gone=pl.lit(value=True))], how="diagonal"
    )
    published = pl.col("sha256").is_in(history["sha256"].implode()).alias("published")
    return both.with_columns(published, pl.col("credited").fill_null(value=False)).sort("sha256", "label", "url")


def judge(
    rows: pl.DataFrame, config: CurateConfig, *, labels: Sequence[str], decisions: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Return the verdict on each of `rows`, in the schema VERDICTS, sorted by class, SHA-256 and address.

    In this order: a person's decisions; the rules; clusters of near-duplicates around the images that a person keeps,
    then the published, then the best ones; label conflicts; identical files and near-duplicates; the cap of a class.
    What is set aside early neither conflicts nor stands for others, but still ties what must not be divided by a
    split: `component` is the closure of all near-duplicates and observations, whatever became of the rows.

    Args:
        rows: see `stored_rows`; with `colour` where the rule `gray` is to look at it.
        config: the recipe's `curate:` block.
        labels: classes of the recipe, in its order.
        decisions: see `decisions_of`.
    """
    said = pl.DataFrame(schema=DECISIONS) if decisions is None else decisions
    judged = obey(rows, said, labels)
    judged = _ruled(judged, config.rules)
    judged = add_walk(judged, config.near_duplicates)
    judged = settle(judged, config, labels)
    judged = _single(judged, config.near_duplicates)
    judged = _capped(judged, config.rules)
    judged = judged.with_columns(tied(judged, ["near", "group_id"]).alias("component"))
    judged = judged.join(_tied_before(judged, config.near_duplicates), on="sha256", how="left")
    return conform(_finished(judged), VERDICTS).sort("label", "sha256", "url", "offered_label")


def _ruled(rows: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    ruled = apply_rules(rows.with_columns(pl.lit(None, pl.String).alias("detail")), rules)
    return ruled.with_columns(pl.when(~pl.col("protected")).then(name).alias(name) for name in ("verdict", "detail"))


def _single(rows: pl.DataFrame, near: NearDuplicates) -> pl.DataFrame:
    """Leave one row of each image, and of each cluster one image, or all that have the class of the one kept."""
    kept_as = pl.col("label").filter(pl.col("sha256") == pl.col("stands")).first().over("stands")
    rows = rows.with_columns(pl.when("decided").then(kept_as).alias("kept_as"))
    foreign = pl.col("kept_as").ne_missing(pl.col("label")) & pl.col("kept_as").is_not_null()
    rows = rows.with_columns(foreign.alias("foreign")).sort("sha256", "foreign", *_credit(), "url", "offered_label")
    again = pl.int_range(pl.len()).over("sha256", OPEN) > 0
    alike = (pl.col("sha256") != pl.col("stands")) & (pl.lit(near.keep == "best") | pl.col("foreign"))
    verdict = pl.when(OPEN & again).then(pl.lit(DUPLICATE_BYTES)).when(OPEN & alike).then(pl.lit(NEAR_DUPLICATE))
    decided = pl.when(OPEN & alike & pl.col("foreign")).then(
        pl.format("a person keeps its near-duplicate as {}", "kept_as")
    )
    return rows.with_columns(
        keeper=pl.when(OPEN & (again | alike)).then(pl.when(alike).then("stands").otherwise("sha256")),
        detail=pl.coalesce("detail", decided),
        verdict=pl.coalesce("verdict", verdict),
    )


def _credit() -> tuple[pl.Expr, ...]:
    """Return by what it is chosen whom a file of several addresses is credited to, the first to be first.

    The address that a version names, so that no repost takes over; then, as among the roads to one photo, the one with
    the narrowest stated licence, and one that names a creator.
    """
    return ~pl.col("credited"), -narrowness().cast(pl.Int64).fill_null(-1), pl.col("creator").is_null()


def _tied_before(rows: pl.DataFrame, near: NearDuplicates) -> pl.DataFrame:
    """Return sha256 and `published_component` of the published images that are near-duplicates without any new image.

    Where a new image ties old ones of several sides, it is left out; these stay together, whatever else is left out.
    """
    images = images_of(rows).join(rows.select("sha256", "near").unique(), on="sha256")
    old = images.filter("published").filter(pl.len().over("near") > 1)
    # Most often all of them are old, and tied as they are: only the others are compared once more.
    mixed = old.join(images.filter(~pl.col("published")), on="near", how="semi").drop("near")
    again = add_clusters(mixed.with_columns(eligible=pl.lit(value=True)), near).select("sha256", again="near")
    parts = old.join(again, on="sha256", how="left").filter(pl.len().over("near", "again") > 1)
    return parts.select("sha256", pl.col("sha256").min().over("near", "again").alias("published_component"))


def _capped(rows: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    left, others = rows.filter(OPEN), rows.filter(~OPEN)
    beyond = over_cap(left, rules)
    slug = pl.when(beyond.is_not_null()).then(pl.lit(OVER_CAP)).otherwise(pl.lit(KEPT))
    return pl.concat([others, left.with_columns(slug.alias("verdict"), pl.coalesce(beyond, "detail").alias("detail"))])


def _finished(rows: pl.DataFrame) -> pl.DataFrame:
    """Name a keeper only where it is kept in the end, and a person where nothing more can be said."""
    kept = rows.filter(verdict=KEPT)["sha256"].implode()
    return rows.with_columns(
        keeper=pl.when(pl.col("keeper").is_in(kept)).then("keeper"), detail=pl.coalesce("detail", "note")
    )


def _counted(table: pl.DataFrame, labels: Sequence[str]) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    verdicts: dict[str, int] = {}
    classes: dict[str, dict[str, int]] = {label: {} for label in sorted(labels)}
    counts = table.group_by("label", "verdict").len().sort("label", "verdict")
    for label, verdict, rows in counts.iter_rows():
        if label in classes:  # an image that has gone may be of a class that has left the recipe
            classes[label][verdict] = rows
        verdicts[verdict] = verdicts.get(verdict, 0) + rows
    return dict(sorted(verdicts.items())), classes
