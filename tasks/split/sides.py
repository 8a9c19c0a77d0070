"""The sides an image can be put on: the splits of a recipe, or the test split and the folds.

Owns their order, their shares and the name of the line of versions that share them. Reads and writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from tasks.core.fingerprint import fingerprint
from tasks.split.config import SplitConfig

_SIDES = {"side": pl.Int8, "split": pl.String, "fold": pl.Int8}


@dataclass(frozen=True)
class Side:
    """A place to put images."""

    split: str
    fold: int | None
    """Of a cross-validation; None for test images and without one."""
    share: float
    """Of the images of each class, 0 to 1."""

    def __str__(self) -> str:
        return self.split if self.fold is None else f"fold {self.fold} ({self.split})"


def sides_of(config: SplitConfig) -> tuple[Side, ...]:
    """Return the sides, the strongest first: test, val, train; with folds test, fold 0 (val), fold 1 and so on."""
    if config.folds:
        share = (1 - config.test) / config.folds
        folds = [Side("train" if number else "val", number, share) for number in range(config.folds)]
        return (Side("test", None, config.test), *folds)
    shares = {"test": config.test, "val": config.val, "train": config.train}
    return tuple(Side(split, None, share) for split, share in shares.items() if split in config.splits)


def sides_table(config: SplitConfig) -> pl.DataFrame:
    """Return the sides as a table: side (their number, 0 the strongest), split, fold."""
    rows = [(number, side.split, side.fold) for number, side in enumerate(sides_of(config))]
    return pl.DataFrame(rows, schema=_SIDES, orient="row")


def line_of(config: SplitConfig) -> str:
    """Name the line of versions whose images keep their sides: those of one seed, folds, splits and `group_by`.

    The first version of a line deals all images; each later one leaves them where they are and deals only what is new.
    Change what names the line, and another begins: its sides have nothing to do with those of the first, and who comes
    back to the old settings comes back to the old sides.

    Ratios are no part of it: they say where new images go. `group_by` is: what it ties now may long stand on several
    sides, and would have to be left out.
    """
    return fingerprint(config.seed, config.folds, config.splits, sorted(set(config.group_by)))
