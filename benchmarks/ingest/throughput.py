"""Time our door and its peers at the same work, interleaved: the same photos, server, two cores and run.

Run by `make bench-ingest`, which builds the peers' environment; or from the repository root: python -m
benchmarks.ingest.throughput [--photos 10000] [--rounds 3] [--folder FOLDER]. Writes below the folder; prints Markdown.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ingest.ours import offer
from benchmarks.ingest.photo_site import photo_site
from benchmarks.ingest.photos import FOLDER, ROOT, photos
from benchmarks.measured import Figures, measured, two_cores

PEERS = ROOT / ".make" / "peers" / "bin" / "python"
_FEW = 100  # addresses, two a host, of a run that shows what starting takes
# img2dataset's dependency asks the network for its newest version otherwise.
_QUIET = {"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled"}

LEGEND = """
Per image, without what the same program takes for {few} images (imports, processes that start); whole runs beside it.

- harvestman: robots.txt and X-Robots-Tag, plan, download, strict decode with damage told, SHA-256, two perceptual
  hashes, contrast, store by content, a line for each image that kill -9 does not undo, ledger in Parquet.
- img2dataset: X-Robots-Tag, download, decode (OpenCV), SHA-256, store, JSON for each image and Parquet. No robots.txt,
  no perceptual hash, no manners; no resizing, re-encoding or EXIF here.
- icrawler: download, header read by Pillow, store. Nothing is decoded, hashed or recorded.
- plain httpx: download, full Pillow load, SHA-256, store, one line of JSON. No manners, no retries.
"""


@dataclass(frozen=True)
class Way:
    """One way to do the work."""

    name: str
    prepare: Callable[[Path, Sequence[str]], None]
    """Writes the addresses where the command will look; not measured."""
    command: Callable[[Path], list[str]]


def ours(processes: int, hosts: Sequence[str]) -> Way:
    """Return our own door, with no manners to wait for."""

    def command(folder: Path) -> list[str]:
        return [sys.executable, "-m", "benchmarks.ingest.ours", str(folder / "out"), str(processes), *hosts]

    return Way(
        f"harvestman, {processes} process{'es' * (processes > 1)}", lambda folder, a: offer(folder / "out", a), command
    )


def peer(name: str, script: str, *options: int | str) -> Way:
    """Return a peer, which reads a list of addresses from a file."""

    def prepare(folder: Path, addresses: Sequence[str]) -> None:
        (folder / "addresses.txt").write_text("\n".join(addresses), encoding="utf-8")

    def command(folder: Path) -> list[str]:
        path = Path(__file__).with_name("peers") / f"{script}.py"
        return [str(PEERS), "-P", str(path), str(folder / "addresses.txt"), str(folder / "out"), *map(str, options)]

    return Way(name, prepare, command)


def ways(hosts: Sequence[str]) -> list[Way]:
    """Return all that are compared."""
    dataset = [
        peer(f"img2dataset, {processes} x {threads} threads", "with_img2dataset", processes, threads)
        for processes in (1, 2)
        for threads in (32, 64)
    ]
    dataset.append(peer("img2dataset as it comes, EXIF too, 2 x 32 threads", "with_img2dataset", 2, 32, "exif"))
    others = [peer("icrawler, 32 threads", "with_icrawler"), peer("plain httpx, 64 at once", "with_httpx")]
    return [ours(1, hosts), ours(2, hosts), *dataset, *others]


def run(way: Way, folder: Path, addresses: Sequence[str]) -> Figures:
    """Do the work one way in an empty folder; end the program unless every photo is stored."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    way.prepare(folder, addresses)
    figures = measured(way.command(folder), _QUIET)
    stored = sum(path.stat().st_size > 0 for path in (folder / "out").rglob("*.jpg"))
    if stored != len(addresses):
        sys.exit(f"{way.name} stored {stored} of {len(addresses)} photos.")
    shutil.rmtree(folder)
    return figures


def main() -> None:
    """Print one line a way, and how the best of ours stands to the best of img2dataset's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--only", default="", help="ways whose names begin so")
    given = parser.parse_args()
    if not PEERS.exists():
        sys.exit("The peers are not there yet: make bench-ingest builds them.")
    two_cores()
    made = photos(given.folder, given.photos)
    size = statistics.mean(path.stat().st_size for path in made)
    print(f"{len(made):,} photos of {size / 1e3:.0f} kB on the average, {given.rounds} rounds, 2 cores\n", flush=True)
    with photo_site(made[0].parent, given.folder / "site") as hosts:
        addresses = [f"http://{hosts[k % len(hosts)]}/{path.name}" for k, path in enumerate(made)]
        table = [(way, _Rounds(len(made) - _FEW, [], [])) for way in ways(hosts) if way.name.startswith(given.only)]
        for _ in range(given.rounds):
            for way, rounds in table:
                rounds.starts.append(run(way, given.folder / "run", addresses[:_FEW]))
                rounds.wholes.append(run(way, given.folder / "run", addresses))
    print(HEADER)
    for way, rounds in table:
        print(rounds.line(way.name), flush=True)
    print(_compared(table) if not given.only else "", LEGEND.format(few=_FEW), sep="\n")


HEADER = (
    "| way | images/s (range) | images/CPU-s (range) | CPU ms an image | whole run: wall s, CPU s | to start: CPU s "
    "| peak MB |\n| --- | --- | --- | --- | --- | --- | --- |"
)


@dataclass(frozen=True)
class _Rounds:
    """What each round of one way took."""

    images: int
    """In a whole run above those of a start."""
    starts: list[Figures]
    wholes: list[Figures]

    @property
    def net(self) -> list[Figures]:
        """Each round without the start; a start is the median of all: a short run says little."""
        wall, cpu = _median(start.wall for start in self.starts), _median(start.cpu for start in self.starts)
        return [Figures(whole.wall - wall, whole.cpu - cpu, whole.peak) for whole in self.wholes]

    @property
    def per_second(self) -> list[float]:
        return sorted(self.images / figures.wall for figures in self.net)

    @property
    def per_cpu_second(self) -> list[float]:
        return sorted(self.images / figures.cpu for figures in self.net)

    def line(self, name: str) -> str:
        """Return a row of the table."""
        wall, cpu = self.per_second, self.per_cpu_second
        whole = f"{_median(each.wall for each in self.wholes):.1f}, {_median(each.cpu for each in self.wholes):.1f}"
        peak = _median(each.peak for each in self.wholes) / 1e6
        return (
            f"| {name} | {_median(wall):.0f} ({wall[0]:.0f}-{wall[-1]:.0f}) "
            f"| {_median(cpu):.0f} ({cpu[0]:.0f}-{cpu[-1]:.0f}) | {1e3 / _median(cpu):.2f} "
            f"| {whole} | {_median(each.cpu for each in self.starts):.1f} | {peak:.0f} |"
        )


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _compared(table: list[tuple[Way, _Rounds]]) -> str:
    """Say how the best of ours stands to the best of img2dataset's, by each measure and by whole runs."""
    lines = ["", "harvestman / img2dataset, the best of each:"]
    measures: dict[str, Callable[[_Rounds], float]] = {
        "images a CPU-second": lambda rounds: _median(rounds.per_cpu_second),
        "images a second": lambda rounds: _median(rounds.per_second),
        "CPU of whole runs, imports and all": lambda rounds: 1 / _median(each.cpu for each in rounds.wholes),
        "wall of whole runs, imports and all": lambda rounds: 1 / _median(each.wall for each in rounds.wholes),
    }
    for what, measure in measures.items():
        best = {
            name: max(measure(rounds) for way, rounds in table if way.name.startswith(name))
            for name in ("harvestman", "img2dataset")
        }
        lines.append(f"- {what}: {best['harvestman'] / best['img2dataset']:.2f} times")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
