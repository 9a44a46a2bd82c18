"""Jobs of a page: what a handler yields while it works, the Stop button, and the line of those that wait for a device.

A handler answers in one step, `handler(question, lang) -> {slot: value}`, or it is a job, a generator
`handler(question, lang, cancel)` that yields `Progress` and dictionaries of slots and ends within a step once `cancel`
is set. Both get Stop when they take long. A visitor has one run of a name at a time on an open page; Stop, the next run
and a closed tab set its flag. Between its steps a job also takes its turn at the device (`core.runtime.semaphore`), so
that quick questions of other visitors are answered while it runs.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, TypeVar

import gradio as gr

from core import memory, runtime
from core.errors import Refusal
from core.runtime import Cancel
from demos.kit.html import tag

R = TypeVar("R")
POLL_SECONDS = 0.1
SLOW_SECONDS = 1.5  # a run that has said nothing for so long gets Stop
# A job ends here with what it has reached: nobody watches longer, and others wait.
PAGE_SECONDS, ENDPOINT_SECONDS = 1200.0, 600.0


@dataclass(frozen=True)
class Progress:
    """How far a job is: `share` from 0 to 1, None where the end is not known, and a sentence."""

    share: float | None
    text: str

    @property
    def bar(self) -> str:
        """The bar as HTML."""
        return progress(self.share, self.text)


def timed(steps: Generator[float, None, R], sentence: Callable[..., str]) -> Generator[Progress, None, R]:
    """Relays the shares that are done, each above 0, as progress with the time that is left.

    Args:
        steps: of the job.
        sentence: what is said; takes `share` and `left`, in seconds, by name.
    """
    start = time.perf_counter()

    def progress_of(share: float) -> Progress:
        left = (time.perf_counter() - start) * (1 - share) / share
        return Progress(share, sentence(share=share, left=left))

    return (yield from runtime.relay(steps, progress_of))


class Stops:
    """The flags of the jobs that run, by session and name."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, str], Cancel] = {}

    @contextmanager
    def job(self, session: str, name: str = "") -> Iterator[Cancel]:
        """The flag of a job while it runs; a job of the same session and name that still runs is asked to stop."""
        self.stop(session, name)
        flag = self._running[session, name] = Cancel()
        try:
            yield flag
        finally:
            flag.set()
            if self._running.get((session, name)) is flag:
                del self._running[session, name]
            memory.relieve()

    def stop(self, session: str, name: str = "") -> None:
        """Asks the session's job of this name to stop, if there is one."""
        if running := self._running.get((session, name)):
            running.set()

    def is_running(self, session: str, name: str) -> bool:
        """Whether a job of this name runs in the session."""
        return (session, name) in self._running

    def is_replaced(self, session: str, name: str, flag: Cancel) -> bool:
        """Whether the session has begun another job of this name since the one with this flag."""
        return self._running.get((session, name)) is not flag

    def leave(self, request: gr.Request) -> None:
        """Asks every job of a session to stop: `Blocks.unload` calls it when a tab closes."""
        for (session, _), flag in list(self._running.items()):
            if session == request.session_hash:
                flag.set()


class Line:
    """Jobs that wait for each other, first come first served; a waiting one can leave."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tickets: deque[object] = deque()

    @contextmanager
    def stand(self) -> Iterator[Callable[[], int]]:
        """A place in the line; call what it gives to learn how many are still before it."""
        ticket = object()
        with self._lock:
            self._tickets.append(ticket)
        try:
            yield lambda: self._before(ticket)
        finally:
            with self._lock:
                self._tickets.remove(ticket)

    def _before(self, ticket: object) -> int:
        with self._lock:
            return self._tickets.index(ticket)


_lines: dict[str, Line] = {}
STOPS = Stops()


def line(device: str) -> Line:
    """The line of a device."""
    return _lines.setdefault(device, Line())


def in_turn(cancel: Cancel, seconds: float, job: Callable[[], Iterator[Any]]) -> Generator[Any, None, None]:
    """Waits for the device, then passes a job's values on.

    Args:
        cancel: a set flag ends the waiting, and the job at its next step.
        seconds: after which the job is asked to stop.
        job: makes the iterator; it is closed when this generator is.

    Yields:
        int, how many jobs are before this one, while it waits; then the job's values.
    """
    with line(runtime.pick_device()).stand() as before:
        while (count := before()) and not cancel.is_set():
            yield count
            time.sleep(POLL_SECONDS)
        if cancel.is_set():
            return
        end = threading.Timer(seconds, cancel.set)
        end.daemon = True
        end.start()
        try:
            with closing(job()) as values:  # type: ignore[type-var]
                yield from values
        finally:
            end.cancel()
            cancel.set()


# --- runs that take longer than expected -------------------------------------------------------------------

# Two pools: a step waits for a function, and must not take its thread.
_steps = ThreadPoolExecutor(64, "step")
_functions = ThreadPoolExecutor(64, "function")
_END = object()


def _next(parts: Iterator[Any]) -> Any:
    return next(parts, _END)


def noticing(parts: Iterator[Any]) -> Generator[Any, None, None]:
    """Passes on what a job yields; None where it has yielded nothing for `SLOW_SECONDS`."""
    context = copy_context()
    step: Future[Any] | None = None
    try:
        while True:
            step = _steps.submit(context.run, _next, parts)
            if not wait([step], SLOW_SECONDS).done:
                yield None
            part = step.result()
            if part is _END:
                return
            yield part
    finally:
        if step is not None:  # nobody listens any more: the job ends behind the step that runs
            step.add_done_callback(lambda _: parts.close())  # type: ignore[attr-defined]


def stoppable(function: Callable[[], R], cancel: Cancel) -> R:
    """What a function without steps returns. After a stop it goes on without its visitor, and its value is thrown away.

    Raises:
        Refusal: "cancelled" as soon as a stop is asked for.
    """
    value: Future[R] = _functions.submit(copy_context().run, function)
    while not wait([value], POLL_SECONDS).done:
        if cancel.is_set():
            value.cancel()
            raise Refusal("cancelled")
    return value.result()


def parts(handler: Callable[..., Any], *arguments: Any, cancel: Cancel | None = None) -> Iterator[Any]:
    """What a handler or a job yields for its arguments, the language last, where no visitor waits for it."""
    if inspect.isgeneratorfunction(handler):
        yield from handler(*arguments, cancel or Cancel())
    else:
        yield handler(*arguments)


# --- how far it is -----------------------------------------------------------------------------------------


def progress(share: float | None, text: str, label: str = "") -> str:
    """A bar with a sentence, which also names it where no label is given; None is a bar without an end in sight."""
    value = None if share is None else f"{100 * share:.0f}"
    return tag(
        "div",
        tag("span", style=f"width:{100 * (share or 0):.1f}%"),
        class_="atlas-progress",
        role="progressbar",
        aria_label=label or text,
        aria_valuemin="0",
        aria_valuemax="100",
        aria_valuenow=value,
    ) + tag("p", text, class_="atlas-line")
