"""How each stage does its work, as numbers: raised when the same inputs would give another output.

They are part of the fingerprints that name prepared images, features, searches and fits. Reads no heavy library, so
that a run with nothing new can tell so without loading one.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

DISCOVER = 1  # what a source's file or answer is read as
PIXELS = 1  # tasks/models/pixels.py
FEATURES = 3  # tasks/prepare/features.py
TRIAL = 2  # tasks/tune/search.py
FIT = 4  # tasks/train/winner.py


def libraries(*names: str) -> dict[str, str]:
    """Return the versions of the installed libraries among `names`."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
