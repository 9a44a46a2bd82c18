"""Stop flags of long jobs, one a session: set by a Stop button, and when the visitor's tab closes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from core.runtime import Cancel


class Stops:
    """The flags of one kind of job; a session has at most one such job."""

    def __init__(self) -> None:
        self._running: dict[str, Cancel] = {}

    @contextmanager
    def job(self, session: str) -> Iterator[Cancel]:
        """A job while it runs; one that the same session has left behind is told to stop."""
        self.stop(session)
        mine = self._running[session] = Cancel()
        try:
            yield mine
        finally:
            mine.set()
            if self._running.get(session) is mine:
                del self._running[session]

    def stop(self, session: str) -> None:
        """Asks the session's job, if it has one, to stop."""
        if running := self._running.get(session):
            running.set()

    def left(self, request: gr.Request) -> None:
        """What `Blocks.unload` calls when a tab closes."""
        self.stop(str(request.session_hash))
