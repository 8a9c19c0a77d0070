"""imagededup's hashes and search, as they come but for `num_dist_workers`: in its one process it is quicker.

Run by the environment of the peers: with_imagededup.py FOLDER OUT METHOD BITS…. The images are hashed once and searched
once, with the largest threshold; of a smaller one it would tell the same pairs. Files without a hash it has warned of.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from imagededup import methods

_IMAGES = {".jpg", ".jpeg", ".png", ".gif", ".webp"}  # it tries every file, a list of sources too


def main() -> None:
    """Write {threshold: {groups, faults}}, each pair as a group."""
    folder, out, method, *thresholds = sys.argv[1:]
    encoder = getattr(methods, method)(verbose=False)
    hashes = encoder.encode_images(folder, recursive=True)
    found = encoder.find_duplicates(
        encoding_map=hashes, max_distance_threshold=max(map(int, thresholds)), scores=True, num_dist_workers=0
    )
    images = (path for path in Path(folder).rglob("*") if path.suffix.lower() in _IMAGES)
    faults = sorted({str(path.relative_to(folder)) for path in images} - set(hashes))
    answers = {}
    for bits in thresholds:
        pairs = [[one, other] for one, same in found.items() for other, apart in same if apart <= int(bits)]
        answers[bits] = {"groups": pairs, "faults": faults}
    Path(out).write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main()
