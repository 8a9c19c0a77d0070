"""The fields that several sources share, and how the class of an image is told."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from tasks.core.config import StageConfig

OPEN_LICENCES = ("cc0", "cc-by", "cc-by-sa", "cc-by-nd", "cc-by-nc", "cc-by-nc-sa", "cc-by-nc-nd")
Grade = Literal["research", "needs_id", "casual"]
GRADES: tuple[Grade, ...] = ("research", "needs_id", "casual")
PhotoSize = Literal["square", "thumb", "small", "medium", "large", "original"]
Rank = Literal["kingdom", "phylum", "class", "order", "family", "genus", "species"]
RANKS: tuple[Rank, ...] = get_args(Rank)[::-1]
"""From the narrowest to the widest."""
ADDRESS = r"(?i)^https?://[^\s/]+/"
"""What publishers' free text must look like to be an address; for Python and Polars alike."""
ALIASES: dict[str, tuple[str, ...]] = {
    "group_id": ("group_id",),
    "taxon": ("taxon", "scientific_name", "scientificname", "taxon_name", "species"),
    "licence": ("licence", "license", "license_code", "rights"),
    "creator": ("creator", "photographer", "author", "user_login", "rightsholder", "rights_holder"),
    "page_url": ("page_url", "page", "source_url", "references", "context_link", "contextlink"),
    "observed_on": ("observed_on", "eventdate", "date"),
    "latitude": ("latitude", "lat", "decimallatitude"),
    "longitude": ("longitude", "lon", "lng", "decimallongitude"),
}
"""Column of candidates to what tables made by hand call it, first come first served."""
Spread = Literal["none", "taxa", "observers"]
Item = TypeVar("Item")


def _no_booleans(value: Any) -> Any:  # noqa: ANN401 - what YAML holds
    """Refuse true and false, which pydantic would take for 1 and 0: nobody means these by a taxon."""
    if any(isinstance(item, bool) for item in (value if isinstance(value, list | tuple) else [value])):
        raise ValueError("YAML reads true, yes and on, false, no and off as truth values: put it in quotes")
    return value


def _as_written(value: Any) -> Any:  # noqa: ANN401 - what YAML holds
    """Return true and false, which pydantic would take for 1 and 0, as tables write them."""
    if isinstance(value, list | tuple):
        return tuple(_as_written(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else value


def _no_blanks(value: Item) -> Item:
    """Refuse a blank text, alone or in a list."""
    if any(isinstance(item, str) and not item.strip() for item in (value if isinstance(value, tuple) else (value,))):
        raise ValueError("it is blank: write something there, or take it out")
    return value


def _one_at_least(value: Item) -> Item:
    """Refuse a list of nothing."""
    if value == ():
        raise ValueError("the list is empty: give at least one")
    return value


def _two_letters(code: str) -> str:
    if not re.fullmatch("[A-Za-z]{2}", code):
        raise ValueError("give the two letters of a country, e.g. PT")
    return code


def _language(code: str) -> str:
    if not re.fullmatch("[A-Za-z]{2}(?:-[A-Za-z]{2})?", code):
        raise ValueError("give the two letters of a language, e.g. pt or pt-BR")
    return code


Names = Annotated[str | int | tuple[str | int, ...], BeforeValidator(_no_booleans)]
SomeNames = Annotated[Names, AfterValidator(_no_blanks), AfterValidator(_one_at_least)]
SomePaths = Annotated[Path | tuple[Path, ...], AfterValidator(_one_at_least)]
Words = Annotated[str | tuple[str, ...], AfterValidator(_no_blanks)]
SomeWords = Annotated[Words, AfterValidator(_one_at_least)]
Country = Annotated[str, BeforeValidator(_no_booleans), AfterValidator(_two_letters)]
Language = Annotated[str, BeforeValidator(_no_booleans), AfterValidator(_language)]
Value = Annotated[
    str | int | tuple[str | int, ...],
    BeforeValidator(_as_written, json_schema_input_type=str | int | bool | tuple[str | int | bool, ...]),
]


def _box(box: tuple[float, float, float, float] | None) -> tuple[float, float, float, float] | None:
    if box is not None and not (-90 <= box[0] <= box[2] <= 90 and all(-180 <= side <= 180 for side in box[1::2])):  # noqa: PLR2004 - degrees
        raise ValueError("give south, west, north and east in degrees, e.g. [36.9, -9.6, 42.2, -6.1]")
    return box


def _days(days: tuple[date | None, date | None]) -> tuple[date | None, date | None]:
    if days[0] and days[1] and days[0] > days[1]:
        raise ValueError("the first day is after the last")
    return days


Box = Annotated[tuple[float, float, float, float] | None, AfterValidator(_box)]
Days = Annotated[tuple[date | None, date | None], AfterValidator(_days)]


def with_group(pattern: str | None) -> str | None:
    """Return `pattern` if it is a regular expression with a group; else raise ValueError."""
    if pattern is not None:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        if not groups:
            raise ValueError("it needs a group in parentheses: what the group matches is what counts")
    return pattern


class LabelRule(StageConfig):
    """How a source that holds several classes tells the class of an image."""

    column: str | None = None
    """Column of the table whose value is the class."""
    pattern: str | None = None
    """Regular expression whose first group is the class, searched in the column's value or, without a column,
    in the image's path."""
    taxa: dict[str, Annotated[tuple[str | int, ...], BeforeValidator(_no_booleans)]] = Field(default_factory=dict)
    """Class to the taxa that belong to it; a row belongs to a class when its scientific name, or any of its
    higher taxa, is one of them."""

    @field_validator("pattern")
    @classmethod
    def _pattern(cls, pattern: str | None) -> str | None:
        return with_group(pattern)

    @model_validator(mode="after")
    def _one(self) -> LabelRule:
        if not (self.column or self.pattern or self.taxa):
            raise ValueError("give at least one of column, pattern and taxa")
        return self


def as_rule(value: Any) -> Any:  # noqa: ANN401 - what YAML holds
    """Return a rule's short form, the name of a column, in its long one."""
    return {"column": value} if isinstance(value, str) else value


class SourceConfig(StageConfig):
    """What all sources share."""

    SEVERAL: ClassVar[bool] = False  # can tell the class of an image itself, under `sources:`
    REFRESH: ClassVar[str] = "read"  # "read" anew each time | "changes" asked since | "appends" what is found

    @property
    def files(self) -> tuple[Path, ...]:
        """Files and folders on this machine that the source reads."""
        found = [
            getattr(self, name) for name in ("path", "table") if isinstance(getattr(self, name, None), Path | tuple)
        ]
        return tuple(path for item in found for path in (item if isinstance(item, tuple) else (item,)))

    @property
    def most(self) -> int | None:
        """Candidates of a class that `gather` keeps; None = all that come."""
        return getattr(self, "limit", None)

    @property
    def spread_over(self) -> str | None:
        """Column of candidates whose values share `most` evenly; None = the first that come."""
        return {"taxa": "taxon", "observers": "creator"}.get(getattr(self, "spread", "none"))

    @property
    def rule(self) -> LabelRule | None:
        """How the class of an image is told, where the recipe says so."""
        rule = getattr(self, "label", None)
        return rule if isinstance(rule, LabelRule) else None


class TableSource(SourceConfig):
    """A source that is a table: rows can be chosen by their columns."""

    SEVERAL: ClassVar[bool] = True

    label: LabelRule | None = None
    """Under `sources:`, the column that holds the class, or {column, pattern, taxa}."""
    where: dict[str, Value] = Field(default_factory=dict)
    """Column to the value, or values, that a row must have; true and false are these words, in small letters."""

    _short = field_validator("label", mode="before")(as_rule)


class PlaceAndTime(SourceConfig):
    """A source whose records were made somewhere, some day."""

    bbox: Box = None
    """South, west, north and east of a box, in degrees."""
    observed: Days = (None, None)
    """First and last day of the observations or occurrences taken; null = open."""


class ObservationPhotos(PlaceAndTime):
    """A source of iNaturalist's observations and their photos."""

    quality_grade: tuple[Grade, ...] = ("research",)
    """Quality grades of the observations taken."""
    licences: tuple[str, ...] = OPEN_LICENCES
    """Licences of the *photos* taken (iNaturalist's codes); a photo without a licence is all rights reserved."""
    photo_size: PhotoSize = "medium"
    """Longest side: 75, 100, 240, 500, 1024, 2048 pixels."""
    photos: Literal["first", "all"] = "first"
    """Photos taken of each observation."""
