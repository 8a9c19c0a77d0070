"""Time `harvestman audit` and its peers at the same folders, and count what each finds of what was planted.

Run by `make bench-curate`, which builds the peers' environment; or from the repository root: python -m
benchmarks.curate.compare [--rounds 3] [--folder FOLDER] [--only PROGRAM]. Writes below the folder; prints Markdown.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.curate.judged import Answer, Score, score
from benchmarks.curate.planted import EDITS, FAULTS, FLAT, ORIGINAL, Planted, plant
from benchmarks.curate.programs import PEERS, Program, gives_up, programs
from benchmarks.ingest.photos import DATA, FOLDER
from benchmarks.measured import Figures, two_cores

_REAL = ("bees-google", "bees-hornets", "fish", "ants-bees")
_IMAGES = {".jpg", ".jpeg", ".png", ".gif"}

LEGEND = """
Whole commands, imports and all, on two cores; `to start` is the same command on a folder of two photos, and `ms a file`
the CPU time without it. Best setting: that with the highest recall without a false pair of photos on these files, of at
most {tried} that were tried; pairs of plain colours are counted apart, as peers to whom all plain colours are one would
have no such setting. Recall: copies that stand in one set with their original, sets that share a file being one; the
mean over {edits} edits. False pairs: different photos in one group or pair, as it was told.

- harvestman audit: every byte read once, strict decode with damage told, SHA-256, two hashes, classes, splits. Setting:
  radius / verify-radius.
- czkawka: finds images alike; its Python package has no word of broken files. Its groups differ from run to run, as
  copies of one photo are told now as one group, now as two.
- imagededup: hashes and their search; warns of what Pillow cannot load. Most of its start is the import of PyTorch. Its
  CNN is another class of cost (a network for each image) and needs weights from the network: not compared.
- cleanvision: {crash},
  so it is given the names of the readable files. Near duplicates are equal hashes.
"""


@dataclass
class Told:
    """What one program did with the planted folder."""

    program: Program
    start: Figures
    scores: dict[str, Score]
    """Setting → how its answer stands to the truth."""
    figures: dict[str, list[Figures]] = field(default_factory=dict)
    """Setting → what its runs took."""

    @property
    def best(self) -> str:
        """The setting with the highest recall among those without a false pair of photos; else the default."""
        clean = [setting for setting, told in self.scores.items() if not told.false_pairs]
        return max(clean, key=lambda setting: self.scores[setting].mean_recall, default=self.program.default)

    @property
    def shown(self) -> list[str]:
        """The settings that are timed: as it comes, and the best."""
        return list(dict.fromkeys((self.program.default, self.best)))


def tried(program: Program, planted: Planted, *, few: Path, work: Path) -> Told:
    """Try all settings of a program once."""
    start, _ = program.run(few, work, [program.default])
    _, answers = program.run(planted.folder, work, program.settings)
    return Told(program, start, {setting: score(planted, answer) for setting, answer in answers.items()})


def two_photos(folder: Path, planted: Planted) -> Path:
    """Return a folder of two photos."""
    few = folder / "two-photos"
    shutil.rmtree(few, ignore_errors=True)
    few.mkdir(parents=True)
    for path in sorted(planted.of([ORIGINAL]))[:2]:
        shutil.copy(planted.folder / path, few)
    return few


def names(planted: Planted) -> Callable[[Path], list[str]]:
    """Return what names the readable files of a folder."""

    def of(folder: Path) -> list[str]:
        if folder == planted.folder:
            return [str(folder / path) for path in planted.whole]
        return sorted(str(path) for path in folder.rglob("*") if path.suffix.lower() in _IMAGES)

    return of


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *map(list, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def summary(told: Iterable[Told], files: int) -> str:
    """Return what each program took and found at its settings."""
    head = ("program", "setting", "wall s (range)", "CPU s", "to start: wall, CPU s", "ms a file", "peak MB")
    found = ("recall", "false pairs", "pairs of plain colours", "faults found", "false alarms")
    return table((*head, *found), (_summed(one, setting, files) for one in told for setting in one.shown))


def _summed(told: Told, setting: str, files: int) -> Iterator[str]:
    runs, judged = told.figures[setting], told.scores[setting]
    walls, cpu = sorted(run.wall for run in runs), statistics.median(run.cpu for run in runs)
    yield told.program.name
    yield setting + (" (best)" if setting == told.best else "")
    yield f"{statistics.median(walls):.2f} ({walls[0]:.2f}-{walls[-1]:.2f})"
    yield f"{cpu:.2f}"
    yield f"{told.start.wall:.2f}, {told.start.cpu:.2f}"
    yield f"{1e3 * (cpu - told.start.cpu) / files:.2f}"
    yield f"{statistics.median(run.peak for run in runs) / 1e6:.0f}"
    yield f"{judged.mean_recall:.3f}"
    yield str(len(judged.false_pairs))
    yield str(judged.flat_pairs)
    yield f"{statistics.mean(judged.faults.values()):.0%}"
    yield str(len(judged.alarms))


def by_kind(told: Iterable[Told], kinds: Iterable[str], share: Callable[[Score], Mapping[str, float]]) -> str:
    """Return the share found of each edit or fault, a column for each program and setting."""
    shown = [(one, setting) for one in told for setting in one.shown]
    head = ["", *(f"{one.program.name} {setting}" for one, setting in shown)]
    rows = ([kind, *(f"{share(one.scores[setting])[kind]:.2f}" for one, setting in shown)] for kind in kinds)
    return table(head, rows)


def real_sets(told: Iterable[Told], work: Path) -> Iterator[str]:
    """Yield a table of the groups that each program finds in real sets, as it comes and at its best setting."""
    head = ("set", "program", "setting", "groups", "files in groups", "faults", "wall s", "CPU s", "peak MB")
    rows = []
    ways = [(one.program, setting) for one in told for setting in one.shown]
    for name in _REAL:
        if (DATA / "photos" / name).is_dir():
            for program, setting in ways:
                figures, answers = program.run(DATA / "photos" / name, work, [setting])
                rows.append([name, program.name, setting, *_counted(answers[setting]), *_took(figures)])
    if rows:
        yield table(head, rows)


def _counted(answer: Answer) -> Iterator[str]:
    sets = answer.sets()
    yield from (str(len(sets)), str(sum(map(len, sets))), str(len(answer.faults)))


def _took(figures: Figures) -> Iterator[str]:
    peak = f"{figures.peak / 1e6:.0f}" if figures.peak else "-"  # over before it was first looked at
    yield from (f"{figures.wall:.2f}", f"{figures.cpu:.2f}", peak)


def examples(told: Iterable[Told], planted: Planted) -> Iterator[str]:
    """Yield the false pairs and false alarms of our own default, to be looked at."""
    for one in told:
        judged = one.scores[one.program.default]
        if one.program.name.startswith("harvestman"):
            yield from (f"false pair: {planted.folder / a} {planted.folder / b}" for a, b in sorted(judged.false_pairs))
            yield from (f"false alarm: {planted.folder / path}" for path in sorted(judged.alarms))


def main() -> None:
    """Print what each program takes and finds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--only", default="", help="programs whose names begin so")
    given = parser.parse_args()
    if not PEERS.exists():
        sys.exit("The peers are not there yet: make bench-curate builds them.")
    two_cores()
    planted = plant(given.folder)
    few, work = two_photos(given.folder, planted), given.folder / "curate"
    work.mkdir(exist_ok=True)
    size = sum((planted.folder / path).stat().st_size for path in planted.files)  # and they are in memory now
    kinds = [kind for _, kind in planted.files.values()]
    copies, faulty = len(planted.of(EDITS)), len(planted.of(FAULTS))
    print(
        f"{len(kinds):,} files, {size / 1e6:.0f} MB: {kinds.count(ORIGINAL):,} different photos, {copies:,} copies, "
        f"{faulty} faults, {kinds.count(FLAT)} plain colours; {given.rounds} rounds, 2 cores\n",
        flush=True,
    )
    chosen = [program for program in programs(names(planted)) if program.name.startswith(given.only)]
    told = [tried(program, planted, few=few, work=work) for program in chosen]
    for round_ in range(given.rounds):
        for one in told:
            for setting in one.shown if not round_ else [one.program.default]:
                figures, _ = one.program.run(planted.folder, work, [setting])
                one.figures.setdefault(setting, []).append(figures)
    report(told, planted, work)


def report(told: list[Told], planted: Planted, work: Path) -> None:
    """Print all tables."""
    most = max(len(one.program.settings) for one in told)
    crash = gives_up(planted.folder, work)
    said = (
        f"gives up at a folder that holds broken files ({crash.split(':')[0]})" if crash else "reads broken files too"
    )
    print(summary(told, len(planted.files)))
    print("\nRecall by edit:\n", by_kind(told, EDITS, lambda judged: judged.recall), sep="\n")
    print("\nFaults found:\n", by_kind(told, FAULTS, lambda judged: judged.faults), sep="\n", flush=True)
    print(LEGEND.format(tried=most, edits=len(EDITS), crash=said))
    print("\n".join([*examples(told, planted), "Sets of real photos:", "", *real_sets(told, work)]))


if __name__ == "__main__":
    main()
