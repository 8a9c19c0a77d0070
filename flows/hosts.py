"""The sites behind a recipe's addresses: what each gave and refused, how fast it answers.

Works on tables in memory; reads and writes nothing.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from tasks.core.hosts import sites
from tasks.core.local import SCHEME
from tasks.core.tables import KEPT

THIS_MACHINE = "this machine"
NO_HOST = "no host"
ENOUGH = 3  # answers, or addresses, below which a host is not ranked: one slow answer says nothing of a site
RANKED = 5
NOT_ITS_OWN = ("licence-refused", "invalid-address")  # refusals that no site had a part in


def most_frequent(frame: pl.DataFrame, key: str, value: str) -> pl.DataFrame:
    """Return, for each `key`, its most frequent `value` (of equals the first by name) and how often, as `times`."""
    return (
        frame.drop_nulls(value)
        .group_by(key, value)
        .agg(pl.len().alias("times"))
        .sort(key, "times", value, descending=[False, True, False])
        .unique(key, keep="first", maintain_order=True)
    )


def by_host(addresses: pl.DataFrame) -> pl.DataFrame:
    """Count what became of the addresses of each host.

    Args:
        addresses: one row an address: `url`, `outcome` (null: not asked yet), `bytes`, `received`, `seconds`; the
            last two are null in rows of older versions.

    Returns:
        A row a host, those with most addresses first: `host`, `addresses`, `kept`, `refused`, `refusal` (the most
        frequent outcome but `kept`), `seconds` (median of the last request of each address), `answers` (addresses
        with `seconds`), `received` (bytes over the network; of older rows the image's bytes); and `judged`, `blamed`,
        `blame`: addresses, refused ones and their most frequent outcome, without those not asked yet and those
        refused for what the site has no part in.
    """
    refused = pl.col("outcome").is_not_null() & (pl.col("outcome") != KEPT)
    at_site = pl.col("outcome").is_not_null() & ~pl.col("outcome").is_in(NOT_ITS_OWN)
    received = pl.coalesce("received", "bytes").fill_null(0)
    local = pl.when(pl.col("url").str.starts_with(SCHEME)).then(pl.lit(THIS_MACHINE)).otherwise(pl.lit(NO_HOST))
    rows = addresses.with_columns(sites(addresses["url"]).alias("host")).with_columns(pl.coalesce("host", local))
    counts = rows.group_by("host").agg(
        pl.len().alias("addresses"),
        (pl.col("outcome") == KEPT).sum().alias("kept"),
        refused.sum().alias("refused"),
        pl.col("seconds").median().cast(pl.Float64).round(3),
        pl.col("seconds").count().alias("answers"),
        received.sum().alias("received"),
        (at_site & refused).sum().alias("blamed"),
        at_site.sum().alias("judged"),
    )
    refusal = most_frequent(rows.filter(refused), "host", "outcome").select("host", refusal="outcome")
    blame = most_frequent(rows.filter(at_site & refused), "host", "outcome").select("host", blame="outcome")
    here = pl.col("host") == THIS_MACHINE
    return (
        counts.join(refusal, on="host", how="left")
        .join(blame, on="host", how="left")
        .with_columns(pl.when(here).then(0).otherwise(pl.col("received")).alias("received"))
        .sort("addresses", "host", descending=[True, False])
    )


def slowest(hosts: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the hosts of `by_host` whose median request took longest."""
    ranked = hosts.filter(pl.col("answers") >= ENOUGH).sort("seconds", "host", descending=[True, False])
    return ranked.head(RANKED).select("host", "seconds", "answers").to_dicts()


def most_refusing(hosts: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the hosts of `by_host` that refused the largest share of what they were judged by."""
    sites = hosts.filter(
        pl.col("judged") >= ENOUGH, pl.col("blamed") > 0, ~pl.col("host").is_in([THIS_MACHINE, NO_HOST])
    )
    share = (pl.col("blamed") / pl.col("judged")).round(4)
    ranked = sites.with_columns(share.alias("share")).sort(
        "share", "blamed", "host", descending=[True, True, False]
    )  # fmt: skip
    named = ranked.head(RANKED).select("host", "share", refused="blamed", addresses="judged", refusal="blame")
    return named.to_dicts()
