"""The programs that are compared at finding copies and faults in a folder, each as a process of its own.

Owns their commands, their settings and how their answers are read. Writes addresses and answers below a folder of work.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.curate.judged import Answer
from benchmarks.ingest.photos import ROOT
from benchmarks.measured import Figures, measured

PEERS = ROOT / ".make" / "peers-curate" / "bin" / "python"
# Else imagededup's and cleanvision's libraries would each start threads for both cores in both processes.
_QUIET = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
Ran = tuple[Figures, dict[str, Answer]]
_NAMED = ("unreadable", "damaged", "wrong_extension")


@dataclass(frozen=True)
class Program:
    """One program, and the settings it is tried with."""

    name: str
    default: str
    """Its setting as it comes."""
    looser: tuple[str, ...]
    """Other settings; the best of all is sought among them."""
    run: Callable[[Path, Path, Sequence[str]], Ran]
    """Takes the folder that is looked at, a folder of work and settings; returns an answer for each."""

    @property
    def settings(self) -> tuple[str, ...]:
        """All settings, the default first."""
        return (self.default, *self.looser)


def programs(names: Callable[[Path], Iterable[str]]) -> list[Program]:
    """Return all that are compared; `names` tells the readable files of a folder, for one that gives up at others."""
    bits = tuple(str(number) for number in range(17))
    verified = ("10/40", "10/60", "10/70", "12/70", "14/70", "16/80")
    hashes = ("phash-7", "phash-6", "phash-5", "dhash-8", "dhash-7", "dhash-6")

    def duplicates(folder: Path, work: Path, settings: Sequence[str]) -> Ran:
        (work / "names.txt").write_text("\n".join(names(folder)), encoding="utf-8")
        return peer("with_cleanvision")(folder, work, [str(work / "names.txt"), *settings])

    return [
        Program("harvestman audit", "12/60", verified, ours),
        Program("czkawka", "default", bits, peer("with_czkawka")),
        Program("imagededup PHash", "10", bits, peer("with_imagededup", "PHash")),
        Program("imagededup DHash", "10", bits, peer("with_imagededup", "DHash")),
        Program("cleanvision, duplicates", "phash-8", hashes, duplicates),
        Program("cleanvision, all checks", "all", (), duplicates),
    ]


def ours(folder: Path, _work: Path, settings: Sequence[str]) -> Ran:
    """Run `harvestman audit`; a setting is radius/verify-radius."""
    answers = {}
    for setting in settings:
        radius, verify = setting.split("/")
        command = [str(Path(sys.executable).with_name("harvestman")), "audit", str(folder), "--json"]
        figures = measured([*command, "--radius", radius, "--verify-radius", verify])
        told = json.loads(figures.output[figures.output.index("{") :])
        groups = [row["files"] for key in ("identical_groups", "near_groups") for row in told[key]]
        answers[setting] = Answer.read(folder, groups, [row["path"] for key in _NAMED for row in told[key]])
    return figures, answers


def peer(script: str, *options: str) -> Callable[[Path, Path, Sequence[str]], Ran]:
    """Return what runs a script beside this file with all settings at once."""

    def run(folder: Path, work: Path, settings: Sequence[str]) -> Ran:
        path, out = Path(__file__).with_name("peers") / f"{script}.py", work / "answer.json"
        command = [str(PEERS), "-P", str(path), str(folder), str(out), *options, *settings]
        figures = measured(command, _QUIET)
        told = json.loads(out.read_text(encoding="utf-8"))
        return figures, {key: Answer.read(folder, said["groups"], said["faults"]) for key, said in told.items()}

    return run


def gives_up(folder: Path, work: Path) -> str:
    """Return with which words cleanvision gives up at a folder that holds broken files; empty where it does not."""
    out = work / "answer.json"
    script = Path(__file__).with_name("peers") / "with_cleanvision.py"
    measured([str(PEERS), "-P", str(script), str(folder), str(out), "-", "phash-8"], _QUIET)
    return str(json.loads(out.read_text(encoding="utf-8"))["phash-8"].get("gave up", ""))
