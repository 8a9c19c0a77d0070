"""A recipe: the stages' configurations composed. Loads, validates, exports the JSON Schema.

Reads one YAML file. Errors name the file, the field, the value and the nearest right name.
"""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from tasks.core.config import StageConfig
from tasks.core.errors import RecipeError
from tasks.core.names import name_fault
from tasks.curate.config import CurateConfig
from tasks.discover.config import AnySource, LabelsConfig, Source
from tasks.evaluate.config import EvaluateConfig
from tasks.ingest.config import IngestConfig
from tasks.models.config import AugmentConfig, BalanceConfig, LearnConfig, ModelConfig, TrainConfig
from tasks.register.config import RegisterConfig
from tasks.split.config import SplitConfig
from tasks.tune.config import Choice, Range, TuneConfig

MIN_CLASSES = 2


class Recipe(StageConfig):
    """One classifier: its classes, where their images come from, and what is done with them."""

    name: str = Field(..., pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)
    """Names the collection, the data sets, the experiment. Letters, digits, `_`, `.` and `-`."""
    classes: dict[str, tuple[Source, ...]] = Field(default_factory=dict)
    """Class name to the sources of its images."""
    sources: tuple[Source, ...] = ()
    """Sources that hold several classes and tell the class of each image: by a column, a folder, a taxon."""
    labels: LabelsConfig = LabelsConfig()
    """Classes that are too small, unwanted or to be merged."""
    ingest: IngestConfig = IngestConfig()
    """Fetching and inspecting."""
    curate: CurateConfig = CurateConfig()
    """Duplicates and label conflicts."""
    split: SplitConfig = SplitConfig()
    """Train, validation and test."""
    balance: BalanceConfig = BalanceConfig()
    """Unequal classes."""
    model: ModelConfig = ModelConfig()
    """Backbone and head."""
    augment: AugmentConfig = AugmentConfig()
    """Random changes of training images."""
    train: TrainConfig = TrainConfig()
    """Optimiser, epochs, callbacks."""
    tune: TuneConfig = TuneConfig()
    """The search for hyperparameters."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """Judging the model."""
    register_: RegisterConfig = Field(RegisterConfig(), alias="register")
    """The model registry."""

    @field_validator("classes")
    @classmethod
    def _classes(cls, classes: dict[str, tuple[Source, ...]]) -> dict[str, tuple[Source, ...]]:
        for name, sources in classes.items():
            if not sources:
                raise ValueError(f"class {name!r} has no source; list at least one under it")
            for source in sources:
                if getattr(source, "label", None) is not None:
                    raise ValueError(
                        f"class {name!r}: its source {source.source} has a `label:`; a source that tells the classes "
                        "itself stands under `sources:`"
                    )
        if fault := name_fault(list(classes)):
            raise ValueError(fault)
        return classes

    @field_validator("sources")
    @classmethod
    def _sources(cls, sources: tuple[AnySource, ...]) -> tuple[AnySource, ...]:
        for source in sources:
            if not source.SEVERAL:
                raise ValueError(f"{source.source} cannot tell the class of an image: put it under a class")
            if source.source not in {"folder", "archive"} and getattr(source, "label", None) is None:
                raise ValueError(f"{source.source} needs `label:` here: what tells the class of an image")
        return sources

    @model_validator(mode="after")
    def _enough(self) -> Recipe:
        if len(self.classes) < MIN_CLASSES and not self.sources:
            raise ValueError(
                f"classes: a classifier needs at least {MIN_CLASSES} classes, here there are {len(self.classes)}: "
                f"{', '.join(self.classes) or 'none'}"
            )
        return self

    @model_validator(mode="after")
    def _space(self) -> Recipe:
        for dotted, domain in self.tune.space.items():
            values = (domain.min, domain.max) if isinstance(domain, Range) else domain.choice
            for value in values:
                try:
                    self.learn.override({dotted: value})
                except (KeyError, TypeError):
                    raise ValueError(f"tune.space: {dotted} is not a field of the recipe") from None
                except ValidationError as error:
                    raise ValueError(f"tune.space: {dotted} cannot be {value!r}: {error.errors()[0]['msg']}") from None
        return self

    @property
    def learn(self) -> LearnConfig:
        """The blocks a search may vary."""
        return LearnConfig(model=self.model, augment=self.augment, balance=self.balance, train=self.train)

    @property
    def judged(self) -> CurateConfig:
        """The `curate:` block as it is obeyed: what the door refuses as too small is so for older images too."""
        side = max(self.curate.rules.min_side, self.ingest.min_side)
        return self.curate.model_copy(update={"rules": self.curate.rules.model_copy(update={"min_side": side})})

    @property
    def asked(self) -> list[tuple[str | None, AnySource]]:
        """Every source with the class its images belong to; None where it tells the class itself."""
        named = [(label, source) for label, sources in self.classes.items() for source in sources]
        return [*named, *((None, source) for source in self.sources)]

    @property
    def registered_name(self) -> str:
        """The name in the model registry."""
        return self.register_.name or self.name


def load_recipe(path: Path | str) -> Recipe:
    """Read and validate the recipe file `path`; relative paths in it start at its folder.

    Raises:
        RecipeError: there is no such file, it is not YAML, or a field is wrong.
    """
    path = Path(path)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"There is no recipe {path}.", hint=_nearby(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"The recipe {path} cannot be read.", received=str(error)) from error
    except yaml.YAMLError as error:
        raise RecipeError(
            f"{path} is not valid YAML.", received=str(error), hint="Mend the line named above."
        ) from error
    return parse_recipe(raw, path)


def parse_recipe(raw: object, path: Path) -> Recipe:
    """Validate the parsed YAML `raw` of the file `path`."""
    if not isinstance(raw, dict):
        raise RecipeError(
            f"{path} is not a recipe.",
            received=f"a {type(raw).__name__} at the top",
            hint="A recipe is a mapping with at least `name:` and `classes:`; see recipes/demo.yaml.",
        )
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        details = [_explain(item, raw) for item in error.errors()]
        count = f"{len(details)} fields are wrong" if len(details) > 1 else "one field is wrong"
        raise RecipeError(
            f"{path}: {count}.",
            received="\n".join(details),
            hint="Every field is described in recipes/schema.json and docs/recipes.md.",
        ) from error
    return _absolute(recipe, path.resolve().parent)


def _absolute(recipe: Recipe, folder: Path) -> Recipe:
    classes = {name: tuple(_located(source, folder) for source in of) for name, of in recipe.classes.items()}
    sources = tuple(_located(source, folder) for source in recipe.sources)
    weights = recipe.model.weights
    if weights not in {"imagenet", "none"}:
        weights = str(folder / weights)
    model = recipe.model.model_copy(update={"weights": weights})
    curate = recipe.curate.model_copy(update={"decisions": tuple(folder / path for path in recipe.curate.decisions)})
    return recipe.model_copy(update={"classes": classes, "sources": sources, "model": model, "curate": curate})


def _located(source: AnySource, folder: Path) -> AnySource:
    """Return the source with paths that start at the recipe's folder."""
    return source.model_copy(
        update={
            name: tuple(folder / path for path in value) if isinstance(value, tuple) else folder / value
            for name, value in source
            if name in {"path", "table"} and value is not None and "://" not in str(value)
        }
    )


def _nearby(path: Path) -> str:
    folder = path.parent if path.parent.is_dir() else Path("recipes")
    names = [str(found) for found in sorted(folder.glob("*.y*ml"))]
    close = difflib.get_close_matches(str(path), names, n=1, cutoff=0.3)
    return f"Did you mean {close[0]}?" if close else f"Recipes in {folder}: {', '.join(names) or 'none'}."


def _explain(item: Any, raw: dict[str, Any]) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    parts = [str(part) for part in item["loc"]]
    known = _names(Recipe.model_json_schema(), parts)
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(parts[-1], known, n=1, cutoff=0.5)
        advice = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}"
        return f"  {'.'.join(parts)}: unknown field; {advice}"
    if item["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        tag, tags = str(item["ctx"].get("tag", "")), re.findall(r"'(\w+)'", str(item["ctx"].get("expected_tags", "")))
        near = difflib.get_close_matches(tag, tags, n=1, cutoff=0.5)
        advice = f"did you mean {near[0]}?" if near else f"known: {', '.join(tags) or 'see docs/recipes.md'}"
        return f"  {'.'.join(parts)}.source: {f'no source {tag!r}' if tag else 'missing'}; {advice}"
    if item["type"] == "missing":
        return f"  {'.'.join(parts)}: missing"
    message = str(item["msg"]).removeprefix("Value error, ")
    value = item["input"]
    shown = "" if value is raw or isinstance(value, dict | list | StageConfig) else f" (received {value!r})"
    return f"  {'.'.join(parts) or 'recipe'}: {message}{shown}"


def _names(schema: dict[str, Any], parts: list[str]) -> list[str]:
    """Return the field names known where the last of `parts` stands."""
    node: dict[str, Any] = schema
    for part in parts[:-1]:
        node = _step(schema, node, part)
    return list(_resolve(schema, node).get("properties", {}))


def _step(schema: dict[str, Any], node: dict[str, Any], part: str) -> dict[str, Any]:
    node = _resolve(schema, node)
    if part in node.get("properties", {}):
        return dict(node["properties"][part])
    if isinstance(node.get("additionalProperties"), dict):
        return dict(node["additionalProperties"])
    if "items" in node:
        items = dict(node["items"])
        return items if part.isdigit() else _step(schema, items, part)
    mapping = node.get("discriminator", {}).get("mapping", {})
    if part in mapping:
        return {"$ref": mapping[part]}
    for option in node.get("anyOf", []):
        found = _resolve(schema, option)
        if part in {found.get("title"), *found.get("properties", {})}:
            return found if part == found.get("title") else _step(schema, found, part)
    return node


def _resolve(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in node:
        return dict(schema["$defs"][node["$ref"].rsplit("/", 1)[-1]])
    options = [option for option in node.get("anyOf", []) if option.get("type") != "null"]
    return _resolve(schema, options[0]) if len(options) == 1 else node


def schema_text() -> str:
    """Return the JSON Schema of recipes, as committed in recipes/schema.json."""
    schema = Recipe.model_json_schema(by_alias=True)
    schema["title"] = "Harvestman recipe"
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


__all__ = ["Choice", "Recipe", "load_recipe", "parse_recipe", "schema_text"]
