"""What sounds and videos share: their file is opened, hashed and read in one way. Refusals are named by their kind."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, Literal

from core.errors import Refusal
from core.inputs.texts import beginning

Kind = Literal["sound", "video"]
MISSING: dict[Kind, str] = {"sound": "sound_missing", "video": "video_missing"}
NOTHING: dict[Kind, str] = {"sound": "no_sound", "video": "no_video"}
UNKNOWN: dict[Kind, str] = {"sound": "not_a_sound", "video": "not_a_video"}
ADDRESS: dict[Kind, str] = {"sound": "sound_is_address", "video": "video_is_address"}
NO_MEMORY: dict[Kind, str] = {"sound": "sound_no_memory", "video": "video_no_memory"}
CHUNK = 1 << 20


@contextmanager
def reading(kind: Kind) -> Iterator[None]:
    """Says in one sentence that the memory does not suffice."""
    try:
        yield
    except MemoryError as error:
        raise Refusal(NO_MEMORY[kind]) from error


def local(source: object, kind: Kind) -> Path | bytes:
    """A path or bytes: nothing else is read, and no address is fetched.

    Raises:
        Refusal: one of `NOTHING`, `UNKNOWN`, `ADDRESS`.
    """
    if source is None or (isinstance(source, str | bytes) and not source):
        raise Refusal(NOTHING[kind])
    if not isinstance(source, str | Path | bytes):
        raise Refusal(UNKNOWN[kind])
    if isinstance(source, bytes):
        return source
    if "://" in str(source) or str(source).startswith("data:"):
        raise Refusal(ADDRESS[kind])
    return Path(source)


def check_size(file: BinaryIO, limit: int | None) -> None:
    """Refusal("image_file_too_large") for a file of more bytes than `limit`; it is at its beginning afterwards."""
    size = file.seek(0, io.SEEK_END)
    if limit is not None and size > limit:
        raise Refusal("image_file_too_large", size=size >> 20, limit=limit >> 20)
    file.seek(0)


@contextmanager
def opened(source: Path | bytes, kind: Kind) -> Iterator[BinaryIO]:
    """The file of a path, or of bytes."""
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    try:
        # A device or a pipe is not read: it may never end.
        if not source.is_file():
            raise FileNotFoundError
        file = source.open("rb")
    except (OSError, ValueError) as error:
        raise Refusal(MISSING[kind], name=beginning(source.name)) from error
    with file:
        yield file


def digest_of(file: BinaryIO) -> str:
    """A hash of a file's bytes; the file is at its beginning before and after."""
    file.seek(0)
    hashed = blake2b(digest_size=16)
    while chunk := file.read(CHUNK):
        hashed.update(chunk)
    file.seek(0)
    return hashed.hexdigest()
