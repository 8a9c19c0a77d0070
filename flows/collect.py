"""The flow `collect`: ask every source for addresses, then fetch what is new."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from flows.artifacts import hosts_artifact, outcomes_artifact, sources_artifact
from flows.context import Context, open_context, run_name
from flows.keys import find_keys
from flows.lanes import Lanes
from flows.progress import following, say
from flows.recipe import MIN_CLASSES
from flows.runners import ingest_runner
from flows.summary import MISSING, read_missing
from flows.tally import Tally
from tasks.core.errors import BusyError, DataError, HarvestmanError, TryAgainError, WorkspaceError
from tasks.core.files import check_writable, locked, write_json
from tasks.core.names import name_fault
from tasks.core.tables import KEPT, keep_sources
from tasks.core.waiting import stoppable
from tasks.discover.found import Ask, told_once
from tasks.discover.gather import shard_path
from tasks.discover.labels import Classes
from tasks.discover.queues import MOST, queues
from tasks.discover.task import discover_source
from tasks.ingest.door import open_door
from tasks.ingest.plan import Plan, plan
from tasks.ingest.task import ingest_batch

LOOK = 0.5  # seconds without an ended batch after which the journals are looked at
SHOWN = 10  # classes named in one line


@flow(name="collect", task_runner=ThreadPoolTaskRunner[Any](max_workers=MOST), flow_run_name=run_name)  # type: ignore[arg-type]  # Prefect declares an invariant future type
def collect(recipe: str, retry: tuple[str, ...] = ()) -> dict[str, Any]:
    """Discover and ingest.

    Args:
        recipe: path of the recipe.
        retry: outcomes to ask again, whatever their age.

    Returns:
        `candidates` by class, `outcomes` of all addresses, `fetched`: addresses asked in this run, `missing`: what
        went wrong with sources that could be done without.
    """
    context = open_context(recipe)
    check_writable(context.collection)
    busy = f"the collection of {context.recipe.name}"
    with locked(context.collection / ".collect.lock", busy):
        missing = discover(context)
        classes = sufficient(context, missing)
        fetched = ingest(context, retry)
    outcomes = outcomes_artifact(context)
    hosts_artifact(context)
    return {"candidates": classes.counts, "outcomes": outcomes, "fetched": fetched, "missing": missing}


def discover(context: Context) -> list[str]:
    """Ask every source; one that fails does not keep the others from being asked. Return what went wrong.

    Its earlier answer, where there is one, stands meanwhile. `status` tells what went wrong until the next time.

    Raises:
        WorkspaceError: the answers cannot be written.
    """
    asks = context.asks(find_keys(context.settings, [source for _, source in context.recipe.asked]))
    rows: list[dict[str, Any]] = []
    errors: list[tuple[str, HarvestmanError]] = []
    for ask, found in zip(asks, _answers(asks, context.collection), strict=True):
        row: dict[str, Any] = {"class": ask.label or "all classes", "source": ask.source.source}
        if isinstance(found, HarvestmanError):
            errors.append((ask.name, found))
            rows.append(row | {"candidates": None, "notes": "", "error": str(found)})
        else:
            notes = ", ".join(f"{number} {note}" for note, number in found.items() if note != "candidates")
            rows.append(row | {"candidates": found.get("candidates", 0), "notes": notes, "error": ""})
    if not errors:  # the answers of sources that were edited stand until all new ones have come
        keep_sources(context.collection, [shard_path(context.collection, ask) for ask in asks])
    sources_artifact(context, rows)
    missing = [str(error) for error in told_once(errors)]
    if missing != read_missing(context.collection):
        write_json(context.collection / MISSING, missing)
    for text in missing:
        say(f"discover  {text}")
    return missing


def _answers(asks: Sequence[Ask[Any]], collection: Path) -> list[dict[str, int] | HarvestmanError]:
    """Ask the sources of each queue one after another, all queues at once; return counts or errors in their order."""
    found: dict[int, dict[str, int] | HarvestmanError] = {}
    ended: SimpleQueue[tuple[deque[int], int, PrefectFuture[Any]]] = SimpleQueue()

    def ask_next(queue: deque[int], *, silent: bool = False) -> None:
        place = queue.popleft()
        ask = replace(asks[place], attempts=1) if silent else asks[place]
        future = discover_source.submit(collection=str(collection), ask=ask)
        future.add_done_callback(lambda future: ended.put((queue, place, future)))

    with stoppable():
        for queue in queues(asks):
            ask_next(deque(queue))
        while len(found) < len(asks):
            waiting, place, future = ended.get()
            found[place] = _answer(future)
            if waiting:  # an API that did not answer for the last class is asked once for the next, not four times
                ask_next(waiting, silent=isinstance(found[place], TryAgainError))
    return [found[place] for place in range(len(asks))]


def _answer(future: PrefectFuture[Any]) -> dict[str, int] | HarvestmanError:
    future.wait()
    found = future.state.result(raise_on_failure=False)
    if isinstance(found, BaseException) and (
        isinstance(found, WorkspaceError) or not isinstance(found, HarvestmanError)
    ):
        raise found
    return found  # type: ignore[no-any-return]  # what the task returns, or one of our errors


def sufficient(context: Context, missing: list[str]) -> Classes:
    """Say what the sources offer; raise DataError where that is too little for a classifier."""
    classes = context.classes
    fault = name_fault(list(classes.counts))
    if classes.small or len(classes.counts) < MIN_CLASSES or fault:
        few = ", ".join(f"{name} ({count})" for name, count in classes.small.items())
        offered = "; ".join(f"{name}: {count} addresses" for name, count in (classes.counts | classes.small).items())
        raise DataError(
            fault
            or (
                f"Fewer than {context.recipe.labels.min_images} addresses are offered for {few}."
                if few
                else f"The sources tell {len(classes.counts)} classes that are large enough; a classifier needs "
                f"{MIN_CLASSES}."
            ),
            received="\n".join(filter(None, [offered, *missing])),
            hint="Rename or merge it with `labels.merge`."
            if fault
            else "Check the sources of these classes in the recipe (taxon, licences, lists) and `labels.min_images`.",
        )
    say(f"discover  {sum(classes.counts.values())} addresses of {len(classes.counts)} classes")
    if classes.left_out:
        named = ", ".join(f"{name} {count}" for name, count in list(classes.left_out.items())[:SHOWN])
        more = f" and {len(classes.left_out) - SHOWN} more" if len(classes.left_out) > SHOWN else ""
        say(
            f"discover  {len(classes.left_out)} classes left out, with fewer than "
            f"{context.recipe.labels.min_images} addresses: {named}{more}"
        )
    if missing:
        say("discover  goes on without the sources named above; their earlier answers, if any, still count")
    return classes


def ingest(context: Context, retry: tuple[str, ...]) -> int:
    """Fetch what is new, batch by batch; return how many addresses were asked.

    Collections of one workspace fetch by turns: sites count requests by address, and the limits a host is given
    hold within a process. The kernel gives a turn back however its process ends.
    """
    network = context.settings.network
    work = plan(
        context.collection,
        context.recipe.ingest,
        now=datetime.now(UTC),
        retry=retry,
        labels=context.labels,
        network=network,
    )
    if not work.lanes:
        say(f"ingest    nothing new: all {work.known} addresses are in the ledger")
        return 0
    say(f"ingest    {work.pending} addresses to ask, {work.known} known, {len(work.batches)} batches")
    with _turn(context.workspace.root / ".ingest.lock"):
        return fetch(context, work)


@contextmanager
def _turn(lock: Path) -> Iterator[None]:
    with ExitStack() as held:
        try:
            held.enter_context(locked(lock, "this workspace's fetching"))
        except BusyError as error:
            say(f"ingest    waits for another collection of this workspace. {error.received}")
            held.enter_context(locked(lock, "this workspace's fetching", wait=True))
        yield


def fetch(context: Context, work: Plan) -> int:
    """Run all batches of a plan; return how many addresses were asked."""
    settings, config = context.settings, context.recipe.ingest
    together = settings.task_runner == "threads"
    lanes = Lanes(work.lanes, abreast=max(1, settings.tasks_at_once // 2) if together else 1)
    tally = Tally(context.collection / "ledger")
    ended: SimpleQueue[tuple[Path, PrefectFuture[Any]]] = SimpleQueue()

    with ExitStack() as held:
        if together:  # what is learnt of a host is kept between its batches
            held.enter_context(open_door(settings.network, config))
        runner = held.enter_context(ingest_runner(settings))
        held.enter_context(stoppable())
        follower = held.enter_context(following("ingest", work.pending, context.key("ingest")))

        def begin(batch: Path) -> None:
            parameters = {
                "batch": str(batch),
                "workspace": str(context.workspace.root),
                "config": config,
                "network": settings.network,
            }
            future = runner.submit(ingest_batch, parameters=parameters)
            future.add_done_callback(lambda future: ended.put((batch, future)))

        while True:
            while lanes.under_way < settings.tasks_at_once and (batch := lanes.begin()):
                begin(batch)
            if not lanes.under_way:
                break
            try:
                done, future = ended.get(timeout=LOOK)
            except Empty:
                tally.look()
            else:
                tally.finished(done.stem, future.result())
                lanes.ended(done)
            follower.at(tally.asked, tally.note(follower.seconds))
    outcomes = tally.outcomes
    refused = ", ".join(f"{count} {slug}" for slug, count in outcomes.most_common() if slug != KEPT)
    say(f"ingest    {outcomes[KEPT]} kept; {refused or 'none refused'}")
    return tally.asked
