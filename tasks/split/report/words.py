"""What the slugs of the tables mean, in a line a person reads once.

Owns the words; reads and writes nothing.
"""

from __future__ import annotations

VERDICTS = {
    "rejected": "a person said so",
    "placeholder": "the same file under many addresses or in many classes",
    "too-small": "a side shorter than the recipe allows",
    "extreme-aspect": "far longer than wide, or wider than long",
    "gray": "without colour",
    "blank": "next to one colour",
    "duplicate-bytes": "the very same file as an image that was kept",
    "near-duplicate": "the same picture as one that was kept, in another size, crop or compression",
    "label-conflict": "several classes claim the picture",
    "over-cap": "beyond the number of images the recipe allows a class",
    "gone": "was in an earlier version; no source offers it any more",
}

LEFT_OUT = {
    "bridges-splits": "a new image that is tied to images on different sides; they keep their sides, it stays out",
    "leaks": "an old image that turned out to be tied to one on a stricter side; it is not moved, it stays out",
}

OUTCOMES = {
    "not-found": "404 or 410",
    "forbidden": "401, 403 or 451",
    "client-error": "any other answer 4xx",
    "rate-limited": "429 to the last attempt",
    "server-error": "5xx to the last attempt",
    "timeout": "no answer in time, to the last attempt",
    "unreachable": "no such host, or no connection",
    "incomplete": "the body ended early",
    "opted-out": "robots.txt or an X-Robots-Tag header says no",
    "blocked-address": "an address on a private network",
    "too-many-redirects": "sent on and on",
    "invalid-address": "not an absolute http or https address",
    "too-large": "more bytes or pixels than the recipe allows",
    "too-small": "a side shorter than the recipe allows",
    "flat": "one colour, or next to it",
    "empty": "no bytes",
    "html": "a web page, not an image",
    "not-an-image": "bytes of no image format",
    "damaged": "decodes with errors",
    "unreadable": "does not decode",
    "licence-refused": "a licence the recipe does not take; never fetched",
}

MEANING = OUTCOMES | LEFT_OUT | VERDICTS
