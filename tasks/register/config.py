"""What a recipe says of the model registry."""

from __future__ import annotations

from pydantic import Field

from tasks.core.config import StageConfig


class RegisterConfig(StageConfig):
    """The `register:` block of a recipe."""

    name: str | None = Field(None, pattern=r"^[\w.-]+$")
    """Registered model's name; none = the recipe's name."""
