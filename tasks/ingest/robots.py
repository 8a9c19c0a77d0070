"""What a site says to programs: its robots.txt (RFC 9309) and the X-Robots-Tag headers of its answers.

Nothing is asked here. Reads and writes nothing.
"""

from __future__ import annotations

import asyncio
import math
import re
from dataclasses import dataclass, field
from functools import lru_cache

import httpx
from protego import Protego

from tasks.ingest.body import Fetched

Origin = tuple[str, str, int]
"""The scheme, the host and the port of an address: each has a robots.txt of its own."""
AGENT = "harvestman"
"""The name that robots.txt and X-Robots-Tag know us by."""
_LARGEST = 512 * 1024  # characters that count; RFC 9309 asks for 500 KiB at the least
_FOREVER = 10**9  # seconds; more of them may be no float
_OPT_OUTS = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
_WITH_VALUE = ("unavailable_after", "max-")  # how the names of directives begin that are followed by a colon
_NAME = re.compile(r"[a-z0-9_./*-]+")  # of a program; the hour of a date of unavailable_after is none
_SHOWN = 200  # characters of a header
_USER_AGENT = re.compile(r"user[-\s]*agent(?:\s*:|\s|$)\s*(.*)", re.IGNORECASE)  # every spelling that Protego takes
_EVERYBODY = re.compile(r"\*+(?![*\w.-])")
_PRODUCT = re.compile(r"[\w.-]*")  # what follows is a version or a remark
_OURS, _OTHERS = "ours", "others"  # neither is the beginning of the other; longer than "*", which Protego ranks by


@lru_cache(maxsize=256)
def _parsed(text: str, agent: str) -> Protego:
    """Parse the rules, to be asked for `_OURS`.

    Protego takes a group for ours whose name our name begins with; names are to be compared whole and without a
    version (RFC 9309, 2.2.1), so it only gets to see names that say whose the group is.
    """
    return Protego.parse("\n".join(_renamed(line, agent.lower()) for line in text.splitlines()))


def _renamed(line: str, agent: str) -> str:
    found = _USER_AGENT.match(line.partition("#")[0].strip())
    if not found:
        return line
    name = found[1].lower()
    if _EVERYBODY.match(name):
        return "User-agent: *"
    product = _PRODUCT.match(name)
    return f"User-agent: {_OURS if product and product[0] == agent else _OTHERS}"


@dataclass(frozen=True, slots=True)
class Rules:
    """What one robots.txt allows one agent. Holds its text; what is parsed is shared and bounded."""

    text: str
    agent: str
    reason: str = "robots.txt disallows it"
    """Why an address that they do not allow is not asked for."""

    @classmethod
    def parse(cls, text: str, agent: str) -> Rules:
        """Return the rules of a robots.txt. Nothing is too broken: what is no rule is no rule.

        Args:
            text: the file, decoded in any way (UTF-8 with replacements is the standard's).
            agent: our name in it, without a version.
        """
        text = text.lstrip("\ufeff")[:_LARGEST].encode("utf-8", "replace").decode()  # Protego raises on lone surrogates
        _parsed(text, agent)  # here, as it takes 0.3 s for the largest and may be called in a thread
        return cls(text, agent)

    @classmethod
    def nothing(cls, agent: str, reason: str) -> Rules:
        """Return rules that allow nothing, for a reason of their own."""
        return cls("User-agent: *\nDisallow: /", agent, reason)

    @property
    def delay(self) -> float | None:
        """Seconds that its Crawl-delay or Request-rate wants between two requests; None = it says nothing."""
        parsed = _parsed(self.text, self.agent)
        rate = parsed.request_rate(_OURS)
        asked = parsed.crawl_delay(_OURS), rate and min(rate.seconds, _FOREVER) / rate.requests
        return max((delay for delay in asked if delay is not None), default=None)

    def allows(self, url: str) -> bool:
        """Return whether the address may be asked for."""
        return bool(_parsed(self.text, self.agent).can_fetch(url, _OURS))


@dataclass(eq=False, slots=True)
class Robots:
    """What is known of the robots.txt of one origin. Moments are those of the event loop."""

    rules: Rules = field(default_factory=lambda: Rules("", AGENT))
    until: float = -math.inf
    """When they are to be asked for anew."""
    failed_at: float = -math.inf
    failure: Fetched | None = None
    """Why they could not be had, when they were asked for last and that may pass."""
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


def opted_out(headers: httpx.Headers, agent: str) -> str | None:
    """Return the words of X-Robots-Tag that keep an image from us; None = nothing does.

    A name before a colon holds until the next one, or the end of its header: `googlebot: noindex, noai` is not ours.
    """
    for header in headers.get_list("X-Robots-Tag"):
        ours = True
        for part in header.lower().split(","):
            name, colon, rest = (piece.strip() for piece in part.partition(":"))
            word = name
            if colon and _NAME.fullmatch(name) and not _takes_value(name):
                ours, word = name.partition("/")[0] in {agent.lower(), "*"}, rest
            if ours and word in _OPT_OUTS:
                return f"X-Robots-Tag: {header.strip()[:_SHOWN]}"
    return None


def _takes_value(word: str) -> bool:
    return word in _OPT_OUTS or word.startswith(_WITH_VALUE)
