"""Lists of image addresses as people keep them: with a BOM, CRLF, quotes, wrappers, repeats and data: URIs.

Writes `<site>/urls/<class>-<n>.txt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from tasks.core.files import write_atomic

_DATA = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def untidy(addresses: Sequence[str], *, number: int) -> bytes:
    """Return a list of `addresses`, each at least once; what is untidy about it depends on `number`."""
    lines = [_dressed(address, number + place) for place, address in enumerate(addresses)]
    if addresses:
        lines.insert(len(lines) // 2, addresses[0])
        lines.insert(len(lines) // 3, _DATA)
        lines.append("")
    end = "\r\n" if number % 2 == 0 else "\n"
    return ("\ufeff" if number % 2 == 0 else "").encode() + "".join(line + end for line in lines).encode()


def write_list(addresses: Sequence[str], path: Path, *, number: int) -> Path:
    """Write the list `path`."""
    return write_atomic(path, lambda out: out.write(untidy(addresses, number=number)))


def _dressed(address: str, place: int) -> str:
    if place == 1:
        page = quote(address.rsplit("/", 1)[0], safe="")
        return f"https://www.google.com/imgres?imgurl={quote(address, safe='')}&imgrefurl={page}&docid=x1&tbnid=y2"
    wrap = {3: '"{}"', 5: "  {}  ", 7: "'{}'"}.get(place % 40, "{}")
    return wrap.format(address)
