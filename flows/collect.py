"""The flow `collect`: ask every source for addresses, then fetch what is new."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from prefect import flow
from prefect.concurrency.sync import concurrency
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from flows.artifacts import class_counts, outcomes_artifact
from flows.context import Context, open_context, run_name
from flows.progress import Follower, following, say
from tasks.core.errors import DataError, HarvestmanError, WorkspaceError
from tasks.core.files import check_writable, locked
from tasks.core.tables import KEPT, candidates_shard, keep_sources, read_candidates
from tasks.discover.task import discover_source
from tasks.ingest.plan import plan
from tasks.ingest.task import ingest_batch

LOOK = 0.5  # seconds between two looks at the journals
LEASE = 60.0  # seconds a killed run keeps its turn: the shortest that Prefect allows
PATIENCE = 5.0  # seconds to wait before saying so


# One batch at a time: the limits a host is given hold within a batch.
@flow(name="collect", task_runner=ThreadPoolTaskRunner[Any](max_workers=1), flow_run_name=run_name)  # type: ignore[arg-type]  # Prefect declares an invariant future type
def collect(recipe: str, retry: tuple[str, ...] = ()) -> dict[str, Any]:
    """Discover and ingest.

    Args:
        recipe: path of the recipe.
        retry: outcomes to ask again, whatever their age.

    Returns:
        `candidates` by class, `outcomes` of all addresses, `fetched`: addresses asked in this run.
    """
    context = open_context(recipe)
    check_writable(context.collection)
    busy = f"the collection of {context.recipe.name}"
    with _turn(), locked(context.collection / ".collect.lock", busy):
        discover(context)
        offered = read_candidates(context.collection).filter(pl.col("label").is_in(context.recipe.labels))
        candidates = class_counts(offered)
        barren = [name for name in context.recipe.classes if not candidates.get(name)]
        if barren:
            raise DataError(
                f"No source offers an address for {', '.join(barren)}.",
                received="; ".join(f"{name}: {candidates.get(name, 0)} addresses" for name in context.recipe.classes),
                hint="Check the sources of these classes in the recipe: taxon, licences, quality grade, lists.",
            )
        say(f"discover  {sum(candidates.values())} addresses of {len(candidates)} classes")
        fetched = ingest(context, retry)
    outcomes = outcomes_artifact(context)
    return {"candidates": candidates, "outcomes": outcomes, "fetched": fetched}


@contextmanager
def _turn() -> Iterator[None]:
    """Hold the global limit `collect` of the Prefect server, where there is one: sites count requests by address.

    The slot of a run that was killed comes free when its lease ends.
    """
    with ExitStack() as held:
        try:
            held.enter_context(concurrency("collect", lease_duration=LEASE, timeout_seconds=PATIENCE))
        except TimeoutError:
            say(f"collect   waits for another collection to end (one that was killed counts for up to {LEASE:g} s)")
            try:
                held.enter_context(concurrency("collect", lease_duration=LEASE, timeout_seconds=2 * LEASE))
            except TimeoutError:
                # A server that was killed forgets leases and keeps slots: nobody would ever give this one back.
                say("collect   nobody gives the turn back; goes on without it")
        yield


def discover(context: Context) -> None:
    """Ask every source of every class; one that fails does not keep the others from being asked.

    Its earlier answer, where there is one, stands meanwhile.
    """
    sources = [(label, source) for label, of in context.recipe.classes.items() for source in of]
    keep_sources(context.collection, [candidates_shard(context.collection, *pair) for pair in sources])
    asked = [
        (label, source, discover_source.submit(
            collection=str(context.collection), label=label, source=source, network=context.settings.network))
        for label, source in sources
    ]  # fmt: skip
    errors: list[BaseException] = []
    for label, source, future in asked:
        future.wait()
        found = future.state.result(raise_on_failure=False)
        if isinstance(found, WorkspaceError):
            raise found
        if isinstance(found, BaseException):
            say(f"discover  {label} from {source.source}: {found}")
            errors.append(found)
    if errors:
        raise next((error for error in errors if isinstance(error, HarvestmanError)), errors[0])


def ingest(context: Context, retry: tuple[str, ...]) -> int:
    """Fetch what is new, batch by batch; return how many addresses were asked."""
    work = plan(
        context.collection, context.recipe.ingest, now=datetime.now(UTC), retry=retry, labels=context.recipe.labels
    )
    if not work.batches:
        say(f"ingest    nothing new: all {work.known} addresses are in the ledger")
        return 0
    say(f"ingest    {work.pending} addresses to ask, {work.known} known, {len(work.batches)} batches")
    totals: Counter[str] = Counter()
    with following("ingest", work.pending, context.key("ingest")) as follower:
        futures = [
            ingest_batch.submit(
                batch=str(batch),
                workspace=str(context.workspace.root),
                config=context.recipe.ingest,
                network=context.settings.network,
            )
            for batch in work.batches
        ]
        for future in futures:
            _follow(future, context.collection, totals=totals, follower=follower)
            totals.update(future.result())
            follower.at(totals.total(), f"{totals[KEPT]} kept")
    refused = ", ".join(f"{count} {slug}" for slug, count in totals.most_common() if slug != KEPT)
    say(f"ingest    {totals[KEPT]} kept; {refused or 'none refused'}")
    return totals.total()


def _follow(future: PrefectFuture[Any], collection: Path, *, totals: Counter[str], follower: Follower) -> None:
    """Show progress within a batch, whichever process runs it: its journal has a line for each finished address."""
    while True:
        try:
            future.result(timeout=LOOK, raise_on_failure=False)
        except TimeoutError:
            pass
        else:
            return
        lines = sum(path.read_bytes().count(b"\n") for path in (collection / "ledger").glob("*.journal.jsonl"))
        follower.at(totals.total() + lines)
