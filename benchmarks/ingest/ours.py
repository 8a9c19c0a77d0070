"""Harvestman's own run in the ingest benchmarks: plan, then the lanes of the plan, several at once, as the flow does.

Run as a process of its own: python -m benchmarks.ingest.ours WORKSPACE PROCESSES HOST... Reads the candidates of the
workspace's one collection; writes images and ledger. Prefect is left out: a batch costs it the same whatever is in it.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import polars as pl

from tasks.core.network import NetworkPolicy
from tasks.core.tables import CANDIDATES, conform, write_table
from tasks.core.workspace import Workspace
from tasks.ingest.batch import run_batch
from tasks.ingest.config import IngestConfig
from tasks.ingest.door import open_door
from tasks.ingest.plan import plan

NAME = "benchmark"
_AT_ONCE = 8  # lanes under way in all processes together, the flow's own default
_RATE = 1e6  # requests a second to one host: the peers know no limit


def offer(workspace: Path, addresses: Sequence[str]) -> None:
    """Write `addresses` as candidates of the workspace's collection."""
    rows = pl.DataFrame({"url": addresses}).with_columns(label=pl.lit("photo"), source=pl.lit("url_list"))
    write_table(conform(rows, CANDIDATES), Workspace(workspace).collection(NAME) / "candidates" / "all.parquet")


def unhindered(at_once: int = 64) -> IngestConfig:
    """Return our configuration with no manners to wait for, and so many requests at once."""
    return IngestConfig(rate=_RATE, per_host=at_once, connections=at_once)


def fetch(workspace: Path, config: IngestConfig, *, hosts: tuple[str, ...], processes: int) -> int:
    """Plan what the workspace's candidates ask for, fetch it with so many processes; return how many were asked."""
    network = NetworkPolicy(user_agent="harvestman/benchmark", allowed_hosts=hosts)
    planned = plan(Workspace(workspace).collection(NAME), config, now=datetime.now(UTC))
    share = partial(_run_lanes, workspace=workspace, config=config, network=network, at_once=-(-_AT_ONCE // processes))
    if processes == 1:
        share(planned.lanes)
        return planned.pending
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for _ in pool.map(share, [planned.lanes[k::processes] for k in range(processes)]):
            pass
    return planned.pending


def _run_lanes(
    lanes: list[list[Path]], *, workspace: Path, config: IngestConfig, network: NetworkPolicy, at_once: int
) -> None:
    def run_lane(lane: list[Path]) -> None:
        for batch in lane:
            run_batch(batch, workspace=Workspace(workspace), config=config, network=network)

    # A door stays open from batch to batch, as in a flow run.
    with open_door(network, config), ThreadPoolExecutor(at_once) as pool:
        for _ in pool.map(run_lane, lanes):
            pass


def main() -> None:
    """Fetch what a workspace's candidates ask for."""
    workspace, processes, *hosts = sys.argv[1:]
    fetch(Path(workspace), unhindered(), hosts=tuple(hosts), processes=int(processes))


if __name__ == "__main__":
    main()
