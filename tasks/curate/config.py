"""What a recipe says of duplicates, rules, label conflicts and a person's decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from tasks.core.config import StageConfig


class NearDuplicates(StageConfig):
    """How alike two images must be to count as one."""

    radius: int = Field(12, ge=0, le=16)
    """Differing bits of the 64-bit DCT hash up to which a pair is a candidate."""
    verify_radius: int = Field(60, ge=0, le=256)
    """Differing bits of the 256-bit DCT hash up to which a candidate pair is confirmed; 40 for frames of one scene."""
    min_contrast: float = Field(4.0, ge=0)
    """Standard deviation of the gray pixels (0-127.5) below which an image is too flat to be compared."""
    invariance: Literal["none", "mirror", "rotation"] = "none"
    """`mirror` finds mirrored copies too, `rotation` also those turned by quarter turns. Leave it out where the side
    tells the class."""
    keep: Literal["best", "all"] = "best"
    """`best` keeps the largest of a cluster, or the one an earlier version has; `all` keeps every member, together on
    one side of the split."""


class Rules(StageConfig):
    """What else is set aside; one file each in tasks/curate/rules."""

    placeholder_addresses: int = Field(10, ge=0)
    """The same file under so many addresses is a placeholder (`placeholder`); 0: never."""
    placeholder_classes: int = Field(3, ge=0)
    """The same file in so many classes is a placeholder (`placeholder`); 0: never."""
    min_side: int = Field(0, ge=0)
    """Pixels of the shorter side below which an image is `too-small`. The recipe's `ingest.min_side` counts too, also
    for images stored before it was raised."""
    max_aspect: float = Field(0, ge=0)
    """Longer side divided by the shorter one above which an image is `extreme-aspect`; 0: never."""
    gray: Literal["keep", "refuse"] = "keep"
    """`refuse` sets aside images without colour (`gray`), as drawings and scans are. Reads each image once more."""
    min_contrast: float = Field(0, ge=0)
    """Standard deviation of the gray pixels (0-127.5) below which an image is `blank`; 0: never."""
    per_class: int = Field(0, ge=0)
    """Images kept of a class at most, the others are `over-cap`; 0: all."""

    @field_validator("placeholder_addresses", "placeholder_classes", "max_aspect")
    @classmethod
    def _spares_some(cls, limit: float, info: ValidationInfo) -> float:
        least = 1 if info.field_name == "max_aspect" else 2
        if 0 < limit < least:
            raise ValueError(f"must be 0 (never) or at least {least}; less sets aside every image")
        return limit


class CurateConfig(StageConfig):
    """The `curate:` block of a recipe."""

    near_duplicates: NearDuplicates = NearDuplicates()
    """Near-duplicate search."""
    rules: Rules = Rules()
    """What else is set aside."""
    conflicts: Literal["quarantine", "majority", "keep-first"] = "quarantine"
    """Clusters that span classes, always listed. `quarantine`: all members are set aside. `majority`: the class with
    most addresses keeps its images, a tie is quarantined. `keep-first`: the class that stands first in the recipe keeps
    its images."""
    decisions: tuple[Path, ...] = ()
    """CSV or Parquet files of a person's verdicts, columns sha256, verdict (keep, reject, relabel), label, by, at;
    relative to the recipe. Beside them count those of `harvestman decide`."""
    review: Literal["none", "required"] = "none"
    """`required`: the run waits until a person has decided on every label conflict, and on every image that is still
    kept among the first `suspects` of the newest ranking. A decision stands: what was kept once is not asked again."""
    suspects: int = Field(50, ge=0)
    """Images that look mislabelled or off-topic, by a model's features after a training: so many of the ranking's first
    are listed. None moves up for one that has been decided upon."""
