"""What MLflow takes as a name, a parameter and a metric, and how ours become such.

Reads and writes nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

MAX_PARAMS = 100  # a request
MAX_METRICS = 1000  # a request
MAX_PARAM_LENGTH = 6000  # characters of a value
MAX_KEY_LENGTH = 250
DIGEST_LENGTH = 36  # characters MLflow keeps of a data set's digest: the first 36 of our 64
_FOREIGN = re.compile(r"[^\w/. :-]")

T = TypeVar("T")


def metric_name(group: str, name: str) -> str:
    """Return `group/name` as MLflow accepts it.

    Characters it refuses become "_", and four digits of the name's digest keep two such names apart.
    """
    plain = _FOREIGN.sub("_", name).replace("/", "_")
    plain = plain[: MAX_KEY_LENGTH - len(group) - len("/-0000")]
    if plain != name or plain.startswith("."):
        plain = f"{plain.lstrip('.')}-{hashlib.sha256(name.encode()).hexdigest()[:4]}"
    return f"{group}/{plain}"


def flattened(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested mappings as dotted parameters, e.g. {"model.head.dropout": "0.2"}; None = "none"."""
    found: dict[str, str] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            found |= flattened(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = parameter(value)
    return found


def parameter(value: object) -> str:
    """Return a parameter's value as text; lists as "64, 32"."""
    if value is None or value == {}:
        return "none"
    text = ", ".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)
    return text[:MAX_PARAM_LENGTH]


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut `items` into lists of at most `size`."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
