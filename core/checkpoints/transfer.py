"""A long job in a thread of its own: byte progress reported in the caller's thread, and a prompt stop."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from core.errors import Refusal

if TYPE_CHECKING:
    from core.runtime import Cancel

R = TypeVar("R")
POLL = 0.1  # seconds


@dataclass(frozen=True)
class Progress:
    """How far a download is; bytes count over the whole checkpoint."""

    file: str
    done: int
    total: int
    seconds: float
    rate: float  # bytes per second, of what this call fetched
    eta: float | None  # seconds; None before the first byte


class Meter:
    """What the job counts and the caller reads; its `check` ends the job once nobody waits for it."""

    def __init__(self) -> None:
        self.file = ""
        self.done = 0
        self.total = 0
        self.received = 0  # by this call, over the network
        self.started = time.monotonic()
        self.stop = threading.Event()

    def check(self) -> None:
        """Raises Refusal("cancelled") in the job's thread after a stop."""
        if self.stop.is_set():
            raise Refusal("cancelled")

    def progress(self) -> Progress:
        """The counts of this moment."""
        seconds = time.monotonic() - self.started
        rate = self.received / seconds if seconds > 0 else 0.0
        eta = max(self.total - self.done, 0) / rate if rate else None
        return Progress(self.file, min(self.done, self.total), self.total, seconds, rate, eta)


def run(
    job: Callable[[Meter], R],
    progress: Callable[[Progress], None] | None,
    cancel: Cancel | None,
) -> R:
    """Runs a job in a thread and returns its result or raises its exception.

    The job may hang in a socket that nobody can interrupt: after a stop the caller leaves at once, and the
    job ends by itself at its next `meter.check()`, before it writes anything more.
    """
    meter, finished = Meter(), threading.Event()
    results: list[R] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(job(meter))
        except BaseException as error:
            errors.append(error)
        finally:
            finished.set()

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name="checkpoint", daemon=True).start()
    told = -1
    try:
        while not finished.wait(POLL):
            if cancel is not None:
                cancel.check()
            if progress and meter.total and meter.done != told:
                told = meter.done
                progress(meter.progress())
    finally:
        meter.stop.set()
    if errors:
        raise errors[0]
    if progress and meter.total:
        progress(meter.progress())
    return results[0]
