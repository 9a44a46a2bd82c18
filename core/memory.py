"""Loaded models and computed features, kept while memory lasts: `Pool` and `ByteCache`.

Both are reached through `core.runtime`. CLIP_ATLAS_MODEL_MEMORY is the number of GiB that loaded models may
keep; without it they may keep half of the memory that is available when the first one is loaded.
"""

from __future__ import annotations

import errno
import gc
import math
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from core.errors import Refusal

Model = TypeVar("Model")
Value = TypeVar("Value")

UNKNOWN_MEMORY = 8 << 30
OUT_OF_MEMORY_WORDS = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "alloc_failed",
)


def first_line(path: str) -> str:
    """The first line of a file of the system, or "" where there is none."""
    try:
        return Path(path).read_text().splitlines()[0]
    except (OSError, IndexError):
        return ""


def available_memory() -> int | None:
    """Bytes of main memory that this process can still get, or None where the system does not say."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except OSError:
        if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
            found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2]
    limit = first_line("/sys/fs/cgroup/memory.max")
    if limit.isdecimal():
        found.append(int(limit))
    return min(found, default=None)


def model_memory() -> int:
    """Bytes that loaded models may keep: CLIP_ATLAS_MODEL_MEMORY, else half of what is available now.

    Raises:
        Refusal: "bad_setting" when the variable is no positive number.
    """
    wished = os.environ.get("CLIP_ATLAS_MODEL_MEMORY", "").strip()
    if not wished:
        return (available_memory() or UNKNOWN_MEMORY) // 2
    try:
        gib = float(wished)
    except ValueError:
        gib = 0.0
    if not 0 < gib < math.inf:
        raise Refusal("bad_setting", name="CLIP_ATLAS_MODEL_MEMORY", value=wished[:40])
    return int(gib * (1 << 30))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on the CPU or an accelerator."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    message = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in message for words in OUT_OF_MEMORY_WORDS)


class _Entry:
    """One model of the pool, or why it could not be loaded."""

    def __init__(self) -> None:
        self.ready = threading.Event()  # loaded, or given up
        self.model: Any = None
        self.failure: Callable[[], Exception] | None = None
        self.loaded = False
        self.nbytes = 0
        self.users = 0

    def fail(self, error: BaseException) -> None:
        """Tells the waiting callers. The exception itself is not kept: its frames hold half a model."""
        if isinstance(error, Refusal):
            code, params = error.code, error.params
            if code != "cancelled":
                self.failure = lambda: Refusal(code, **params)
        elif isinstance(error, Exception):
            what = f"loading failed for another caller: {type(error).__name__}: {error}"
            self.failure = lambda: RuntimeError(what)
        self.ready.set()


class Pool:
    """Loaded models, each once per process; the least recently used go when they outgrow the budget.

    A model in use is never evicted, nor is the one used last: a model larger than the whole budget still
    answers twice in a row without being loaded again.

    Args:
        max_bytes: the budget; None asks `model_memory` at the first load.
    """

    def __init__(self, max_bytes: int | None = None) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()  # least recently used first
        _locked.add(self)

    @contextmanager
    def use(
        self,
        key: Hashable,
        load: Callable[[], Model],
        *,
        size_bytes: Callable[[Model], int] | None = None,
    ) -> Iterator[Model]:
        """The model of `key` while the context lasts.

        The first caller loads it, callers that come meanwhile wait for it. When loading fails nothing stays
        and the waiting callers get the same refusal; when the loading caller was only stopped, one of those
        that wait loads instead.

        Args:
            key: names the model; a tuple's first part names it in refusals.
            load: builds it; runs outside the pool's lock, so it may use other models of the pool.
            size_bytes: how large it is; without it the model counts nothing.

        Raises:
            Refusal: what `load` refuses; "out_of_memory" when memory ran out while the model was used, or
                loaded twice, the second time with the idle models dropped.
        """
        entry = self._acquire(key, load, size_bytes)
        try:
            yield entry.model
        except Exception as error:
            if is_out_of_memory(error):
                self.drop_idle()
                raise _no_memory(key) from error
            raise
        finally:
            with self._lock:
                entry.users -= 1
                dropped = self._evict()
            _free(dropped)

    def contents(self) -> dict[Hashable, int]:
        """Bytes of each loaded model, least recently used first."""
        with self._lock:
            return {key: entry.nbytes for key, entry in self._entries.items() if entry.loaded}

    def drop_idle(self) -> int:
        """Drops every model that nobody uses; returns how many."""
        with self._lock:
            idle = [key for key, entry in self._entries.items() if entry.loaded and not entry.users]
            dropped = [self._entries.pop(key) for key in idle]
        _free(dropped)
        return len(idle)

    def _acquire(
        self, key: Hashable, load: Callable[[], Model], size_bytes: Callable[[Model], int] | None
    ) -> _Entry:
        while True:
            with self._lock:
                entry = self._entries.get(key)
                first = entry is None
                if entry is None:
                    entry = self._entries[key] = _Entry()
                entry.users += 1
                self._entries.move_to_end(key)
            if first:
                self._fill(key, entry, load, size_bytes)
                return entry
            entry.ready.wait()
            if entry.loaded:
                return entry
            if entry.failure is not None:
                raise entry.failure()

    def _fill(
        self,
        key: Hashable,
        entry: _Entry,
        load: Callable[[], Model],
        size_bytes: Callable[[Model], int] | None,
    ) -> None:
        try:
            if self.max_bytes is None:
                self.max_bytes = model_memory()
            entry.model = self._load(key, load)
            entry.nbytes = size_bytes(entry.model) if size_bytes else 0
        except BaseException as error:
            with self._lock:
                self._entries.pop(key, None)
            entry.fail(error)
            raise
        with self._lock:
            entry.loaded = True
            dropped = self._evict()
        entry.ready.set()
        _free(dropped)

    def _load(self, key: Hashable, load: Callable[[], Model]) -> Model:
        try:
            return load()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Out of the handler, so that the exception and what its frames had loaded are gone.
        self.drop_idle()
        gc.collect()
        try:
            return load()
        except Exception as error:
            if is_out_of_memory(error):
                raise _no_memory(key) from error
            raise

    def _evict(self) -> list[_Entry]:
        """Takes out what the budget does not hold, oldest first; called with the lock held."""
        total = sum(entry.nbytes for entry in self._entries.values())
        dropped = []
        for key, entry in list(self._entries.items())[:-1]:
            if total <= (self.max_bytes or 0):
                break
            if entry.loaded and not entry.users:
                dropped.append(self._entries.pop(key))
                total -= entry.nbytes
        return dropped

    def _after_fork(self) -> None:
        # Only the forking thread lives on: nobody else's model is given back, nobody else's load ends.
        self._lock = threading.Lock()
        for key, entry in list(self._entries.items()):
            entry.users = 0
            if not entry.loaded:
                del self._entries[key]


def _no_memory(key: Hashable) -> Refusal:
    return Refusal("out_of_memory", model=str(key[0] if isinstance(key, tuple) and key else key))


def _free(dropped: list[_Entry]) -> None:
    """Lets go of evicted models and gives their memory back to the accelerator."""
    if not dropped:
        return
    dropped.clear()
    gc.collect()
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_initialized():
        cuda.empty_cache()


class ByteCache(Generic[Value]):
    """A thread-safe cache that forgets what was least recently used once it holds more than `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.nbytes = 0
        self._lock = threading.Lock()
        self._items: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        _locked.add(self)

    def get(self, key: Hashable) -> Value | None:
        """The value of `key`, or None."""
        with self._lock:
            if key not in self._items:
                return None
            self._items.move_to_end(key)
            return self._items[key][0]

    def put(self, key: Hashable, value: Value, nbytes: int) -> None:
        """Keeps a value of `nbytes` bytes; one larger than the whole cache is not kept."""
        with self._lock:
            if key in self._items:
                self.nbytes -= self._items.pop(key)[1]
            if nbytes > self.max_bytes:
                return
            self._items[key] = (value, nbytes)
            self.nbytes += nbytes
            while self.nbytes > self.max_bytes:
                self.nbytes -= self._items.popitem(last=False)[1][1]

    def get_or(
        self,
        key: Hashable,
        make: Callable[[], Value],
        nbytes: Callable[[Value], int] = lambda value: value.nbytes,  # type: ignore[attr-defined]
    ) -> Value:
        """The value of `key`, made when missing; two threads that miss together may both make it."""
        value = self.get(key)
        if value is None:
            value = make()
            self.put(key, value, nbytes(value))
        return value

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._items.clear()
            self.nbytes = 0

    def __len__(self) -> int:
        return len(self._items)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()


# Whoever has a lock: a forked worker (ZeroGPU) inherits locks that other threads hold and nobody would open.
_locked: WeakSet[Any] = WeakSet()


def _after_fork() -> None:
    for owner in list(_locked):
        owner._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
