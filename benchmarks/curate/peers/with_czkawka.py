"""czkawka's search for similar images, once for each similarity asked for.

Run by the environment of the peers: with_czkawka.py FOLDER OUT SIMILARITY… (`default` leaves it as it comes). What it
cannot read it passes over in silence.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from czkawka import ImageSimilarity


def main() -> None:
    """Write {similarity: {groups, faults}}."""
    folder, out, *settings = sys.argv[1:]
    answers = {}
    for setting in settings:
        finder = ImageSimilarity()
        finder.set_directories([folder])
        if setting != "default":
            finder.set_similarity(int(setting))
        answers[setting] = {"groups": [[str(path) for path in group] for group in finder.find_similar()], "faults": []}
    Path(out).write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main()
