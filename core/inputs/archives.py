"""Many files from outside: single files, folders and zip archives, handed out one at a time.

Nothing of an archive is written to the disk: a member is decompressed into memory, at most `MAX_FILE_BYTES` of it, when
its turn comes. Its name is only ever shown. A member that cannot be taken is listed with its refusal, and the others
follow.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from core.errors import Refusal
from core.inputs.images import MAX_FILE_BYTES
from core.inputs.texts import beginning

MAX_FILES = 500
MAX_BYTES = 200 << 20  # of all files together, unpacked
MAX_DIRECTORY_BYTES = 4 << 20  # of an archive's table of contents: it is read as a whole
CHUNK = 1 << 20

ZIP_HEADS = (b"PK\x03\x04", b"PK\x05\x06")
ARCHIVE_HEADS = (
    *ZIP_HEADS,
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ\0",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!\x1a\x07",
    b"\x28\xb5\x2f\xfd",
)
TAR_MARK, TAR_PLACE = b"ustar", 257
# Files that systems put beside the images of a person.
JUNK_FOLDERS, JUNK_FILES = ("__MACOSX",), ("thumbs.db", "desktop.ini")
END_RECORD, END_LENGTH, MAX_COMMENT = b"PK\x05\x06", 22, 65_535
END_64_LOCATOR, END_64_RECORD = b"PK\x06\x07", b"PK\x06\x06"
# The others may unpack a few bytes into gigabytes at one go.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED, UTF8_NAME = 0x1, 0x800


class Member(NamedTuple):
    """One of many files: what `core.inputs.image` reads, or why there is nothing to read."""

    name: str  # inside the folder or the archive, with "/" between folders; for showing, not for opening
    content: Path | bytes | None
    refusal: Refusal | None


@dataclass(frozen=True)
class _Packed:
    """A member of an archive that is not decompressed yet."""

    archive: Path
    info: zipfile.ZipInfo


@dataclass(frozen=True)
class Files:
    """The files of `files_of`: their number is known, their contents are read when their turn comes."""

    entries: tuple[tuple[str, Path | _Packed], ...]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Member]:
        opened: zipfile.ZipFile | None = None
        try:
            for name, place in self.entries:
                if isinstance(place, Path):
                    yield Member(name, place, None)
                    continue
                if opened is None or opened.filename != str(place.archive):
                    if opened is not None:
                        opened.close()
                    opened = zipfile.ZipFile(place.archive)
                try:
                    member = Member(name, _unpacked(opened, place.info), None)
                except Refusal as refusal:
                    member = Member(name, None, refusal)
                yield member
        finally:
            if opened is not None:
                opened.close()


def files_of(
    paths: Sequence[str | Path], *, limit: int | None = MAX_FILES, max_bytes: int | None = MAX_BYTES
) -> Files:
    """The files behind several paths, in their order.

    Args:
        paths: files, folders (all files below them, sorted) and zip archives (their members, in the archive's order);
            an archive is told by its content. Hidden files and what systems leave beside images are left out.
        limit: how many files there may be; None for any number.
        max_bytes: of all files together, unpacked as an archive declares it; None for any size.

    Returns:
        Their number, and one `Member` after the other.

    Raises:
        Refusal: "no_files", "too_many_files", "files_too_large", "image_missing", "archive_broken".
    """
    entries: list[tuple[str, Path | _Packed]] = []
    total = 0
    for path in map(Path, paths):
        for name, place, size in _entries(path):
            entries.append((name, place))
            total += size
            if limit is not None and len(entries) > limit:
                raise Refusal("too_many_files", limit=limit)
            if max_bytes is not None and total > max_bytes:
                raise Refusal("files_too_large", limit=max_bytes >> 20)
    if not entries:
        raise Refusal("no_files")
    return Files(tuple(entries))


def is_archive(path: Path) -> bool:
    """Whether a file begins as a zip archive does."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(4) in ZIP_HEADS
    except (OSError, ValueError):
        return False


def _entries(path: Path) -> Iterator[tuple[str, Path | _Packed, int]]:
    """Name, place and unpacked bytes of the files behind one path."""
    try:
        if path.is_dir():
            for file in sorted(_below(path)):
                yield file.relative_to(path).as_posix(), file, file.stat().st_size
            return
        # A device or a pipe is not read: it may never end.
        if not path.is_file():
            raise FileNotFoundError
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise Refusal("image_missing", name=beginning(path.name)) from error
    if not is_archive(path):
        yield path.name, path, size
        return
    for info in _directory(path):
        name = _name(info)
        if not info.is_dir() and not is_junk(name):
            yield name, _Packed(path, info), info.file_size


def _below(folder: Path) -> Iterator[Path]:
    """All files below a folder but hidden ones; links to folders are not followed."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_junk(name)]
        for name in files:
            file = Path(parent, name)
            if not is_junk(name) and file.is_file():
                yield file


def is_junk(name: str) -> bool:
    """Whether a name is that of a hidden file, or of one that a system puts beside those of a person."""
    parts = name.split("/")
    return (
        any(part.startswith(".") and part.strip(".") for part in parts)
        or any(part in JUNK_FOLDERS for part in parts)
        or parts[-1].lower() in JUNK_FILES
    )


# --- zip archives ------------------------------------------------------------------------------------------


def _directory(path: Path) -> list[zipfile.ZipInfo]:
    """The table of contents of an archive; Refusal("archive_broken") where there is none, or too long a one."""
    try:
        with path.open("rb") as file:
            if _directory_bytes(file) > MAX_DIRECTORY_BYTES:
                raise Refusal("too_many_files", limit=MAX_FILES)
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except (Refusal, MemoryError):
        raise
    except Exception as error:  # zipfile raises anything on a broken archive
        raise Refusal("archive_broken", name=beginning(path.name)) from error


def _directory_bytes(file: io.BufferedReader) -> int:
    """How long an archive says that its table of contents is, read from its end.

    Raises:
        ValueError, struct.error: where there is no end record.
    """
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - END_LENGTH - MAX_COMMENT)
    file.seek(start)
    tail = file.read()
    at = tail.rindex(END_RECORD)
    (length,) = struct.unpack_from("<I", tail, at + 12)
    if length == 0xFFFFFFFF and tail[at - 20 : at - 16] == END_64_LOCATOR:
        (place,) = struct.unpack_from("<Q", tail, at - 12)
        file.seek(place)
        record = file.read(56)
        if record[:4] != END_64_RECORD:
            raise ValueError("no end record")
        (length,) = struct.unpack_from("<Q", record, 40)
    return length


def _name(info: zipfile.ZipInfo) -> str:
    """A member's name; one that is not marked as UTF-8 may be UTF-8 or GB 18030 all the same."""
    name = info.filename
    if not info.flag_bits & UTF8_NAME and not name.isascii():
        raw = name.encode("cp437", errors="replace")
        for encoding in ("utf-8", "gb18030"):
            try:
                name = raw.decode(encoding)
                break
            except UnicodeDecodeError:
                continue
    return name.replace("\\", "/")


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """The bytes of a member.

    Raises:
        Refusal: "member_name" for a path that leads out of the archive, "member_no_file" for a link or a device,
            "member_locked", "member_method", "member_nested", "image_file_too_large", "image_broken",
            "image_no_memory".
    """
    name = _name(info)
    if name.startswith("/") or ":" in name.split("/")[0] or ".." in name.split("/"):
        raise Refusal("member_name")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise Refusal("member_no_file")
    if info.flag_bits & ENCRYPTED:
        raise Refusal("member_locked")
    if info.compress_type not in METHODS:
        raise Refusal("member_method")
    if info.file_size > MAX_FILE_BYTES:
        raise Refusal("image_file_too_large", size=info.file_size >> 20, limit=MAX_FILE_BYTES >> 20)
    data = bytearray()
    try:
        with archive.open(info) as file:
            # What an archive declares may be less than what it holds.
            while piece := file.read(CHUNK):
                data += piece
                if len(data) > MAX_FILE_BYTES:
                    raise Refusal("image_file_too_large", size=len(data) >> 20, limit=MAX_FILE_BYTES >> 20)
    except Refusal:
        raise
    except MemoryError as error:
        raise Refusal("image_no_memory") from error
    except Exception as error:  # a wrong checksum, a cut stream
        raise Refusal("image_broken") from error
    if data.startswith(ARCHIVE_HEADS) or data[TAR_PLACE : TAR_PLACE + len(TAR_MARK)] == TAR_MARK:
        raise Refusal("member_nested")
    return bytes(data)
