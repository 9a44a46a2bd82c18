"""Numbers from outside: those of a slider, of a link, of the caller of an endpoint."""

from __future__ import annotations

from typing import Any

from core.errors import Refusal


def number(name: str, value: Any, low: float = 0, high: float = 1) -> float:
    """The number itself where it lies between its limits.

    Raises:
        Refusal: "out_of_range" for any other number, and for what is no number.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        raise Refusal("out_of_range", name=name, low=low, high=high, value=str(value)[:20])
    return float(value)
