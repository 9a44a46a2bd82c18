"""Settings of the lessons that train live, and the seat that only one of them has at a time; without torch."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from core import runtime
from core.classroom.world.concepts import find
from core.errors import Refusal

# What a lesson starts with, in this order; every concept of the classroom may be chosen.
NAMES = (
    "sheep", "dog", "cat", "duck", "car", "airplane", "tree", "house", "rose", "eye", "chair", "key",
    "red envelope", "teddy bear", "balloon", "umbrella", "horse", "banana", "guitar", "bicycle", "rocket", "camel",
    "star", "book",
)  # fmt: skip
LIMITS = {
    "concepts": (2, 24),
    "minutes": (0.05, 5),
    "batch": (4, 128),
    "learning_rate": (1e-5, 0.03),
    "scale": (1, 100),
}
EXAM = 40  # held-out scenes a concept in the last measurement
GRACE = 30  # seconds after its time when a lesson that was never closed gives up its seat


def check_limits(values: Mapping[str, Any], limits: Mapping[str, tuple[float, float]]) -> None:
    """Raises Refusal("lesson_range") for the first of the values that is out of its limits."""
    for name, (low, high) in limits.items():
        if name in values and not low <= values[name] <= high:
            raise Refusal("lesson_range", name=name, low=low, high=high, value=values[name])


@dataclass(frozen=True)
class LiveSettings:
    """One lesson. Numbers outside `LIMITS` are refused.

    concepts: N indices, the first sixteen of `NAMES` when empty. language: "en" or "zh". scale: exp(t) at the start,
    and for good unless `learn_scale`. exam: held-out scenes a concept in the last measurement.
    """

    concepts: tuple[int, ...] = ()
    language: str = "en"
    minutes: float = 2.0
    batch: int = 48
    learning_rate: float = 1.5e-3
    learn_scale: bool = True
    scale: float = 10.0
    seed: int = 0
    exam: int = EXAM

    def chosen(self) -> tuple[int, ...]:
        """The N concepts, each once."""
        return tuple(dict.fromkeys(self.concepts)) or default_concepts(16)

    def check(self) -> None:
        """Raises Refusal("lesson_range") for a number out of its limits."""
        check_limits({**vars(self), "concepts": len(self.chosen())}, LIMITS)


@dataclass(frozen=True)
class MaskSettings:
    """One lesson that draws masks (`core.classroom.recipes.common.live_masks`). Numbers outside `LIMITS` are refused.

    paper: "lseg" or "groupvit". language: "en" or "zh", of the names on the mask.
    """

    paper: str
    minutes: float = 2.0
    language: str = "en"
    seed: int = 0

    def check(self) -> None:
        """Raises Refusal("lesson_range") for minutes out of their limits."""
        check_limits(vars(self), LIMITS)


def default_concepts(number: int) -> tuple[int, ...]:
    """Indices of the first `number` of `NAMES`."""
    return tuple(c.index for c in map(find, NAMES[:number]) if c is not None)


def off() -> bool:
    """Whether this server, which many share, trains nothing: a Space."""
    return runtime.on_space() or runtime.zero_gpu()


_lock = threading.Lock()
_tickets = count()
_seat: dict[int, float] = {}  # ticket -> when its lesson is over at the latest


@contextmanager
def seat(minutes: float) -> Iterator[None]:
    """The one place for a lesson in this process; a lesson left behind by a crash frees it after its time.

    Raises:
        Refusal: "lesson_off" on a Space, "lesson_running" while somebody else's lesson runs.
    """
    if off():
        raise Refusal("lesson_off")
    with _lock:
        now = time.monotonic()
        if _seat and (left := max(_seat.values()) - now) > 0:
            raise Refusal("lesson_running", minutes=max(1, math.ceil((left - GRACE) / 60)))
        _seat.clear()
        ticket = next(_tickets)
        _seat[ticket] = now + 60 * minutes + GRACE
    try:
        yield
    finally:
        with _lock:
            _seat.pop(ticket, None)
