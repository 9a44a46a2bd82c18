"""What a row's digests are: of bundled files by reading them, of Hub files by asking the Hub."""

from __future__ import annotations

from core.checkpoints import integrity, registry
from core.checkpoints.registry import Checkpoint
from core.errors import Refusal

WEIGHTS = "model.safetensors"


def of(row: Checkpoint) -> tuple[dict[str, tuple[str, int]], str | None]:
    """The (sha256, bytes) of each file, and the 40-hex revision of a Hub row.

    Raises:
        Refusal: "wrong_digest" where the Hub contradicts a recorded digest, "bundle_missing", or what is
            wrong with the Hub or the network.
    """
    if row.bundled:
        return _bundled(row), None
    from core.checkpoints import hub

    remotes = hub.ask(row)
    files = {}
    for remote in remotes:
        digest = remote.etag
        if not integrity.SHA256.fullmatch(digest):
            # A small file's etag is git's hash; its sha256 is found by reading it.
            digest = integrity.sha256(hub.small(row, remote))
        if remote.file.sha256 not in (None, digest):
            raise Refusal("wrong_digest", checkpoint=row.name, file=remote.file.path)
        files[remote.file.path] = (digest, remote.size)
    return files, remotes[0].commit


def requirements(row: Checkpoint) -> dict[str, str]:
    """The rows that a bundled row stands on -> the digest of their weights as they lie on the disk."""
    files = {name: registry.row(name).folder / WEIGHTS for name in row.requires} if row.bundled else {}
    return {name: integrity.sha256(file) for name, file in files.items() if file.is_file()}


def _bundled(row: Checkpoint) -> dict[str, tuple[str, int]]:
    files = {}
    for file in row.files:
        path = row.folder / file.path
        if not path.is_file():
            raise Refusal("bundle_missing", checkpoint=row.name, file=file.path)
        files[file.path] = (integrity.sha256(path), path.stat().st_size)
    return files
