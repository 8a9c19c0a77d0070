"""What a recipe says of search engines for pictures."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from tasks.discover.fields import OPEN_LICENCES, Country, Language, SomeWords, SourceConfig, Words


class SearchSource(SourceConfig):
    """A search engine for pictures: its answers change, so what was found once is kept."""

    REFRESH: ClassVar[str] = "appends"

    query: SomeWords
    """What is searched; several queries are asked one after the other."""
    limit: int = Field(200, ge=1, le=10_000)
    """Pictures of each query taken at the most, each time it is asked."""
    refresh_days: float = Field(7, ge=0, le=36_500)
    """Days until the queries are asked again; 0 = at every run."""

    @property
    def most(self) -> None:
        """None: a search sees to its limit itself, which is one of each query."""

    @property
    def queries(self) -> tuple[str, ...]:
        """The queries, in their order."""
        return (self.query,) if isinstance(self.query, str) else self.query


class GoogleSource(SearchSource):
    """Google Images, through one of three paid interfaces; keys come from the environment or Prefect Secrets."""

    source: Literal["google"]
    provider: Literal["custom_search", "serpapi", "serper"] = "serper"
    """Whose interface: Google's own (no new customers, ends on 2027-01-01), serpapi.com or serper.dev."""
    languages: tuple[Language, ...] = ()
    """Languages (`pt`, `pt-BR`); each query is asked once in each. None = the interface's default."""
    country: Country | None = None
    """Country of two letters from which the search seems to come."""
    licences: tuple[str, ...] | Literal["any"] = "any"
    """`any`, or Creative Commons slugs: then Google is asked for pictures that claim one. It tells no licence."""
    min_side: int = Field(0, ge=0)
    """Pixels; results whose stated shorter side is below are left out."""
    thumbnails: bool = False
    """Take Google's small copies where a result has no other address."""


class OpenverseSource(SearchSource):
    """Openly licensed pictures of Openverse; no key needed."""

    source: Literal["openverse"]
    licences: tuple[str, ...] = OPEN_LICENCES
    """Licences taken."""
    providers: tuple[str, ...] = ()
    """Openverse's names of collections (`flickr`, `wikimedia`, …); none = all."""


class WikimediaCommonsSource(SearchSource):
    """Pictures of Wikimedia Commons, by full-text search or by category; no key needed."""

    source: Literal["wikimedia_commons"]
    query: Words = ()
    """What is searched; several queries are asked one after the other."""
    category: Words = ()
    """Categories whose files are taken, without `Category:`."""
    licences: tuple[str, ...] = (*OPEN_LICENCES, "public-domain")
    """Licences taken."""
    width: Literal[250, 330, 500, 960, 1280, 1920, 3840] = 960
    """Pixels; wider pictures are fetched scaled down to this width by Commons itself, which makes no other widths."""

    @model_validator(mode="after")
    def _something(self) -> WikimediaCommonsSource:
        if not self.queries and not self.categories:
            raise ValueError("give a query or a category")
        return self

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories, in their order."""
        return (self.category,) if isinstance(self.category, str) else self.category
