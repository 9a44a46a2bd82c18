"""The budget: bytes that everything which could be loaded or computed again may keep, whatever kind it is of."""

from __future__ import annotations

import itertools
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from core.memory import system

# Features take at most this part of the budget: they are computed again much faster than a model is loaded.
FEATURE_SHARE = 8
EVICTED = 64 << 20  # bytes of features after which the system gets its memory back


class Kept:
    """Something that a budget counts.

    Attributes:
        nbytes: its size.
        users: how many use it now; it is not evicted while there are any.
        used: when it was used last, in steps of the budget.
        forget: takes it out of the pool or cache that holds it; called with the budget's lock held.
    """

    def __init__(self, forget: Callable[[], object]) -> None:
        self.nbytes = 0
        self.users = 0
        self.used = 0
        self.forget = forget


class Kind:
    """What a budget keeps of one kind, the least recently used first."""

    def __init__(self) -> None:
        self.entries: OrderedDict[Kept, None] = OrderedDict()
        self.nbytes = 0

    def oldest(self) -> Kept | None:
        """The one to go first: neither in use nor the one used last."""
        newest = next(reversed(self.entries), None)
        return next((entry for entry in self.entries if not entry.users and entry is not newest), None)


class Budget:
    """Bytes that models and features together may keep; the least recently used go when they outgrow it.

    Features have a share of it; one that is larger than the share is not kept. A model in use is never evicted, nor is the
    model or the feature used last: a model larger than the whole budget still answers twice in a row without being loaded
    again.

    Args:
        max_bytes: the budget; None asks `system.model_memory` when something is kept for the first time.
    """

    def __init__(self, max_bytes: int | None = None) -> None:
        self.max_bytes = max_bytes
        self.lock = threading.Lock()
        self.models, self.features = Kind(), Kind()
        self._steps = itertools.count(1)
        self._evicted = 0  # bytes of features since memory was given back
        locked.add(self)

    @property
    def limit(self) -> int:
        """The budget in bytes."""
        if self.max_bytes is None:
            self.max_bytes = system.model_memory()
        return self.max_bytes

    @property
    def feature_limit(self) -> int:
        """The share of features in bytes."""
        return self.limit // FEATURE_SHARE

    @property
    def nbytes(self) -> int:
        """Bytes of everything that is kept."""
        return self.models.nbytes + self.features.nbytes

    def touch(self, kind: Kind, entry: Kept) -> None:
        """Notes that an entry is used now; a new one is added. Called with the lock held."""
        if entry not in kind.entries:
            kind.entries[entry] = None
            kind.nbytes += entry.nbytes
        kind.entries.move_to_end(entry)
        entry.used = next(self._steps)

    def resize(self, kind: Kind, entry: Kept, nbytes: int) -> None:
        """Notes the size of an entry. Called with the lock held."""
        if entry in kind.entries:
            kind.nbytes += nbytes - entry.nbytes
        entry.nbytes = nbytes

    def remove(self, kind: Kind, entry: Kept) -> None:
        """Takes an entry out. Called with the lock held."""
        if entry in kind.entries:
            del kind.entries[entry]
            kind.nbytes -= entry.nbytes

    def shrink(self) -> bool:
        """Evicts what the budget does not hold, oldest first; whether a model went. Called with the lock held."""
        limit, share = self.limit, self.feature_limit
        model_went = False
        while True:
            feature = self.features.oldest()
            if self.features.nbytes > share and feature is not None:
                model = None
            elif self.nbytes > limit:
                model = self.models.oldest()
            else:
                return model_went
            if model is not None and (feature is None or model.used < feature.used):
                self.remove(self.models, model)
                model.forget()
                model_went = True
            elif feature is not None:
                self.remove(self.features, feature)
                feature.forget()
                self._evicted += feature.nbytes
            else:
                return model_went

    def settle(self, model_went: bool) -> None:
        """Gives memory back after `shrink`, where it is worth it. Called without the lock."""
        if model_went or self._evicted >= EVICTED:
            self._evicted = 0
            system.give_back(collect=model_went)

    def _after_fork(self) -> None:
        self.lock = threading.Lock()


# Whoever has a lock: a forked worker (ZeroGPU) inherits locks that other threads hold and nobody would open.
locked: WeakSet[Any] = WeakSet()


def _after_fork() -> None:
    for owner in list(locked):
        owner._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# Of the process: every pool and every cache that is not told otherwise.
BUDGET = Budget()
