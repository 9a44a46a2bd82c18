"""The loop of a lesson that trains live: steps until the time is over, and every few seconds a look at what is learned."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from core import runtime

Measured = TypeVar("Measured")


@dataclass(frozen=True)
class Look(Generic[Measured]):
    """Where a lesson stands.

    seconds, left: of its time. loss: the mean of the steps since the last look, None before the first step. measured: what the
    lesson's exam says. done, stopped: whether this is the last look, and whether a stop ended the lesson.
    """

    seconds: float
    left: float
    step: int
    loss: float | None
    measured: Measured
    done: bool
    stopped: bool


def looks(
    trainer: Any, measure: Callable[[], Measured], minutes: float, every: float, cancel: runtime.Cancel
) -> Iterator[Look[Measured]]:
    """Trains until the time is over or `cancel` is set, within one step; the last look says which.

    Args:
        trainer: a `Run` that was begun: `advance` makes a step and returns its losses.
        measure: the exam of the model as it is now; it and each step take their turn on the processor.
        every: seconds between two looks.
    """
    turn, budget, start = runtime.semaphore("cpu"), 60 * minutes, time.monotonic()
    losses: list[float] = []

    def look(done: bool) -> Look[Measured]:
        with turn:
            measured = measure()
        seconds = time.monotonic() - start
        loss = sum(losses) / len(losses) if losses else None
        losses.clear()
        return Look(seconds, max(0.0, budget - seconds), trainer.step, loss, measured, done, cancel.is_set())

    yield look(done=False)
    shown = time.monotonic()
    while time.monotonic() - start < budget and not cancel.is_set():
        trainer.seconds = time.monotonic() - start
        with turn:
            losses.append(trainer.advance()["loss"])
        if time.monotonic() - shown >= every:
            yield look(done=False)
            shown = time.monotonic()
    yield look(done=True)
