"""Answers of Wikimedia Commons' MediaWiki API, in the shape of the real ones, from the plan of a photo site.

Reads a plan. Writes nothing. Source of shape and limits: https://commons.wikimedia.org/w/api.php?action=help
"""

from __future__ import annotations

import hashlib
import zlib

from tasks.rehearse.plan import Hit
from tasks.rehearse.speaking import Json, Question, integers, licence_url, mime_of

FILES = "/wikipedia/commons/"  # below it lie the files
_MOST = 500  # pages an answer
_GENERATORS = {"search": ("gsr", "gsrsearch"), "categorymembers": ("gcm", "gcmtitle")}


def answer(question: Question) -> Json:
    """Answer `GET /w/api.php?action=query&generator=…&prop=imageinfo`."""
    query = question.query
    if query.get("action") != "query" or query.get("generator") not in _GENERATORS:
        return _failed("badvalue", "Only action=query with a generator is played here.")
    prefix, name = _GENERATORS[query["generator"]]
    words = query.get(name, "")
    if not words:
        return _failed("missingparam", f'The "{name}" parameter must be set.')
    found = [hit for hit in question.plan.hits if hit.service == "wikimedia_commons" and _matches(hit, words)]
    size = min(integers(f"{prefix}limit", query.get(f"{prefix}limit", "10").replace("max", str(_MOST)))[0], _MOST)
    start = _start(question, prefix)
    pages = [_page(hit, question, start + place) for place, hit in enumerate(found[start : start + size], 1)]
    answered: Json = {"batchcomplete": True}
    if start + size < len(found):
        answered["continue"] = _continued(prefix, start + size)
    return answered | ({"query": {"pages": pages}} if pages else {})


def _start(question: Question, prefix: str) -> int:
    if prefix == "gsr":
        return question.whole("gsroffset", 0)
    return int(question.query.get("gcmcontinue", "file||0").rpartition("|")[2])


def _continued(prefix: str, place: int) -> Json:
    if prefix == "gsr":
        return {"gsroffset": place, "continue": "gsroffset||"}
    return {"gcmcontinue": f"file||{place}", "continue": "gcmcontinue||"}


def _matches(hit: Hit, words: str) -> bool:
    # A search may be narrowed with words like `filetype:bitmap`; the plan knows the rest.
    plain = " ".join(word for word in words.split() if not word.startswith(("filetype:", "filemime:", "-filetype:")))
    return hit.query.casefold() == plain.casefold()


def _failed(code: str, text: str) -> Json:
    return {"error": {"code": code, "info": text}, "servedby": "painted"}


def _page(hit: Hit, question: Question, index: int) -> Json:
    base, title = question.plan.base_url, hit.path.rpartition("/")[2]
    info: Json = {
        "size": 40_000,
        "width": hit.width,
        "height": hit.height,
        "url": base + hit.path,
        "descriptionurl": f"https://commons.wikimedia.org/wiki/File:{title}",
        "descriptionshorturl": f"https://commons.wikimedia.org/w/index.php?curid={zlib.crc32(title.encode())}",
        "mime": mime_of(hit.path),
        "user": "Dewpoint",
        "sha1": hashlib.sha1(title.encode(), usedforsecurity=False).hexdigest(),
        "extmetadata": _metadata(hit, title),
    }
    width = question.whole("iiurlwidth", 0)
    if width:
        scaled = hit.width > width
        info |= {
            "thumburl": base + (thumb(hit.path, width) if scaled else hit.path),
            "thumbwidth": width if scaled else hit.width,
            "thumbheight": round(hit.height * width / hit.width) if scaled else hit.height,
        }
    return {
        "pageid": zlib.crc32(title.encode()),
        "ns": 6,
        "title": f"File:{title.replace('_', ' ')}",
        "index": index,
        "imagerepository": "local",
        "imageinfo": [info],
    }


def _metadata(hit: Hit, title: str) -> Json:
    slug = hit.licence or ""
    short = {"cc0": "CC0", "public-domain": "Public domain"}.get(slug, f"CC {slug.removeprefix('cc-').upper()} 4.0")
    values = {
        "ObjectName": title,
        "Artist": '<a href="//commons.wikimedia.org/wiki/User:Dewpoint" title="User:Dewpoint">Dew &amp; Point</a>',
        "LicenseShortName": short,
        "UsageTerms": short,
        "LicenseUrl": licence_url(hit.licence),
        "License": {"cc0": "cc0", "public-domain": "pd"}.get(slug, f"{slug}-4.0"),
        "GPSLatitude": "48.20849",
        "GPSLongitude": "16.37208",
    }
    return {name: {"value": value, "source": "commons-desc-page"} for name, value in values.items()}


def thumb(key: str, width: int) -> str:
    """Return the path under which Commons offers a picture scaled down to `width` pixels."""
    return f"{key.replace(FILES, f'{FILES}thumb/', 1)}/{width}px-{key.rpartition('/')[2]}"
