from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from tasks.ingest.config import IngestConfig

_FLOATS = [name for name, field in IngestConfig.model_fields.items() if field.annotation is float]


@pytest.mark.parametrize("value", [math.inf, math.nan])
@pytest.mark.parametrize("field", _FLOATS)
def test_nothing_is_waited_for_or_asked_without_an_end(field: str, value: float) -> None:
    assert {"rate", "timeout", "max_wait", "retry_after_hours", "min_contrast"} <= set(_FLOATS)
    with pytest.raises(ValidationError, match="finite number"):
        IngestConfig.model_validate({field: value})


def test_the_longest_time_between_two_tries_is_a_date_yet() -> None:
    longest = IngestConfig(retry_after_hours=876_000).retry_after_hours
    assert datetime.now(UTC) - timedelta(hours=longest) < datetime.now(UTC)
    with pytest.raises(ValidationError, match="less than or equal"):
        IngestConfig(retry_after_hours=1e9)
