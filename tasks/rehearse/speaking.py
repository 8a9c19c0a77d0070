"""What the speakers of APIs share: the question they are asked, and how they refuse one. Reads and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tasks.rehearse.plan import Plan

Json = dict[str, Any]
WRONG = "wrong"  # the one word that is no key


@dataclass(frozen=True)
class Question:
    """One request to an API."""

    plan: Plan
    pairs: tuple[tuple[str, str], ...]  # of the query, in their order
    rest: str = ""  # what follows the path that the speaker answers
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Json = field(default_factory=dict)  # of a POST

    @cached_property
    def query(self) -> dict[str, str]:
        """The query; the first value of a parameter that is repeated."""
        return dict(reversed(self.pairs))

    def several(self, name: str) -> list[str]:
        """Return the values of a parameter that may be repeated; none = it was not given."""
        return [value for key, value in self.pairs if key == name]

    def values(self, name: str) -> list[str]:
        """Return the values of a parameter that may hold several, with commas between."""
        return self.query.get(name, "").lower().split(",") if name in self.query else []

    def whole(self, name: str, default: int) -> int:
        """Return a whole number."""
        return integers(name, self.query[name])[0] if name in self.query else default

    def number(self, name: str) -> float | None:
        """Return a number, none where it was not given."""
        try:
            return float(self.query[name]) if name in self.query else None
        except ValueError:
            raise QueryError(422, f"Invalid {name}: {self.query[name]}") from None


class QueryError(Exception):
    """A query the API does not answer: HTTP status and body."""

    def __init__(self, status: int, message: str, body: Json | None = None) -> None:
        """Keep the two apart for the answer; without a body, iNaturalist's form is used."""
        super().__init__(message)
        self.status = status
        self.body = {"error": message, "status": status} if body is None else body


def integers(name: str, text: str) -> list[int]:
    """Return the whole numbers in a parameter, with commas between."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise QueryError(422, f"Invalid {name}: {text}") from None


def mime_of(path: str) -> str:
    """Return the media type that an address seems to have."""
    suffix = path.partition("?")[0].rpartition(".")[2].lower()
    return {"png": "image/png", "gif": "image/gif", "webp": "image/webp"}.get(suffix, "image/jpeg")


def licence_url(slug: str | None) -> str:
    """Return the address of a licence; empty for all rights reserved."""
    if slug is None:
        return ""
    if slug == "cc0":
        return "http://creativecommons.org/publicdomain/zero/1.0/legalcode"
    if slug == "public-domain":
        return "http://creativecommons.org/publicdomain/mark/1.0/"
    return f"http://creativecommons.org/licenses/{slug.removeprefix('cc-')}/4.0/legalcode"
