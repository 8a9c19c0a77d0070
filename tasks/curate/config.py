"""What a recipe says of duplicates and label conflicts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.core.config import StageConfig


class NearDuplicates(StageConfig):
    """How alike two images must be to count as one."""

    radius: int = Field(10, ge=0, le=16)
    """Differing bits of the 64-bit DCT hash up to which a pair is a candidate."""
    verify_radius: int = Field(40, ge=0, le=256)
    """Differing bits of the 256-bit DCT hash up to which a candidate pair is confirmed."""
    min_contrast: float = Field(4.0, ge=0)
    """Standard deviation of the gray pixels (0-127.5) below which an image is too flat to be compared."""
    keep: Literal["best", "all"] = "best"
    """`best` keeps the largest of a cluster; `all` keeps every member, together on one side of the split."""


class CurateConfig(StageConfig):
    """The `curate:` block of a recipe."""

    near_duplicates: NearDuplicates = NearDuplicates()
    """Near-duplicate search."""
    conflicts: Literal["quarantine"] = "quarantine"
    """Clusters that span classes: all members are set aside and listed."""
