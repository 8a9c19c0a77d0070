"""cleanvision's exact and near duplicates, or all its checks with `all`.

Run by the environment of the peers: with_cleanvision.py FOLDER OUT LIST HASH-BITS…, as in phash-8: near duplicates are
equal hashes, so that fewer bits are the looser setting. LIST names the files that are looked at, one a line; `-` hands
it the folder itself, and OUT says with which words it gave up.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cleanvision import Imagelab


def main() -> None:
    """Write {setting: {groups, faults}}."""
    folder, out, names, *settings = sys.argv[1:]
    answers = {}
    for setting in settings:
        try:
            answers[setting] = {"groups": found(folder, names, setting), "faults": []}
        except Exception as error:  # whatever it gives up with is what we ask
            if names != "-":
                raise
            answers[setting] = {"groups": [], "faults": [], "gave up": f"{type(error).__name__}: {error}"}
    Path(out).write_text(json.dumps(answers), encoding="utf-8")


def found(folder: str, names: str, setting: str) -> list[list[str]]:
    """Return the sets that it tells, exact and near ones."""
    if names == "-":
        lab = Imagelab(data_path=folder, verbose=False)
    else:
        lab = Imagelab(filepaths=Path(names).read_text(encoding="utf-8").splitlines(), verbose=False)
    if setting == "all":
        lab.find_issues(verbose=False)
    else:
        method, bits = setting.split("-")
        near = {"hash_type": method, "hash_size": int(bits)}
        lab.find_issues({"exact_duplicates": {}, "near_duplicates": near}, verbose=False)
    return [same for kind in ("exact_duplicates", "near_duplicates") for same in lab.info[kind]["sets"]]


if __name__ == "__main__":
    main()
