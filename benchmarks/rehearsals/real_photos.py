"""Rehearses recipes on real photos, with ImageNet weights and with random ones, on the same data set version.

Needs the folder of real photos (HARVESTMAN_REAL_DATA, default ../shared/data beside the checkout).
Prints one Markdown row a run; the rows go into benchmarks/LOG.md.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("HARVESTMAN_REAL_DATA", ROOT.parent / "shared" / "data"))
CASES = {"fish": ["--observations", "(.+)_frame"], "spiders": []}


def main() -> None:
    """Run every case with both kinds of weights."""
    if not DATA.is_dir():
        print(f"skipped: {DATA} is absent")
        return
    print("| recipe | weights | images | addresses | best trial | test accuracy | test macro-F1 | wall s | CPU s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, options in CASES.items():
        with tempfile.TemporaryDirectory(prefix="harvestman-bench-") as folder:
            for weights in ("imagenet", "none"):
                print(_row(name, weights, options, Path(folder)), flush=True)


def _row(name: str, weights: str, options: list[str], folder: Path) -> str:  # noqa: PLR0917 - one call
    recipe: dict[str, Any] = yaml.safe_load((ROOT / "recipes" / f"{name}.yaml").read_text())
    recipe["model"]["weights"] = weights
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    environment = os.environ | {
        "HARVESTMAN_WORKSPACE": str(folder / "workspace"),
        "PREFECT_HOME": str(folder / "prefect"),
    }
    command = [sys.executable, "-m", "flows.cli", "rehearse", str(folder / f"{name}.yaml"),
               "--photos", str(DATA / "photos" / name), "--weights-dir", str(DATA / "weights"), *options]  # fmt: skip
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - started
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    known = json.loads((folder / "workspace" / "latest" / f"{name}-rehearsal.json").read_text())
    figures = json.loads((Path(known["model"]["fit"]) / "metrics.json").read_text())["test"]
    tried = json.dumps(known["model"]["overrides"]).replace("|", " ")
    addresses = len((folder / "workspace" / "rehearsals" / name / "requests.jsonl").read_text().splitlines())
    return (
        f"| {name} | {weights} | {known['dataset']['images']} | {addresses} requests | {tried} "
        f"| {figures['accuracy']:.3f} | {figures['macro_f1']:.3f} | {wall:.0f} | {cpu:.0f} |"
    )


if __name__ == "__main__":
    main()
