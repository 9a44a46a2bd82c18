"""Loaded models and computed features, kept while the budget has room: `Pool` and `ByteCache`.

Both are reached through `core.runtime`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from core.errors import Refusal
from core.memory.budget import BUDGET, Budget, Kept, locked
from core.memory.system import give_back, is_out_of_memory

Model = TypeVar("Model")
Value = TypeVar("Value")


class _Entry(Kept):
    """One model of the pool, or why it could not be loaded."""

    def __init__(self, forget: Callable[[], object]) -> None:
        super().__init__(forget)
        self.ready = threading.Event()  # loaded, or given up
        self.model: Any = None
        self.failure: Callable[[], Exception] | None = None
        self.loaded = False

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
    """Loaded models, each once per process, kept as long as the budget has room for them.

    Args:
        budget: that counts them; None is the one of the process.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = BUDGET if budget is None else budget
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()  # least recently used first
        locked.add(self)

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
            with self.budget.lock:
                entry.users -= 1
                went = self.budget.shrink()
            self.budget.settle(went)

    def contents(self) -> dict[Hashable, int]:
        """Bytes of each loaded model, least recently used first."""
        with self.budget.lock:
            return {key: entry.nbytes for key, entry in self._entries.items() if entry.loaded}

    def drop_idle(self) -> int:
        """Drops every model that nobody uses; returns how many."""
        count = self._take_idle()
        self.budget.settle(bool(count))
        return count

    def _take_idle(self) -> int:
        with self.budget.lock:
            idle = [key for key, entry in self._entries.items() if entry.loaded and not entry.users]
            for key in idle:
                self.budget.remove(self.budget.models, self._entries.pop(key))
        return len(idle)

    def _acquire(
        self, key: Hashable, load: Callable[[], Model], size_bytes: Callable[[Model], int] | None
    ) -> _Entry:
        while True:
            with self.budget.lock:
                entry = self._entries.get(key)
                first = entry is None
                if entry is None:
                    entry = self._entries[key] = _Entry(lambda: self._entries.pop(key))
                entry.users += 1
                self._entries.move_to_end(key)
                self.budget.touch(self.budget.models, entry)
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
            nbytes = self.budget.limit  # a setting that means nothing is refused before the model is loaded
            entry.model = self._load(key, load)
            nbytes = size_bytes(entry.model) if size_bytes else 0
        except BaseException as error:
            with self.budget.lock:
                self._entries.pop(key, None)
                self.budget.remove(self.budget.models, entry)
            entry.fail(error)
            raise
        with self.budget.lock:
            entry.loaded = True
            self.budget.resize(self.budget.models, entry, nbytes)
            went = self.budget.shrink()
        entry.ready.set()
        self.budget.settle(went)

    def _load(self, key: Hashable, load: Callable[[], Model]) -> Model:
        try:
            return load()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Out of the handler, so that the exception and what its frames had loaded are gone.
        self._take_idle()
        give_back()
        try:
            return load()
        except Exception as error:
            if is_out_of_memory(error):
                raise _no_memory(key) from error
            raise

    def _after_fork(self) -> None:
        # Only the forking thread lives on: nobody else's model is given back, nobody else's load ends.
        for key, entry in list(self._entries.items()):
            entry.users = 0
            if not entry.loaded:
                del self._entries[key]
                self.budget.remove(self.budget.models, entry)


def _no_memory(key: Hashable) -> Refusal:
    return Refusal("out_of_memory", model=str(key[0] if isinstance(key, tuple) and key else key))


class _Item(Kept):
    """One value of a cache."""

    def __init__(self, value: Any, forget: Callable[[], object]) -> None:
        super().__init__(forget)
        self.value = value


class ByteCache(Generic[Value]):
    """A thread-safe cache of features, kept as long as the budget has room for them.

    Args:
        budget: that counts them; None is the one of the process.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = BUDGET if budget is None else budget
        self._items: dict[Hashable, _Item] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        with self.budget.lock:
            return sum(item.nbytes for item in self._items.values())

    def get(self, key: Hashable) -> Value | None:
        """The value of `key`, or None."""
        with self.budget.lock:
            item = self._items.get(key)
            if item is None:
                return None
            self.budget.touch(self.budget.features, item)
            return item.value

    def put(self, key: Hashable, value: Value, nbytes: int) -> None:
        """Keeps a value of `nbytes` bytes; one larger than the share of features is not kept."""
        with self.budget.lock:
            self._remove(key)
            if nbytes <= self.budget.feature_limit:
                item = self._items[key] = _Item(value, lambda: self._items.pop(key))
                item.nbytes = nbytes
                self.budget.touch(self.budget.features, item)
            went = self.budget.shrink()
        self.budget.settle(went)

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
        with self.budget.lock:
            for key in list(self._items):
                self._remove(key)

    def __len__(self) -> int:
        return len(self._items)

    def _remove(self, key: Hashable) -> None:
        if key in self._items:
            self.budget.remove(self.budget.features, self._items.pop(key))
