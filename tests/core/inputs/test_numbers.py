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


def test_a_seed_is_whole_and_any_means_one_of_all() -> None:
    assert [inputs.seed(value) for value in (0, 7.0)] == [0, 7]
    assert len({inputs.seed(-1) for _ in range(5)}) > 1
    values: list[Any] = [-2, 2**31, 1.5, float("nan"), float("inf"), None, "3"]
    for value in values:
        with pytest.raises(Refusal) as refused:
            inputs.seed(value)
        assert refused.value.code == "bad_seed"
