"""What visitors give to the server and how long it stays: until their tab closes, and an hour at the most.

Gradio stores an upload under the digest of its bytes, so two visitors may share one file. A session is known to use a
file once one of its events names it; when the session ends, the files go that no other session uses. Whatever else
lies in the folder, parts of uploads that were cut off for one, goes after an hour.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from core import memory

KEPT_SECONDS = 3600
SWEEP_SECONDS = 60
# Gradio's name of a file's folder: the digest of its bytes.
DIGEST = re.compile(r"[0-9a-f]{64}")


class Uploads:
    """The ledger of one server's folder of uploads.

    Args:
        folder: where Gradio stores them; None asks it each time.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._used: dict[str, dict[Path, float]] = {}  # session -> file -> when it was last named

    @property
    def folder(self) -> Path:
        """The folder, resolved."""
        return (self._folder or Path(get_upload_folder())).resolve()

    def note(self, session: str, paths: Iterable[str]) -> None:
        """Remembers that a session uses these files; what is no upload is passed over."""
        for text in paths:
            with suppress(OSError, ValueError):
                path = Path(text).resolve()
                own = path.is_relative_to(self.folder) and DIGEST.fullmatch(path.parent.name)
                if own and path.is_file():
                    with self._lock:
                        self._used.setdefault(session, {})[path] = time.time()

    def leave(self, session: str) -> int:
        """Removes what only this session used; returns how many files."""
        with self._lock:
            mine = self._used.pop(session, {})
            others = set().union(*self._used.values())
            gone = {path: when for path, when in mine.items() if path not in others}
        # A file younger than its last use is somebody's new upload of the same bytes, not yet named by an event.
        return sum(_remove(path, when) for path, when in gone.items())

    def sweep(self, age: float = KEPT_SECONDS, kept: frozenset[Path] = frozenset()) -> int:
        """Removes every file of the folder that is older than `age` seconds; returns how many.

        Args:
            age: seconds.
            kept: files that components of the pages show.
        """
        before = time.time() - age
        with self._lock:
            for session, used in list(self._used.items()):
                fresh = {path: when for path, when in used.items() if when > before}
                if fresh:
                    self._used[session] = fresh
                else:
                    del self._used[session]
        removed = 0
        empty = time.time() - SWEEP_SECONDS
        for path in sorted(self.folder.rglob("*"), reverse=True):  # files before their folder
            if path.is_dir():
                _remove_empty(path, empty)
            elif path not in kept:
                removed += _remove(path, before)
        return removed

    def left(self, request: gr.Request) -> None:
        """`Blocks.unload` calls it when a tab has closed."""
        self.leave(str(request.session_hash))

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """Sweeps every minute while the server runs, memory too; `launch(app_kwargs={"lifespan": ...})`."""

        async def sweeping() -> None:
            while True:
                await asyncio.sleep(SWEEP_SECONDS)
                await asyncio.to_thread(self.sweep, kept=kept_files(app.get_blocks()))
                await asyncio.to_thread(memory.give_back, collect=False)

        task = asyncio.create_task(sweeping())
        try:
            yield
        finally:
            task.cancel()


def kept_files(blocks: gr.Blocks) -> frozenset[Path]:
    """Cached files that components hold for as long as the server runs."""
    components = blocks.blocks.values()
    return frozenset(
        Path(file).resolve() for part in components for file in getattr(part, "keep_in_cache", ())
    )


def _remove(path: Path, before: float) -> bool:
    """Removes a file that has not changed since."""
    try:
        if path.lstat().st_ctime > before:
            return False
        path.unlink()
    except OSError:
        return False
    return True


def _remove_empty(folder: Path, before: float) -> None:
    """Removes a folder that has been empty since. A new one may wait for the upload that Gradio made it for."""
    with suppress(OSError):
        if folder.lstat().st_mtime < before:
            os.rmdir(folder)


UPLOADS = Uploads()
