"""What a recipe says of the places images come from: one model a source, told apart by `source`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tasks.core.config import StageConfig

OPEN_LICENCES = ("cc0", "cc-by", "cc-by-sa", "cc-by-nd", "cc-by-nc", "cc-by-nc-sa", "cc-by-nc-nd")


class UrlListSource(StageConfig):
    """A hand-made list of image addresses, one a line."""

    source: Literal["url_list"]
    path: Path
    """The list; a relative path starts at the recipe's folder."""


class INaturalistSource(StageConfig):
    """Photos of observations of one or more taxa, through the iNaturalist API v1."""

    source: Literal["inaturalist"]
    taxon: str | int | tuple[str | int, ...]
    """Scientific name or iNaturalist taxon id; a list takes all of them into this class."""
    place_id: int | None = None
    """iNaturalist place id; none = the whole world."""
    quality_grade: tuple[Literal["research", "needs_id", "casual"], ...] = ("research",)
    """Quality grades of the observations taken."""
    licences: tuple[str, ...] = OPEN_LICENCES
    """Licences of the *photos* taken (iNaturalist's codes); a photo without a licence is all rights reserved."""
    photo_size: Literal["square", "thumb", "small", "medium", "large", "original"] = "medium"
    """Longest side: 75, 100, 240, 500, 1024, 2048 pixels."""
    photos: Literal["first", "all"] = "first"
    """Photos taken of each observation."""
    limit: int = Field(1000, ge=1, le=100_000)
    """Photos taken at the most."""


Source = Annotated[UrlListSource | INaturalistSource, Field(discriminator="source")]
