"""Text from outside on a terminal: names of files and hosts, reasons that servers gave.

Owns what is left of it there. Reads and writes nothing; imports nothing, for `harvestman --help`.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """Return `text` without what a terminal would obey instead of showing it, and without bytes that are no text."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
