"""What a recipe says of train, validation and test."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tasks.core.config import StageConfig

_TOLERANCE = 1e-6

GroupColumn = Literal["creator", "place", "page_url", "observed_on", "source", "taxon", "host"]


class SplitConfig(StageConfig):
    """The `split:` block of a recipe."""

    train: float = Field(0.7, gt=0, lt=1)
    """Share of the images to train on."""
    val: float = Field(0.15, ge=0, lt=1)
    """Share of the images to choose by; 0: none."""
    test: float = Field(0.15, gt=0, lt=1)
    """Share of the images to judge by."""
    folds: int = Field(0, ge=0, le=100)
    """Folds of a cross-validation, dealt from all images but the test ones: column `fold` of the manifest. Fold 0 is
    the folder val, whatever `val` says. 0: none, else at least 2."""
    group_by: tuple[GroupColumn, ...] = ()
    """What must not be on two sides, besides near-duplicates and observations: images of one creator, say. `place` is a
    square of 0.01 degrees, `host` the site of the address."""
    seed: int = 1337
    """Seed of the shuffle. Images keep their split from version to version; another seed deals them anew."""

    @model_validator(mode="after")
    def _sum_is_one(self) -> SplitConfig:
        total = self.train + self.val + self.test
        if abs(total - 1) > _TOLERANCE:
            raise ValueError(f"train + val + test must be 1, here they are {total:g}")
        if self.folds == 1:
            raise ValueError("folds must be 0 (none) or at least 2, here they are 1")
        return self

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that hold images."""
        return ("train", "val", "test") if self.val or self.folds else ("train", "test")
