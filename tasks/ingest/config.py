"""What a recipe says of fetching and inspecting."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, ByteSize, Field

from tasks.core.config import StageConfig


def _one_or_many(value: object) -> object:
    return value.split(",") if isinstance(value, str) and value != "any" else value


class IngestConfig(StageConfig):
    """The `ingest:` block of a recipe."""

    min_side: int = Field(64, ge=1)
    """Shorter side below which an image is refused, in pixels."""
    max_bytes: ByteSize = ByteSize(20_000_000)
    """Body size above which an image is refused; "20MB" and the like."""
    max_pixels: int = Field(100_000_000, ge=1, le=178_956_970)
    """Width x height above which an image is refused undecoded, in pixels; at the most what Pillow opens."""
    licences: Annotated[Literal["any"] | tuple[str, ...], BeforeValidator(_one_or_many)] = "any"
    """Licence slugs accepted, or `any`. With a list, an address without a known licence is refused."""
    connections: int = Field(32, ge=1, le=1024)
    """Requests under way at once in one process."""
    per_host: int = Field(4, ge=1, le=256)
    """Requests under way at once to one host."""
    timeout: float = Field(20.0, gt=0)
    """Seconds without a byte after which a request is given up; a whole body may take three times as long."""
    attempts: int = Field(4, ge=1, le=10)
    """Times an address is asked before its failure is written down."""
    max_wait: float = Field(60.0, ge=0)
    """Longest wait before the next attempt, in seconds; a server that asks for more is asked again on a later run."""
    max_redirects: int = Field(5, ge=0, le=20)
    """Redirects followed."""
    batch_size: int = Field(256, ge=1, le=5000)
    """Addresses in one Prefect task."""
    retry_after_hours: float = Field(24.0, ge=0)
    """Hours after which a run asks again for addresses whose failure may have been passing."""
