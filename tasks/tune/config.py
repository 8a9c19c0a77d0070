"""What a recipe says of the search for hyperparameters."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from tasks.core.config import StageConfig

Scalar = bool | int | float | str


class Range(StageConfig):
    """Numbers from `min` to `max`, both included."""

    min: int | float
    """Smallest value."""
    max: int | float
    """Largest value."""
    step: int | float | None = None
    """Distance between values; none = any value between."""
    log: bool = False
    """Sample the logarithm."""

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if self.min >= self.max:
            raise ValueError(f"min must be below max, here they are {self.min:g} and {self.max:g}")
        if self.log and self.min <= 0:
            raise ValueError(f"log needs a min above 0, here it is {self.min:g}")
        return self


class Choice(StageConfig):
    """One of the values listed."""

    choice: tuple[Scalar | tuple[int, ...], ...] = Field(..., min_length=2)
    """Values of one type; a list of numbers is one value (`model.head.dense`)."""

    @field_validator("choice")
    @classmethod
    def _one_type(cls, values: tuple[Scalar | tuple[int, ...], ...]) -> tuple[Scalar | tuple[int, ...], ...]:
        kinds = {type(value) for value in values}
        if kinds == {int, float}:
            return tuple(float(value) for value in values if not isinstance(value, str | tuple))
        if len(kinds) > 1:
            named = ", ".join(f"{value!r} is {type(value).__name__}" for value in values)
            raise ValueError(f"the values must be of one type: {named} (YAML reads 1e-3 as text; write 1.0e-3)")
        return values


class TuneConfig(StageConfig):
    """The `tune:` block of a recipe."""

    tuner: Literal["random", "bayesian", "hyperband", "grid"] = "random"
    """Keras Tuner's oracle that proposes trials."""
    trials: int = Field(10, ge=1)
    """Trials at the most."""
    objective: Literal["val_macro_f1", "val_accuracy", "val_loss"] = "val_macro_f1"
    """Figure of the validation split that decides, at the epoch whose weights a trial keeps."""
    space: dict[str, Range | Choice] = Field(default_factory=dict)
    """Dotted recipe field (model.…, augment.…, balance.…, train.…) to a range or a choice."""
    max_failures: int = Field(3, ge=1)
    """Trials failing in a row after which the search stops."""
    seed: int = 1337
    """Seed of the oracle."""

    @field_validator("space")
    @classmethod
    def _tunable(cls, space: dict[str, Range | Choice]) -> dict[str, Range | Choice]:
        for dotted in space:
            if dotted.split(".")[0] not in {"model", "augment", "balance", "train"}:
                raise ValueError(f"{dotted} cannot be tuned; fields of model, augment, balance and train can")
        return space
