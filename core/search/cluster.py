"""Encoding on a Ray cluster: the same batches of files, on as many machines as there are.

An optional installation: `pip install ray`. `python -m core search index FOLDER --ray ADDRESS` hands each batch to actors of the
cluster and writes what comes back to the same table; "local" is this machine. All machines have to see the files under the same
paths.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.runtime import optional
from core.search import index
from core.search.index import Encoded, Job

if TYPE_CHECKING:
    from core.search.spaces import Space

AHEAD = 2  # batches of an actor that wait for it


class Encoder:
    """An actor: keeps the models of a checkpoint."""

    def __init__(self, checkpoint: str) -> None:
        from core.search.spaces import Space

        self.space = Space(checkpoint)

    def encode(self, jobs: Sequence[Job], limited: bool) -> list[Encoded]:
        """A refusal is a row: an actor never raises for a file."""
        return list(index.encode_batch(jobs, self.space, limited))


@dataclass
class Cluster:
    """Actors on a cluster; `encode` stands in for `core.search.index.encode_batch`.

    Attributes:
        address: of an existing cluster, or "local".
        actors: how many; one less than there are cores where it is 0, because actors on all of them wait for each other for ever.
    """

    address: str
    actors: int = 0
    ray: Any = field(default=None, init=False)
    made: list[Any] = field(default_factory=list, init=False)

    def __enter__(self) -> Cluster:
        # No usage report; workers of niceness 15 would starve on a machine that does other work.
        for name, value in (
            ("RAY_USAGE_STATS_ENABLED", "0"),
            ("DO_NOT_TRACK", "1"),
            ("RAY_worker_niceness", "0"),
        ):
            os.environ.setdefault(name, value)
        self.ray = optional("ray")
        # Said by name: a plain init would join whatever cluster a stale file in Ray's folder names.
        self.ray.init(
            address=self.address,
            log_to_driver=False,
            include_dashboard=False if self.address == "local" else None,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.made.clear()
        self.ray.shutdown()

    def encode(
        self,
        jobs: Sequence[Job],
        space: Space,
        limited: bool = True,
        check: Callable[[], object] | None = None,
    ) -> Iterator[Encoded]:
        """The rows of some files, as `encode_batch` gives them; split over the actors."""
        if not self.made:
            cores = int(self.ray.cluster_resources().get("CPU", 1))
            remote = self.ray.remote(Encoder)
            self.made = [remote.remote(space.checkpoint) for _ in range(self.actors or max(1, cores - 1))]
        size = max(1, -(-len(jobs) // (len(self.made) * AHEAD)))
        parts = [list(jobs[at : at + size]) for at in range(0, len(jobs), size)]
        waiting = [
            self.made[at % len(self.made)].encode.remote(part, limited) for at, part in enumerate(parts)
        ]
        for one in waiting:
            if check is not None:
                check()
            yield from self.ray.get(one)
