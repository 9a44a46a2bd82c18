"""A download in steps: what it has counted, when it reports, and how it waits. A stop ends it at the next step."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from core.runtime import Cancel

R = TypeVar("R")
REPORT = 0.1  # seconds from one report to the next
WAIT = 0.1  # seconds: the longest wait during which a stop is not noticed


@dataclass(frozen=True)
class Progress:
    """How far a download is; bytes count over the whole checkpoint."""

    file: str
    done: int
    total: int
    seconds: float
    rate: float  # bytes per second, of what this call fetched
    eta: float | None  # seconds; None before the first byte


Steps: TypeAlias = Generator[Progress, None, R]


class Meter:
    """The counts of a download; its `check` and `report` end it once a stop was asked for."""

    def __init__(self, cancel: Cancel | None = None) -> None:
        self.cancel = cancel
        self.file = ""
        self.done = 0
        self.total = 0
        self.received = 0  # by this call, over the network
        self.started = time.monotonic()
        self._reported = float("-inf")

    def check(self) -> None:
        """Raises Refusal("cancelled") after a stop."""
        if self.cancel is not None:
            self.cancel.check()

    def report(self) -> Iterator[Progress]:
        """Checks, then gives the counts if the last report is `REPORT` seconds old."""
        self.check()
        now = time.monotonic()
        if self.total and now - self._reported >= REPORT:
            self._reported = now
            yield self.progress()
            self.check()

    def wait(self, seconds: float, ready: Callable[[float], object]) -> Steps[bool]:
        """Reports until `ready` is true, or for some seconds; whether it became true.

        Args:
            seconds: how long.
            ready: called with the seconds that it may wait.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if ready(min(left, WAIT)):
                return True
            yield from self.report()
        return False

    def progress(self) -> Progress:
        """The counts of this moment."""
        seconds = time.monotonic() - self.started
        rate = self.received / seconds if seconds > 0 else 0.0
        eta = max(self.total - self.done, 0) / rate if rate else None
        return Progress(self.file, min(self.done, self.total), self.total, seconds, rate, eta)
