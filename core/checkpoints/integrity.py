"""Is a file what it should be: digests, the record of what was already checked, removal of what is not."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

SHA256 = re.compile(r"[0-9a-f]{64}")
GIT_SHA1 = re.compile(r"[0-9a-f]{40}")
CHUNK = 1 << 20

_checked: dict[str, str] = {}  # this process: real path | size | mtime -> digest
_lock = threading.Lock()


def digest(path: Path, like: str, check: Callable[[], None] | None = None) -> str:
    """The digest of a file, of the kind that `like` is: sha256 (64 hex) or git's blob hash (40 hex).

    Args:
        path: the file.
        like: a digest of the wanted kind.
        check: called after every MiB; it raises to stop.
    """
    size = path.stat().st_size
    state = hashlib.sha256() if SHA256.fullmatch(like) else hashlib.sha1(b"blob %d\0" % size)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            state.update(chunk)
            if check:
                check()
    return state.hexdigest()


def sha256(path: Path) -> str:
    """The sha256 of a file."""
    return digest(path, "0" * 64)


def identity(path: Path) -> str:
    """What a file is now: its place, size and time."""
    stat = path.stat()
    return f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"


def remember(path: Path, digest: str, record: Path | None) -> None:
    """Notes that a file was found right, for this process and, with a record file, for later ones."""
    with _lock:
        _note(_checked, path, digest)
        if record is None:
            return
        try:
            entries = _load(record)
            _note(entries, path, digest)
            record.parent.mkdir(parents=True, exist_ok=True)
            draft = record.with_suffix(f".{os.getpid()}.tmp")
            draft.write_text(json.dumps(entries, indent=1), encoding="utf-8")
            draft.replace(record)
        except OSError:
            # A read-only cache: the file is checked again by the next process.
            return


def known(path: Path, record: Path | None) -> str | None:
    """The digest that a file had when it was last found right, whatever has become of it since."""
    place = f"{path.resolve()}|"
    with _lock:
        entries = {**_load(record), **_checked}
    return next((digest for key, digest in entries.items() if key.startswith(place)), None)


def _note(entries: dict[str, str], path: Path, digest: str) -> None:
    """One entry for a file, in place of older ones."""
    for key in [key for key in entries if key.startswith(f"{path.resolve()}|")]:
        del entries[key]
    entries[identity(path)] = digest


def _load(record: Path | None) -> dict[str, str]:
    try:
        entries = json.loads(record.read_text(encoding="utf-8")) if record else {}
    except (OSError, ValueError):
        return {}
    # Entries of files that changed or went away are dropped on the way.
    return (
        {k: v for k, v in entries.items() if Path(k.split("|")[0]).exists()}
        if isinstance(entries, dict)
        else {}
    )


def right(
    path: Path,
    expected: str,
    *,
    record: Path | None = None,
    afresh: bool = False,
    check: Callable[[], None] | None = None,
) -> bool:
    """Whether a file has the expected digest; a file that was checked and did not change is not read again.

    Args:
        path: the file.
        expected: sha256 or git blob hash.
        record: file that remembers checks between processes; None keeps them in this process.
        afresh: read the file even if it was checked before.
        check: called after every MiB; it raises to stop.
    """
    key = identity(path)
    if not afresh:
        if _checked.get(key) == expected:
            return True
        if _load(record).get(key) == expected:
            _checked[key] = expected
            return True
    if digest(path, expected, check) != expected:
        return False
    remember(path, expected, record)
    return True


def remove(path: Path) -> None:
    """Removes a file and, where it is a link, everything that the chain of links leads to."""
    while path.is_symlink():
        target = path.parent / path.readlink()
        path.unlink()
        path = target
    if path.is_file():
        path.unlink()
