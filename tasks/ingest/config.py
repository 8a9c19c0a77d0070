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
    min_contrast: float = Field(1.0, ge=0, le=127.5)
    """Standard deviation of the gray pixels (0 to 127.5) below which an image is refused as flat; 0 keeps them."""
    max_side: int | None = Field(None, ge=32)
    """Longer side above which an image is stored shrunk, in pixels; none = every original is stored as it came."""
    quality: int = Field(92, ge=1, le=100)
    """JPEG quality of images that `max_side` shrinks."""
    connections: int = Field(64, ge=1, le=1024)
    """Requests under way at once in one process."""
    per_host: int = Field(4, ge=1, le=256)
    """Requests under way at once to one host."""
    rate: float = Field(10.0, gt=0)
    """Requests a second to one host, at the most; a host that asks for less gets less. After a quiet time a second's
    worth, but no more than `per_host`, may be sent at once."""
    robots_txt: bool = True
    """Obey the robots.txt of each host, for the name `harvestman`."""
    robots_tag: bool = True
    """Refuse images whose `X-Robots-Tag` header says noai, noimageai, noindex, noimageindex or none."""
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
    retry_after_hours: float = Field(24.0, ge=0, le=876_000)
    """Hours after which a run asks again for addresses whose failure may have been passing."""
