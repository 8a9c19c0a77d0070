"""How long fifty fast hosts take with and without one beside them that answers every request after half a minute.

Run from the repository root: python -m benchmarks.ingest.slow_host [--rounds 3] [--folder FOLDER]. Runs the flow
`collect` as it is, with its default manners; the slow host's own images are not waited for. Prints a table.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import polars as pl
import yaml

from benchmarks.ingest.photo_site import HOSTS, photo_site, slow_host
from benchmarks.ingest.photos import FOLDER, photos
from benchmarks.measured import two_cores
from flows.collect import collect
from tasks.core.tables import KEPT
from tasks.ingest.journal import SUFFIX

_EACH = 60  # images of a host
_SLOW = 30.0  # seconds
_TIMEOUT = 60.0  # seconds the recipe waits for a byte: else the slow host's images would be given up, not fetched
_LIMIT = 600.0  # seconds for the fast ones
_LOOK = 0.05  # seconds between two looks at what has been fetched
_NAME = "slow-host"


class Fetched:
    """The addresses of fast hosts that have no outcome yet, as journals and shards of the ledger tell."""

    def __init__(self, ledger: Path, fast: Sequence[str]) -> None:
        """Nothing has been fetched."""
        self._ledger, self._read = ledger, dict[Path, int]()
        self.left = set(fast)
        self.began: float | None = None
        """When the first batch was begun, on the monotonic clock."""

    def look(self) -> None:
        """Read what has been written since the last look."""
        for journal in self._ledger.glob(f"*{SUFFIX}"):
            self.began = self.began or time.monotonic()
            with suppress(FileNotFoundError), journal.open("rb") as stream:  # else its shard is there
                stream.seek(self._read.get(journal, 0))
                new = stream.read()
                whole = new[: new.rfind(b"\n") + 1]
                self._read[journal] = stream.tell() - len(new) + len(whole)
                self._take((row["url"], row["outcome"]) for row in map(json.loads, whole.splitlines()))
        for shard in set(self._ledger.glob("*.parquet")) - set(self._read):
            self._read[shard] = 0
            self._take(pl.read_parquet(shard, columns=["url", "outcome"]).iter_rows())

    def _take(self, rows: Iterable[tuple[str, str]]) -> None:
        for url, outcome in rows:
            if url in self.left and outcome != KEPT:
                sys.exit(f"{url}: {outcome}")
            self.left.discard(url)


def timed(folder: Path, fast: Sequence[str], slow: Sequence[str]) -> float:
    """Return the seconds from the first batch to the last image of the fast hosts; the rest of the run is killed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    every = [*slow, *fast]
    recipe = write_recipe(folder, every)
    hosts = sorted({url.split("/")[2] for url in every})
    environment = {
        "HARVESTMAN_WORKSPACE": str(folder / "workspace"),
        "HARVESTMAN_ALLOWED_HOSTS": json.dumps(hosts),
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # its own 20 are too few for a busy machine
    }
    fetched = Fetched(folder / "workspace" / "collections" / _NAME / "ledger", fast)
    command = [sys.executable, "-m", "benchmarks.ingest.slow_host", "--collect", str(recipe)]
    with (folder / "output.txt").open("wb") as output:
        run = subprocess.Popen(  # noqa: S603 - our own flow
            command, env=os.environ | environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            until = time.monotonic() + _LIMIT
            while fetched.left and time.monotonic() < until:
                ended = run.poll() is not None
                fetched.look()
                if ended:
                    break
                time.sleep(_LOOK)
            if fetched.left or fetched.began is None:
                sys.exit(f"{len(fetched.left)} addresses are left. What the run said: {folder / 'output.txt'}")
            return time.monotonic() - fetched.began
        finally:  # a run may be killed at any moment; Prefect's temporary server goes with it
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
            run.wait()


def write_recipe(folder: Path, addresses: Sequence[str]) -> Path:
    """Write a recipe that asks for `addresses`, in two classes by turns, and nothing else of note."""
    classes = {}
    for k, label in enumerate(("even", "odd")):
        path = folder / f"{label}.txt"
        path.write_text("\n".join(addresses[k::2]), encoding="utf-8")
        classes[label] = [{"source": "url_list", "path": str(path)}]
    recipe = folder / f"{_NAME}.yaml"
    recipe.write_text(yaml.safe_dump({"name": _NAME, "classes": classes, "ingest": {"timeout": _TIMEOUT}}))
    return recipe


def main() -> None:
    """Print the seconds of each run, and how those with the slow host stand to those without."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--collect", help="run the flow for this recipe here instead")
    given = parser.parse_args()
    if given.collect:
        collect(given.collect)
        return
    two_cores()
    made = photos(given.folder, HOSTS * _EACH)
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    with ExitStack() as held:
        hosts = held.enter_context(photo_site(made[0].parent, given.folder / "site"))
        slow = held.enter_context(slow_host(made[0].read_bytes(), seconds=_SLOW))
        fast = [f"http://{hosts[k % HOSTS]}/{photo.name}" for k, photo in enumerate(made)]
        late = [f"http://{slow}/{number}.jpg" for number in range(_EACH)]
        for _ in range(given.rounds):
            for case, beside in (("without", []), ("with", late)):
                seconds[case].append(timed(given.folder / "slow", fast, beside))
                print(f"{case:<8} the slow host: {seconds[case][-1]:6.2f} s", flush=True)
    without, beside_it = (statistics.median(seconds[case]) for case in ("without", "with"))
    print(f"median {without:.2f} s without, {beside_it:.2f} s with it: {100 * (beside_it / without - 1):+.0f} %")
    shutil.rmtree(given.folder / "slow", ignore_errors=True)


if __name__ == "__main__":
    main()
