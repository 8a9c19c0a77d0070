from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from tasks.core.config import StageConfig


class _Config(StageConfig):
    number: float = 1.0
    maybe: float | None = None
    several: tuple[int | float, ...] = ()


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, "inf", "nan"])
@pytest.mark.parametrize("field", ["number", "maybe", "several"])
def test_no_number_of_a_recipe_is_infinite_or_none_at_all(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        _Config.model_validate({field: [value] if field == "several" else value})
