"""Answers of the three interfaces to Google Images, in the shape of the real ones, from the plan of a photo site.

Reads a plan. Writes nothing. Sources of shape and limits: the recorded answer of Custom Search,
https://serpapi.com/google-images-api and https://serper.dev
"""

from __future__ import annotations

from tasks.rehearse.plan import Hit
from tasks.rehearse.speaking import WRONG, Json, QueryError, Question, mime_of

_CUSTOM_PAGE, _CUSTOM_WINDOW = 10, 100  # results a page, results that can be reached
_SERPAPI_PAGE, _SERPER_PAGE = 100, 100
_SMALL = "https://encrypted-tbn0.gstatic.com/images?q=tbn:ANd9Gc{}"


def custom_search(question: Question) -> Json:
    """Answer `GET /customsearch/v1`."""
    _custom_key(question)
    first, size = question.whole("start", 1), question.whole("num", 10)
    if not 1 <= size <= _CUSTOM_PAGE or first < 1 or first + size > _CUSTOM_WINDOW:
        raise _custom_error(400, "Request contains an invalid argument.", "INVALID_ARGUMENT")
    words = question.query.get("q", "")
    found = _found(question, "custom_search", words)
    request = {"title": f"Google Custom Search - {words}", "totalResults": str(len(found)), "searchTerms": words}
    queries = {"request": [request | {"count": size, "startIndex": first}]}
    if first + size <= len(found):
        queries["nextPage"] = [request | {"count": size, "startIndex": first + size}]
    told = {"totalResults": str(len(found)), "formattedTotalResults": f"{len(found):,}", "searchTime": 0.1}
    answer: Json = {"kind": "customsearch#search", "queries": queries, "searchInformation": told}
    items = [_item(question, hit, words) for hit in found[first - 1 : first - 1 + size]]
    return answer | ({"items": items} if items else {})


def serpapi(question: Question) -> Json:
    """Answer `GET /search.json?engine=google_images`."""
    if question.query.get("api_key", "") in {"", WRONG}:
        words = "Invalid API key. Your API key should be here: https://serpapi.com/manage-api-key"
        raise QueryError(401, words, {"error": words})
    if question.query.get("engine") != "google_images":
        raise QueryError(400, "engine", {"error": "Unsupported `engine` parameter."})
    words, page = question.query.get("q", ""), question.whole("ijn", 0)
    found = _found(question, "serpapi", words)[page * _SERPAPI_PAGE : (page + 1) * _SERPAPI_PAGE]
    told: Json = {
        "search_metadata": {"status": "Success"},
        "search_parameters": {"engine": "google_images", "q": words, "ijn": str(page)},
    }
    if not found:
        return told | {"error": "Google hasn't returned any results for this query."}
    return told | {
        "images_results": [_image(question, hit, page * _SERPAPI_PAGE + n) for n, hit in enumerate(found, 1)]
    }


def serper(question: Question) -> Json:
    """Answer `POST /images`."""
    if question.headers.get("X-API-KEY", "") in {"", WRONG}:
        raise QueryError(403, "key", {"message": "Unauthorized.", "statusCode": 403})
    asked, words = question.body, str(question.body.get("q", ""))
    if not words:
        raise QueryError(400, "q", {"message": "Missing query parameter", "statusCode": 400})
    size, page = min(int(asked.get("num", 10)), _SERPER_PAGE), int(asked.get("page", 1))
    found = _found(question, "serper", words)[(page - 1) * size : page * size]
    images = []
    for number, hit in enumerate(found, 1):
        small = _SMALL.format(number)
        images.append(
            {
                "title": f"{words} {number}",
                "imageUrl": _address(question, hit) or small,
                "imageWidth": hit.width,
                "imageHeight": hit.height,
                "thumbnailUrl": small,
                "thumbnailWidth": 140,
                "thumbnailHeight": 90,
                "source": "Painted pictures",
                "domain": "example.org",
                "link": f"https://example.org/pages/{number}",
                "googleUrl": "https://www.google.com/imgres",
                "position": (page - 1) * size + number,
            }
        )
    told = {"q": words, "type": "images", "engine": "google", "num": size, "page": page}
    return {"searchParameters": told, "images": images, "credits": 1 + (size > 10)}  # noqa: PLR2004 - a page of ten


def _custom_key(question: Question) -> None:
    key = question.query.get("key", "")
    if not key:
        raise _custom_error(
            403,
            "Method doesn't allow unregistered callers (callers without established identity).",
            "PERMISSION_DENIED",
        )
    if key == WRONG:
        raise _custom_error(400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT")
    if question.query.get("cx", "") in {"", WRONG}:
        raise _custom_error(400, "Request contains an invalid argument.", "INVALID_ARGUMENT")


def _custom_error(status: int, message: str, word: str) -> QueryError:
    errors = [{"message": message, "domain": "global", "reason": "badRequest"}]
    return QueryError(
        status, message, {"error": {"code": status, "message": message, "errors": errors, "status": word}}
    )


def _item(question: Question, hit: Hit, words: str) -> Json:
    small = _SMALL.format(hit.path.rpartition("/")[2][:8])
    link = _address(question, hit)
    item: Json = {
        "kind": "customsearch#result",
        "title": words,
        "displayLink": "example.org",
        "mime": mime_of(hit.path),
        "image": {
            "contextLink": "https://example.org/page",
            "height": hit.height,
            "width": hit.width,
            "byteSize": 40_000,
            "thumbnailLink": small,
            "thumbnailHeight": 90,
            "thumbnailWidth": 140,
        },
    }
    return item | {"link": link or small}


def _image(question: Question, hit: Hit, number: int) -> Json:
    image = {
        "position": number,
        "thumbnail": _SMALL.format(number),
        "source": "Painted pictures",
        "title": f"Picture {number}",
        "link": f"https://example.org/pages/{number}",
        "is_product": False,
    }
    link = _address(question, hit)
    return image | ({"original": link, "original_width": hit.width, "original_height": hit.height} if link else {})


def _found(question: Question, service: str, words: str) -> list[Hit]:
    wanted = " ".join(words.casefold().split())
    return [hit for hit in question.plan.hits if hit.service == service and hit.query.casefold() == wanted]


def _address(question: Question, hit: Hit) -> str | None:
    return question.plan.base_url + hit.path if hit.path else None
