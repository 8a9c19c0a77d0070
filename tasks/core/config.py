"""The base of every stage's configuration: frozen, and strict about names."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StageConfig(BaseModel):
    """A frozen group of recipe fields. Unknown names, infinities and NaN are refused; defaults are checked too."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )
