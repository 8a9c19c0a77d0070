"""Lists of image addresses as people keep them: with a BOM, CRLF, quotes, wrappers, repeats and data: URIs.

Reads and writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

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


def _dressed(address: str, place: int) -> str:
    if place == 1:
        page = quote(address.rsplit("/", 1)[0], safe="")
        return f"https://www.google.com/imgres?imgurl={quote(address, safe='')}&imgrefurl={page}&docid=x1&tbnid=y2"
    wrap = {3: '"{}"', 5: "  {}  ", 7: "'{}'"}.get(place % 40, "{}")
    return wrap.format(address)
