"""Answers of the Openverse API v1, in the shape of the real ones, from the plan of a photo site.

Reads a plan. Writes nothing. Source of shape and limits: https://api.openverse.org/v1/
"""

from __future__ import annotations

import uuid

from tasks.rehearse.plan import Hit
from tasks.rehearse.speaking import Json, QueryError, Question, licence_url

_PAGE, _WINDOW = 20, 240  # results a page and in all, for those who do not log in


def images(question: Question) -> Json:
    """Answer `GET /v1/images/`."""
    page, size = question.whole("page", 1), question.whole("page_size", _PAGE)
    if size > _PAGE:
        words = f"Anonymous users can request at most {_PAGE} results a page."
        raise QueryError(401, words, {"detail": {"page_size": [words]}})
    if page < 1 or page * size > _WINDOW:
        words = f"Anonymous users can request at most {_WINDOW} results."
        raise QueryError(401, words, {"detail": {"page": [words]}})
    found = [hit for hit in question.plan.hits if hit.service == "openverse" and _matches(hit, question)]
    pages = min(-(-len(found) // size), _WINDOW // size)
    results = [_result(hit, question) for hit in found[(page - 1) * size : page * size]]
    return {"result_count": len(found), "page_count": pages, "page_size": size, "page": page, "results": results}


def _matches(hit: Hit, question: Question) -> bool:
    words = " ".join(question.query.get("q", "").casefold().split())
    licences, providers = question.values("license"), question.values("source")
    return (
        hit.query.casefold() == words
        and (not licences or _code(hit) in licences)
        and (not providers or hit.provider in providers)
    )


def _code(hit: Hit) -> str:
    return {"public-domain": "pdm"}.get(hit.licence or "", (hit.licence or "").removeprefix("cc-"))


def _result(hit: Hit, question: Question) -> Json:
    address = question.plan.base_url + hit.path
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, address)),
        "title": hit.query,
        "foreign_landing_url": f"https://example.org/photos/{hit.path.rpartition('/')[2]}",
        "url": address,
        "creator": "Dew Point",
        "creator_url": "https://example.org/people/dewpoint",
        "license": _code(hit),
        "license_version": "1.0" if hit.licence in {"cc0", "public-domain"} else "4.0",
        "license_url": licence_url(hit.licence),
        "provider": hit.provider,
        "source": hit.provider,
        "category": "photograph",
        "filesize": None,
        "filetype": "jpg",
        "tags": [],
        "height": hit.height,
        "width": hit.width,
        "mature": False,
        "thumbnail": f"{question.plan.base_url}/openverse/v1/images/thumb/",
    }
