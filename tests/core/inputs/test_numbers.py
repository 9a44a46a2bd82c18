"""Numbers from outside: inside their limits, or refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from core import inputs
from core.errors import Refusal


def test_a_number_inside_its_limits_is_itself() -> None:
    assert [inputs.number("threshold", value) for value in (0, 0.25, 1)] == [0.0, 0.25, 1.0]
    assert inputs.number("seed", 9999, 0, 9999) == 9999


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan"), float("inf"), None, True, "0.5", [0.5]])
def test_everything_else_is_refused_by_name(value: Any) -> None:
    with pytest.raises(Refusal, match="threshold must be a number from 0 to 1") as refused:
        inputs.number("threshold", value)
    assert refused.value.code == "out_of_range"
