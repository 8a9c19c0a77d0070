"""The reference of every field and variable, written from the models that check them.

Writes recipes/schema.json, docs/recipes.md and docs/settings.md: `make docs`. A test keeps them current.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.recipe import Recipe, schema_text
from flows.settings import Settings
from tasks.core.files import write_text

_RECIPES = """\
# Recipes

<!-- Written by `make docs` from the models that check a recipe. Do not edit. -->

A recipe is one YAML file. Only `name` and `classes` are required. Unknown fields are refused, with the nearest
right name. Begin the file with `# yaml-language-server: $schema=…/recipes/schema.json`, and your editor completes
and checks it. Paths in a recipe start at its folder.

Any field of `model`, `augment`, `balance` and `train` can be searched, by its dotted name:

```yaml
tune:
  tuner: bayesian
  trials: 20
  space:
    model.head.dropout: {min: 0, max: 0.5, step: 0.05}
    train.learning_rate: {min: 0.0001, max: 0.01, log: true}
    model.head.dense: {choice: [[], [64], [128, 64]]}
```
"""
_SETTINGS = """\
# Settings

<!-- Written by `make docs` from the model that reads them. Do not edit. -->

The environment is read once, when a command or a flow run begins. What a recipe says of the images and the model
is never here; where things lie and who we are on the network is never in a recipe.

| variable | default | meaning |
| --- | --- | --- |
"""


def recipe_reference() -> str:
    """Return docs/recipes.md."""
    schema = Recipe.model_json_schema(by_alias=True)
    return _RECIPES + "".join(_section("A recipe", schema, schema=schema, told=set()))


def _section(title: str, node: dict[str, Any], *, schema: dict[str, Any], told: set[str]) -> Iterator[str]:
    """Write the table of one group of fields, then those of the groups it holds, each once."""
    yield f"\n## {title}\n\n"
    if node.get("description"):
        yield f"{node['description']}\n\n"
    yield "| field | type | default | meaning |\n| --- | --- | --- | --- |\n"
    below: list[tuple[str, str]] = []
    for name, field in node.get("properties", {}).items():
        references = sorted(_references(field))
        below += [(name, reference) for reference in references if reference not in told]
        told |= set(references)
        default = _shown(field["default"]) if "default" in field and not references else ""
        kind = _kind(field).replace("|", "\\|")
        yield f"| `{name}` | {kind} | {default} | {' '.join(field.get('description', '').split())} |\n"
    for name, reference in below:
        found = schema["$defs"][reference]
        constant = found.get("properties", {}).get("source", {}).get("const")
        yield from _section(
            f"source: {constant}" if constant else f"{name}: {reference}", found, schema=schema, told=told
        )


def _references(field: Any) -> set[str]:  # noqa: ANN401 - JSON has no narrower type
    if isinstance(field, dict):
        own = {field["$ref"].rsplit("/", 1)[-1]} if "$ref" in field else set()
        return own.union(*(_references(value) for value in field.values()))
    return set().union(*(_references(value) for value in field)) if isinstance(field, list) else set()


def _kind(field: dict[str, Any]) -> str:
    options = field.get("anyOf") or field.get("oneOf")
    match field:
        case {"$ref": reference}:
            kind = str(reference).rsplit("/", 1)[-1]
        case {"const": value}:
            kind = f"`{value}`"
        case {"enum": values}:
            kind = ", ".join(f"`{value}`" for value in values)
        case _ if options:
            kind = " or ".join(dict.fromkeys(_kind(option) for option in options))
        case {"type": "array", "items": items}:
            kind = f"list of {_kind(items)}"
        case {"type": "object", "additionalProperties": dict(values)}:
            kind = f"name to {_kind(values)}"
        case _:
            kind = _limits(field)
    return kind


def _limits(field: dict[str, Any]) -> str:
    words = {"integer": "whole number", "string": "text", "boolean": "true or false", "null": "none"}
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {field[key]:g}" for key, sign in signs.items() if key in field]
    kind = str(field.get("type", "value"))
    return " ".join([words.get(kind, kind), ", ".join(limits)]).strip()


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(f"`{item}`" for item in value) or "empty"
    return "none" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def settings_reference() -> str:
    """Return docs/settings.md."""
    rows = [
        f"| `{field.validation_alias or 'HARVESTMAN_' + name.upper()}` | {_shown(_plain(field.default))} "
        f"| {' '.join((field.description or '').split())} |\n"
        for name, field in Settings.model_fields.items()
    ]
    return _SETTINGS + "".join(rows)


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return None if value == "" else str(value) if isinstance(value, Path) else value


def write_reference(root: Path) -> list[Path]:
    """Write the three files below `root`; return them."""
    texts = {
        "recipes/schema.json": schema_text(),
        "docs/recipes.md": recipe_reference(),
        "docs/settings.md": settings_reference(),
    }
    return [write_text(root / name, text) for name, text in texts.items()]


if __name__ == "__main__":
    write_reference(Path(__file__).resolve().parent.parent)
