"""Checkpoints: what exists (`rows`), whether it is here (`state`), verified local paths (`open`).

Environment:

    CLIP_ATLAS_DEFAULT     "classroom" (default) or "hub": the row that pages start on
    CLIP_ATLAS_REGISTRY    a registry file in place of the built-in one
    HF_HUB_OFFLINE, HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_TOKEN    as the Hub client documents them

The Hub client and torch are imported by the functions that need them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from core.checkpoints import environment, integrity, registry
from core.checkpoints.registry import Checkpoint, File, default, human, row, rows
from core.checkpoints.transfer import Progress, Steps
from core.checkpoints.weights import load_state_dict
from core.errors import Refusal
from core.runtime import finish

if TYPE_CHECKING:
    from core.runtime import Cancel

__all__ = [
    "Checkpoint",
    "File",
    "Progress",
    "State",
    "default",
    "human",
    "load_state_dict",
    "open",
    "registry",
    "row",
    "rows",
    "state",
    "steps",
]

State = Literal["bundled", "cached", "absent", "unpinned"]

environment.prepare()


def state(name: str) -> State:
    """Whether a row can be opened without a network; never asks one.

    "bundled" and "cached" are here, "absent" is not; "unpinned" is not here and has no fixed revision.
    """
    checkpoint = row(name)
    if checkpoint.bundled:
        here = all((checkpoint.folder / file.path).is_file() for file in checkpoint.files)
        return "bundled" if here else "absent"
    if (_on_hub_cache(checkpoint) or _imported(checkpoint)) and all(
        state(other) in ("bundled", "cached") for other in checkpoint.requires
    ):
        return "cached"
    return "absent" if checkpoint.pinned else "unpinned"


def open(
    name: str,
    *,
    progress: Callable[[Progress], None] | None = None,
    cancel: Cancel | None = None,
    download: bool = True,
) -> dict[str, Path]:
    """Local paths of a row's files, by file name; every file has been checked against its digest.

    Args:
        name: a row of the registry.
        progress: called about ten times a second during a download.
        cancel: see `steps`, of which this is the result.
        download: see `steps`.

    Raises:
        Refusal: as `steps`.
    """
    return finish(steps(name, cancel=cancel, download=download), progress or (lambda now: None))


def steps(name: str, *, cancel: Cancel | None = None, download: bool = True) -> Steps[dict[str, Path]]:
    """Local paths of a row's files, obtained in steps that report a download about ten times a second.

    Bundled files lie in the repository. Hub files come from the Hub's cache; what is missing there is
    downloaded at the pinned revision, and so are the rows that this one requires. An interrupted download is resumed
    by the next call. Originals that were imported stand in where the Hub's cache lacks a row.

    Args:
        name: a row of the registry.
        cancel: a set flag stops within 0.5 s while bytes are awaited, and at the Hub client's time limit while a connection
            is being made; what has arrived is kept. Closing the generator stops between two steps.
        download: False refuses with "not_downloaded" in place of using the network.

    Raises:
        Refusal: "unknown_checkpoint", "not_downloaded", "not_imported", "cancelled", or what went wrong with the Hub, the
            network, the disk or the bytes, one code each.
    """
    checkpoint = row(name)
    if checkpoint.bundled:
        return _bundled(checkpoint)
    for other in checkpoint.requires:
        yield from steps(other, cancel=cancel, download=download)
    from core.checkpoints import hub, originals

    # The pinned copy of the Hub goes before one that was imported.
    if checkpoint.original and not _on_hub_cache(checkpoint):
        if _imported(checkpoint):
            return originals.open(checkpoint)
        if not checkpoint.repo:
            raise Refusal("not_imported", checkpoint=checkpoint.name, source=checkpoint.original.source)
    return (yield from hub.open(checkpoint, cancel=cancel, download=download))


def _on_hub_cache(checkpoint: Checkpoint) -> bool:
    from core.checkpoints import hub

    return checkpoint.repo is not None and all(hub.cached(checkpoint, file) for file in checkpoint.files)


def _imported(checkpoint: Checkpoint) -> bool:
    if checkpoint.original is None:
        return False
    from core.checkpoints import originals

    return originals.is_imported(checkpoint)


def _bundled(checkpoint: Checkpoint) -> dict[str, Path]:
    paths = {file.path: checkpoint.folder / file.path for file in checkpoint.files}
    for file in checkpoint.files:
        if not paths[file.path].is_file():
            raise Refusal("bundle_missing", checkpoint=checkpoint.name, file=file.path)
        if file.sha256 and not integrity.right(paths[file.path], file.sha256):
            raise Refusal("bundle_damaged", checkpoint=checkpoint.name, file=file.path)
    return paths
