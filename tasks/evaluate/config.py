"""What a recipe says of judging the model."""

from __future__ import annotations

from pydantic import Field

from tasks.core.config import StageConfig


class EvaluateConfig(StageConfig):
    """The `evaluate:` block of a recipe."""

    mistakes: int = Field(24, ge=0, le=200)
    """Most confident mistakes of the test split shown as pictures."""
