"""What travels with a model so that a process without this checkout can load it.

Reads our own source files and a model.keras; writes copies of the sources into a folder given by the caller.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tasks.core.files import storing

PACKAGE = "tasks"
ENTRY = "tasks.models.pixels"  # what served.py imports of ours
# What served.py and the sources shipped with it import. TensorFlow goes by two names.
_REQUIRED = ("mlflow", "keras", "numpy", "pandas", "pillow", "pydantic")
_TENSORFLOW = ("tensorflow", "tensorflow-cpu")


def own_modules(network: Path) -> list[str]:
    """Return our modules whose classes the archive model.keras names, sorted; most models name none."""
    with zipfile.ZipFile(network) as archive:
        config = json.loads(archive.read("config.json"))
    return sorted({name for name in _modules_named(config) if name.split(".")[0] == PACKAGE})


def _modules_named(node: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    if isinstance(node, dict):
        if isinstance(node.get("module"), str):
            yield node["module"]
        for value in node.values():
            yield from _modules_named(value)
    elif isinstance(node, list):
        for value in node:
            yield from _modules_named(value)


def needed_sources(modules: Iterable[str]) -> dict[str, Path]:
    """Return {module: source file} of `modules`, what they import of ours, and the packages around them."""
    found: dict[str, Path] = {}
    waiting = [ENTRY, *modules]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = _source(name)
        waiting += [name.rpartition(".")[0]] if "." in name else []
        waiting += _imported(found[name])
    return dict(sorted(found.items()))


def _source(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{name}, which the model needs, cannot be found", name=name)
    return Path(spec.origin)


def _imported(source: Path) -> list[str]:
    """Return our modules that a source file imports anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    ours = sorted(name for name in names if name.split(".")[0] == PACKAGE)
    # `from package.module import name`: the last part is a module only sometimes.
    return [name for name in ours if _is_module(name)]


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the parent is a module, not a package: `name` is something in it
        return False


def copy_sources(modules: Iterable[str], folder: Path) -> Path:
    """Copy the sources `modules` need into `folder`, as the package they come from, and return its folder."""
    root = _source(PACKAGE).parent
    for source in needed_sources(modules).values():
        target = folder / PACKAGE / source.relative_to(root)
        with storing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    return folder / PACKAGE


def requirements() -> list[str]:
    """Return what a serving process must install, pinned to what is installed here."""
    names = [*_REQUIRED, next(name for name in _TENSORFLOW if _installed(name))]
    return [f"{name}=={version(name)}" for name in names]


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
