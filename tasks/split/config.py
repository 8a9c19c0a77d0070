"""What a recipe says of train, validation and test."""

from __future__ import annotations

from pydantic import Field, model_validator

from tasks.core.config import StageConfig

_TOLERANCE = 1e-6


class SplitConfig(StageConfig):
    """The `split:` block of a recipe."""

    train: float = Field(0.7, gt=0, lt=1)
    """Share of the images to train on."""
    val: float = Field(0.15, gt=0, lt=1)
    """Share of the images to choose by."""
    test: float = Field(0.15, gt=0, lt=1)
    """Share of the images to judge by."""
    seed: int = 1337
    """Seed of the shuffle."""

    @model_validator(mode="after")
    def _sum_is_one(self) -> SplitConfig:
        total = self.train + self.val + self.test
        if abs(total - 1) > _TOLERANCE:
            raise ValueError(f"train + val + test must be 1, here they are {total:g}")
        return self
