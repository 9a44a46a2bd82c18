"""Where pieces are kept: one table per checkpoint, behind a small interface.

    /a/folder, s3://bucket/prefix, memory://    LanceDB inside this process (the default)
    db://name                                   LanceDB Cloud or Enterprise
    qdrant://host:6333                          a Qdrant server (`core.search.qdrant`, optional)

`CLIP_ATLAS_SEARCH` names the store of a server; without it the store lies in the user's cache folder.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from core.errors import Refusal
from core.inputs import visible
from core.search.media import KINDS, Kind

VARIABLE = "CLIP_ATLAS_SEARCH"
SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*(?:([kmgt])(i?))?b?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Part:
    """One table: what its vectors were made by, how many numbers they have, how alike two of them may be."""

    name: str  # of the table
    checkpoint: str
    dims: int
    same: float


@dataclass(frozen=True)
class Row:
    """A piece of a file in a table, or a file that has none and says why."""

    id: str
    root: str
    path: str  # relative to the root, with "/", NFC
    part: int  # number of the piece in its file; the first one stands for the file
    kind: Kind | str  # "" for a file without pieces
    start: float
    end: float
    box: tuple[float, float, float, float] | None
    shot: int
    width: int
    height: int
    taken: float  # seconds since 1970
    dated: str  # "exif" or "file": where `taken` comes from
    mtime: float
    size: int  # bytes of the file
    hash: str  # of the file's bytes
    text: str
    error: str  # JSON of a refusal; "" for a piece
    heard: bool = False  # the vector is of a sound, that of a video's frames for one
    vector: np.ndarray | None = field(default=None, compare=False, repr=False)  # [D]
    score: float = 0.0  # of a search: the cosine

    @property
    def lot(self) -> int:
        """A number that is the same for all pieces of a file and spread evenly over files: by it files are sampled."""
        return lot(self.root, self.path)

    @property
    def refusal(self) -> Refusal | None:
        """Why the file has no piece."""
        if not self.error:
            return None
        code, params = json.loads(self.error)
        return Refusal(code, **params)


LARGEST = (1 << 63) - 1  # number that a column of bytes holds
LOTS = 1 << 31


def lot(root: str, path: str) -> int:
    """See `Row.lot`."""
    return zlib.crc32(f"{root}\0{path}".encode("utf-8", "replace")) >> 1


@dataclass(frozen=True)
class FileState:
    """What the table knows of a file."""

    size: int
    mtime: float
    hash: str
    error: str


@dataclass(frozen=True)
class Filter:
    """Which pieces a search looks at; applied before vectors are compared.

    Attributes:
        roots: collections; none for all.
        kinds: of "image", "video", "sound", "text"; none for all.
        folder: relative to the root; what lies below it counts too.
        after, before: seconds since 1970, of `Row.taken`.
        least, most: bytes of the file.
        whole: only whole frames, as if there were no patches.
        heard: only sounds, those of videos too; or nothing that is heard.
    """

    roots: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    folder: str = ""
    after: float | None = None
    before: float | None = None
    least: int | None = None
    most: int | None = None
    whole: bool = False
    heard: bool | None = None

    @classmethod
    def of_texts(
        cls,
        roots: Sequence[str] = (),
        *,
        kinds: Sequence[str] = (),
        folder: str = "",
        after: str = "",
        before: str = "",
        larger: str = "",
        smaller: str = "",
        whole: bool = False,
    ) -> Filter:
        """A filter as people write it: days such as 2026-11-30, sizes such as "200 kB"; all kinds are no filter.

        Raises:
            Refusal: "search_kinds", "search_day", "search_size".
        """
        for name in kinds:
            if name not in KINDS:
                raise Refusal("search_kinds", name=visible(str(name))[:40], known=", ".join(KINDS))
        return cls(
            roots=tuple(roots),
            kinds=tuple(kinds) if set(kinds) != set(KINDS) else (),
            folder=folder.strip().strip("/"),
            after=day(after),
            before=day(before),
            least=size(larger),
            most=size(smaller),
            whole=whole,
        )


def day(text: str) -> float | None:
    """The beginning of a day of this machine's clock, as a filter takes it; None where none is named.

    Raises:
        Refusal: "search_day".
    """
    if not text.strip():
        return None
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        raise Refusal("search_day", text=visible(text)[:40]) from None


def size(text: str) -> int | None:
    """Bytes of a text such as "200 kB", "5MB" or "1.5 GiB", as a filter takes them; None where no size is named.

    Raises:
        Refusal: "search_size".
    """
    if not text.strip():
        return None
    found = SIZE.fullmatch(text.strip())
    if found is None:
        raise Refusal("search_size", text=visible(text)[:40])
    number, unit, binary = found.groups("")
    power = " kmgt".index(unit.lower() or " ")
    return min(round(float(number) * (1024 if binary else 1000) ** power), LARGEST)


@dataclass(frozen=True)
class Stats:
    """How large a table is."""

    files: int
    pieces: int
    failed: int
    bytes: int | None  # on the disk; None where the store does not tell
    is_indexed: bool  # whether vectors are found by an index, or all are compared
    seconds: float = 0.0


@dataclass(frozen=True)
class Sample:
    """Pieces of files drawn at random."""

    groups: list[str]  # "image", "video", "sound" (a video's, too), "text"
    files: list[tuple[str, str]]  # root and path
    vectors: np.ndarray  # [N, D] float32

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors, and about those of the names."""
        return self.vectors.nbytes + 200 * len(self.files)


class Table(Protocol):
    """The pieces of one checkpoint."""

    part: Part
    url: str  # of its store

    def count(self, where: Filter) -> int:
        """How many pieces there are."""

    def count_files(self, where: Filter) -> int:
        """How many files have such pieces."""

    def files(self, root: str) -> dict[str, FileState]:
        """The files of a root by path."""

    def add(self, rows: Sequence[Row]) -> None:
        """Adds all rows, or none where it is interrupted. Their files are not in the table."""

    def replace(self, root: str, paths: Sequence[str], rows: Sequence[Row]) -> None:
        """Puts rows in the place of all that is known of some files, in one step."""

    def move(self, root: str, moves: Mapping[str, str]) -> None:
        """Gives files other paths."""

    def remove(self, root: str, paths: Sequence[str]) -> None:
        """Forgets files."""

    def search(self, vector: np.ndarray, count: int, where: Filter, exact: bool = False) -> list[Row]:
        """The pieces whose vectors have the greatest cosines with a vector [D], best first."""

    def sample(self, files: int, where: Filter) -> Sample:
        """All pieces of about so many files; the same ones each time."""

    @property
    def version(self) -> str:
        """Changes with the content."""

    def get(self, identity: str) -> Row | None:
        """A piece by its id, with its vector."""

    def pieces(self, root: str, path: str) -> list[Row]:
        """All pieces of a file, with their vectors."""

    def failures(self, root: str, most: int) -> list[Row]:
        """Files without pieces."""

    def tidy(self) -> None:
        """Folds new rows into the index, makes one where it pays, and frees what no process reads."""

    def stats(self, roots: Sequence[str] = ()) -> Stats:
        """How large the table is."""

    def roots(self) -> list[str]:
        """The collections in the table."""


class Store(Protocol):
    """Tables by checkpoint."""

    url: str

    def table(self, part: Part) -> Table:
        """The table of a part of a space; made where there is none."""

    def writing(self) -> Any:
        """A context in which no other process writes; Refusal("search_busy") where one does."""


def default_url() -> str:
    """The store of this server or this user."""
    named = os.environ.get(VARIABLE, "").strip()
    if named:
        return named
    return str(cache_folder() / "search")


def cache_folder() -> Path:
    """Where this user keeps what can be made again."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(cache, "clip-atlas")


def open_store(url: str | Path | None = None) -> Store:
    """The store behind an address.

    Raises:
        Refusal: "search_store" where it cannot be opened, "no_package" where its engine is not installed.
    """
    address = str(url or default_url())
    if address.startswith("qdrant://"):
        from core.search.qdrant import Qdrant

        return Qdrant(address)
    from core.search.lance import Lance

    return Lance(address)


def in_batches(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of at most so many values."""
    batch: list[Any] = []
    for value in values:
        batch.append(value)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
