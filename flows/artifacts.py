"""What a flow run leaves on its Prefect page: tables, pictures, links."""

from __future__ import annotations

from typing import Any

import polars as pl
from prefect.artifacts import create_image_artifact, create_link_artifact, create_table_artifact

from flows.addresses import read_addresses
from flows.context import Context
from flows.hosts import by_host
from tasks.core.tables import read_candidates, read_ledger

HOSTS = 50  # rows of the table of hosts: Prefect shows a table whole


def outcomes_artifact(context: Context) -> dict[str, int]:
    """Leave the table of outcomes by class; return addresses by outcome."""
    known = read_candidates(context.collection).select("url").unique()
    ledger = read_ledger(context.collection, "url", "label", "outcome").join(known, on="url", how="semi")
    counts = ledger.group_by("outcome").len().sort("len", "outcome", descending=[True, False])
    table = (
        ledger.group_by("outcome", "label").len().sort("label").pivot("label", index="outcome", values="len")
        if ledger.height
        else counts
    )
    rows = counts.join(table, on="outcome", how="left", maintain_order="left").rename({"len": "addresses"})
    create_table_artifact(
        rows.fill_null(0).to_dicts(),
        key=context.key("outcomes"),
        description="What became of each address, by class. Everything but `kept` is a refusal with its reason.",
    )
    return dict(counts.iter_rows())


def hosts_artifact(context: Context) -> None:
    """Leave what the hosts with most addresses gave and refused, how fast they answer and how much came of them."""
    hosts = by_host(read_addresses(context.collection).unique("url", keep="first", maintain_order=True))
    megabytes = (hosts["received"] / 1e6).round(1).alias("MB received")
    rows = hosts.with_columns(megabytes).select(
        "host", "addresses", "kept", "refused", "refusal", pl.col("seconds").alias("median seconds"), "MB received"
    )
    more = f" {HOSTS} of {hosts.height}; `harvestman status --json` has them all." if hosts.height > HOSTS else ""
    create_table_artifact(
        rows.head(HOSTS).to_dicts(),
        key=context.key("hosts"),
        description=f"What each host gave and refused, those with most addresses first.{more}",
    )


def sources_artifact(context: Context, rows: list[dict[str, Any]]) -> None:
    """Leave what each source offered, left out, or said instead of an answer."""
    create_table_artifact(
        rows,
        key=context.key("sources"),
        description="What each source offered: candidates, what was left out by reason, and what went wrong.",
    )


def balance_artifact(context: Context, dataset: dict[str, Any]) -> None:
    """Leave the class balance of a data set version."""
    counts: dict[str, dict[str, int]] = dataset["counts"]
    labels = sorted({label for split in counts.values() for label in split})
    rows = [
        {"class": label, **{split: of.get(label, 0) for split, of in counts.items()},
         "images": sum(of.get(label, 0) for of in counts.values())}
        for label in labels
    ]  # fmt: skip
    create_table_artifact(
        rows, key=context.key("balance"), description=f"Images of data set version {dataset['version']}."
    )


def verdicts_artifact(context: Context, verdicts: dict[str, int]) -> None:
    """Leave the counts of kept images, duplicates and conflicts."""
    create_table_artifact(
        [{"verdict": name, "images": count} for name, count in verdicts.items()],
        key=context.key("verdicts"),
        description="What curation made of the images at the door.",
    )


def review_artifact(context: Context, review: dict[str, Any]) -> None:
    """Leave the images that wait for a person's decision; none where there is no such image."""
    if review["open"]:
        more = f" {len(review['rows'])} of {review['open']} are shown." if len(review["rows"]) < review["open"] else ""
        create_table_artifact(
            review["rows"],
            key=context.key("review"),
            description=f"Label conflicts and suspects without a decision; the list: `{review['path']}`.{more} "
            f"`harvestman decide {context.path} {review['path']}` records what is filled in there.",
        )


def metrics_artifact(context: Context, figures: dict[str, float]) -> None:
    """Leave the winner's figures, a row a split."""
    splits = [name for name in ("train", "val", "test") if f"{name}/accuracy" in figures]
    rows = [
        {"split": split, **{key.split("/")[1]: round(value, 4) for key, value in figures.items()
                            if key.startswith(f"{split}/")}}
        for split in splits
    ]  # fmt: skip
    create_table_artifact(rows, key=context.key("metrics"), description="The winner, judged by its predictions.")


def run_artifacts(context: Context, kind: str, url: str, *, picture: str = "", title: str = "") -> None:
    """Leave a link to the MLflow run and, where MLflow is a server, a picture out of it.

    Args:
        context: the flow run's surroundings.
        kind: what the run is, e.g. "dataset".
        url: the run's page; empty where MLflow is a file.
        picture: path of an image among the run's artifacts.
        title: what the image shows.
    """
    if not url:
        return
    create_link_artifact(url, link_text=f"MLflow run: {kind}", key=context.key(f"mlflow-{kind}"))
    if picture:
        run_id = url.rstrip("/").rsplit("/", 1)[-1]
        address = f"{context.tracker.uri}/get-artifact?path={picture}&run_uuid={run_id}"
        create_image_artifact(address, key=context.key(title), description=f"{title.capitalize()}.")
