"""What a recipe says of the places images come from: one model a source, told apart by `source`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from tasks.core.config import StageConfig
from tasks.discover.fields import (
    GRADES,
    OPEN_LICENCES,
    Country,
    Grade,
    LabelRule,
    Names,
    ObservationPhotos,
    PhotoSize,
    PlaceAndTime,
    Rank,
    SomeNames,
    SomePaths,
    SourceConfig,
    Spread,
    TableSource,
    as_rule,
    with_group,
)
from tasks.discover.searches import GoogleSource, OpenverseSource, WikimediaCommonsSource


class UrlListSource(TableSource):
    """Image addresses in a text file, one a line, or in a table: CSV, TSV, JSON lines or Parquet."""

    source: Literal["url_list"]
    path: SomePaths
    """The list, or several; a relative path starts at the recipe's folder."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Column of candidates (url, licence, creator, page_url, source_id, group_id, taxon, observed_on, latitude,
    longitude) to the column of the table that holds it, where the names differ."""


class FolderSource(SourceConfig):
    """Images in a folder of this machine, read in place."""

    SEVERAL: ClassVar[bool] = True

    source: Literal["folder"]
    path: Path
    """The folder; images in its sub-folders count too."""
    label: LabelRule | None = None
    """Under `sources:`, {pattern} searched in the path below the folder; without it an image's class is the name
    of the sub-folder it lies in."""
    group: str | None = None
    """Regular expression whose first group, searched in the path below the folder, names what belongs together
    (the frames of one film, the photos of one animal)."""
    licence: str | None = None
    """Licence of all the images."""
    creator: str | None = None
    """Who made them."""

    @field_validator("label")
    @classmethod
    def _by_path(cls, label: LabelRule | None) -> LabelRule | None:
        if label is not None and (label.column or label.taxa):
            raise ValueError("a folder has no columns: give {pattern}, or leave `label:` out")
        return label

    @field_validator("group")
    @classmethod
    def _group(cls, group: str | None) -> str | None:
        return with_group(group)

    _short = field_validator("label", mode="before")(as_rule)


class ArchiveSource(TableSource):
    """Images in a zip or tar file (plain, gz, bz2 or xz) of this machine, with or without a table of them."""

    source: Literal["archive"]
    path: Path
    """The archive."""
    table: Path | None = None
    """CSV, TSV, JSON lines or Parquet with a row an image: a file beside the recipe, or the path of a member
    of the archive. None = the class is the name of the folder an image lies in."""
    image: str = "{image}"
    """Where the image of a row lies in the archive: column names in braces, e.g. `imgs/{object_id}.png`. A member
    fits when its path ends with it."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Column of candidates (licence, creator, page_url, source_id, group_id, taxon, observed_on, latitude,
    longitude) to the column of the table that holds it, where the names differ."""
    licence: str | None = None
    """Licence of all the images whose row states none."""

    @field_validator("image")
    @classmethod
    def _image(cls, image: str) -> str:
        if not re.search(r"\{[^{}]+\}", image):
            raise ValueError("it needs a column name in braces, e.g. {image}")
        return image

    @model_validator(mode="after")
    def _of_the_table(self) -> ArchiveSource:
        told = self.label is not None and bool(self.label.column or self.label.taxa)
        if self.table is None and (told or self.where or self.columns):
            raise ValueError("label.column, label.taxa, where and columns speak of a table: give `table:`")
        return self


class INaturalistSource(ObservationPhotos):
    """Photos of observations of one or more taxa, through the iNaturalist API v1."""

    REFRESH: ClassVar[str] = "changes"

    source: Literal["inaturalist"]
    taxon: SomeNames
    """Scientific name or iNaturalist taxon id; a list takes all of them into this class."""
    place: str | None = None
    """Name of a place as iNaturalist has it, e.g. `Portugal`."""
    place_id: int | None = None
    """iNaturalist place id; none = the whole world."""
    limit: int = Field(1000, ge=1, le=100_000)
    """Photos taken at the most."""
    spread: Spread = "none"
    """Spread `limit` evenly over taxa or observers; none = the oldest observations first."""
    refresh_days: float = Field(30, ge=0, le=36_500)
    """Days until everything is asked anew, so that withdrawn photos go; in between only changes are asked."""

    @model_validator(mode="after")
    def _one_place(self) -> INaturalistSource:
        if self.place is not None and self.place_id is not None:
            raise ValueError("give place or place_id, not both")
        return self


class INaturalistExportSource(TableSource):
    """A CSV file, or the zip as delivered, of iNaturalist's export page."""

    source: Literal["inaturalist_export"]
    path: SomePaths
    """The file, or several."""
    taxon: Names = ()
    """Take only rows of these taxa (scientific names or ids, of any rank that has a column); none = all."""
    quality_grade: tuple[Grade, ...] = GRADES
    """Quality grades taken, where the file has that column."""
    licences: tuple[str, ...] | Literal["any"] = "any"
    """Licences taken. The column is the observation's licence, which the photo's may differ from."""
    photo_size: PhotoSize = "medium"
    """Longest side: 75, 100, 240, 500, 1024, 2048 pixels."""
    limit: int | None = Field(None, ge=1)
    """Photos of a class taken at the most."""
    spread: Spread = "none"
    """Spread `limit` evenly over taxa or observers; none = in the order of the addresses."""


class INaturalistOpenDataSource(ObservationPhotos):
    """iNaturalist's open data: four tables of all openly licensed photos, as files or from S3."""

    SEVERAL: ClassVar[bool] = True

    source: Literal["inaturalist_open_data"]
    path: Path | str
    """Folder with photos, observations, taxa and observers (.csv, .csv.gz or .parquet), or an s3:// address."""
    taxon: SomeNames
    """Scientific name or taxon id; all descendants count."""
    label: Rank | LabelRule | None = None
    """Under `sources:`, the rank whose taxon is the class (`family`), or {taxa}."""
    limit: int | None = Field(None, ge=1)
    """Photos of a class taken at the most."""
    spread: Spread = "none"
    """Spread `limit` evenly over taxa or observers; none = the oldest observations first."""


class GbifSource(PlaceAndTime):
    """Pictures of occurrences, through GBIF's occurrence search."""

    SEVERAL: ClassVar[bool] = True
    REFRESH: ClassVar[str] = "changes"

    source: Literal["gbif"]
    taxon: SomeNames
    """Scientific name or GBIF taxon key; a list takes all of them."""
    label: Rank | LabelRule | None = None
    """Under `sources:`, the rank whose taxon is the class (`family`), or {taxa}."""
    country: tuple[Country, ...] = ()
    """ISO 3166 codes of two letters; none = the whole world."""
    basis_of_record: tuple[str, ...] = ()
    """GBIF's words (HUMAN_OBSERVATION, PRESERVED_SPECIMEN, …); none = all."""
    licences: tuple[str, ...] | Literal["any"] = OPEN_LICENCES
    """Licences of the pictures taken."""
    photo_size: PhotoSize = "medium"
    """Longest side of photos that lie at iNaturalist: 75, 100, 240, 500, 1024, 2048 pixels; others come as they are."""
    photos: Literal["first", "all"] = "first"
    """Pictures taken of each occurrence."""
    limit: int = Field(1000, ge=1, le=100_000)
    """Pictures of a class taken at the most."""
    spread: Spread = "none"
    """Spread `limit` evenly over taxa or observers; none = in GBIF's order."""
    refresh_days: float = Field(30, ge=0, le=36_500)
    """Days until everything is asked anew; in between only changes are asked."""


class DarwinCoreSource(TableSource):
    """A Darwin Core Archive (GBIF download, iNaturalist, museum): the zip, its folder, or one multimedia table."""

    source: Literal["darwin_core"]
    path: Path
    """The archive (zip), its unpacked folder, or a file like multimedia.txt."""
    taxon: Names = ()
    """Take only rows of these taxa (scientific names or keys, of any rank the archive has); none = all."""
    licences: tuple[str, ...] | Literal["any"] = OPEN_LICENCES
    """Licences of the pictures taken."""
    photo_size: PhotoSize = "medium"
    """Longest side of photos that lie at iNaturalist: 75, 100, 240, 500, 1024, 2048 pixels; others come as they are."""
    photos: Literal["first", "all"] = "first"
    """Pictures taken of each occurrence."""
    limit: int | None = Field(None, ge=1)
    """Pictures of a class taken at the most."""
    spread: Spread = "none"
    """Spread `limit` evenly over taxa or observers; none = in the order of the addresses."""


AnySource = (
    UrlListSource
    | FolderSource
    | ArchiveSource
    | INaturalistSource
    | INaturalistExportSource
    | INaturalistOpenDataSource
    | GbifSource
    | DarwinCoreSource
    | GoogleSource
    | OpenverseSource
    | WikimediaCommonsSource
)
Source = Annotated[AnySource, Field(discriminator="source")]


class LabelsConfig(StageConfig):
    """What is done with the classes."""

    min_images: int = Field(1, ge=1)
    """Addresses a class needs. A class of `classes:` with fewer stops the run; one that a source of `sources:` names
    is left out."""
    drop: tuple[str, ...] = ()
    """Classes of `sources:` that are not wanted; their rows are counted and left out."""
    merge: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """New class to the classes of `sources:` it is made of."""

    @model_validator(mode="after")
    def _once(self) -> LabelsConfig:
        parts = [part for whole in self.merge.values() for part in whole] + list(self.drop)
        twice = sorted({part for part in parts if parts.count(part) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} stands twice in merge and drop")
        return self
