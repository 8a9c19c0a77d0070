"""Peak memory of our door for a list of addresses, and for one five times as long.

Run from the repository root: python -m benchmarks.ingest.memory [--photos 3000] [--folder FOLDER]. The longer list asks
for the same photos by other addresses. Each line is a process of its own. Writes below the folder; prints a table.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from benchmarks.ingest.ours import fetch, offer, unhindered
from benchmarks.ingest.photo_site import photo_site
from benchmarks.ingest.photos import FOLDER, photos
from benchmarks.measured import HEADER, line, tell

_LONGER = (1, 5)  # times the photos
_TWICE = 2  # runs of each: peaks differ by a few MB


def main() -> None:
    """Print one line a run; with --hosts, be one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=3000)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--addresses", type=int, help="fetch so many here instead")
    parser.add_argument("--hosts", nargs="+")
    given = parser.parse_args()
    workspace = given.folder / "memory"
    if given.hosts:
        tell(lambda: fetch(workspace, unhindered(), hosts=tuple(given.hosts), processes=1))
        return
    made = photos(given.folder, given.photos)
    print(f"{'addresses':<14} {HEADER}", flush=True)
    with photo_site(made[0].parent, given.folder / "site") as hosts:
        for longer in _LONGER * _TWICE:
            shutil.rmtree(workspace, ignore_errors=True)
            asked = range(longer * len(made))
            offer(workspace, [f"http://{hosts[k % len(hosts)]}/{made[k % len(made)].name}?{k}" for k in asked])
            figures = line("benchmarks.ingest.memory", "--folder", str(given.folder), "--hosts", *hosts)
            print(f"{len(asked):<14,} {figures}", flush=True)
    shutil.rmtree(workspace, ignore_errors=True)


if __name__ == "__main__":
    main()
