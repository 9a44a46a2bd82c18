"""Files with an index: a folder, or what somebody handed over, kept as long as it is there."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import inputs
from core.errors import Refusal
from core.runtime import Cancel
from core.search import index, listing, store
from core.search.listing import Listed, Listing
from core.search.store import Row, Store

if TYPE_CHECKING:
    from core.search.index import Step
    from core.search.spaces import Space

UPLOADS = "uploads"  # the root of what was handed over
KEPT, CHECKED = (
    8,
    60.0,
)  # such collections at a time; seconds between looks at whether their files are still there
WAIT = 0.5  # seconds between tries to write an index that another process writes


@dataclass
class Collection:
    """Files with an index.

    Attributes:
        store: where its tables are.
        folders: where the files of each root lie; the tables may have other roots.
        only: of a root the folders that belong to it, where these are not all.
        passed: endings of names that are passed over, as if no such file were there.
        files: where single files lie, by the names that they are shown under.
        failures: what could not be indexed.
        ready: the checkpoints whose tables are up to date.
        home: a temporary folder that goes with the collection.
    """

    store: Store
    folders: Mapping[str, Path] = field(default_factory=dict)
    only: Mapping[str, Sequence[str]] = field(default_factory=dict)
    passed: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)
    failures: tuple[tuple[str, Refusal], ...] = ()
    ready: set[str] = field(default_factory=set)
    home: Any = None

    @property
    def roots(self) -> tuple[str, ...]:
        """Of the tables."""
        return tuple(self.folders) or (UPLOADS,)

    def file(self, row: Row) -> Path:
        """Where the file of a row lies.

        Raises:
            Refusal: "search_gone".
        """
        if row.path in self.files and self.files[row.path].is_file():
            return self.files[row.path]
        if row.root not in self.folders:
            raise Refusal("search_gone", name=listing.clean_name(row.path))
        return listing.locate(self.folders[row.root], row.path)

    def prepare(self, space: Space, cancel: Cancel | None = None) -> Iterator[Step | None]:
        """Brings the tables of a space up to date, once; None while another process writes to them.

        Raises:
            Refusal: "cancelled", what `core.search.index.update` refuses.
        """
        if space.checkpoint in self.ready:
            return
        for root in self.roots:
            last = None
            for last in self._steps(space, root, cancel):
                yield last
            if last is not None:
                told = dict(self.failures)
                self.failures = (*self.failures, *(one for one in last.failures if one[0] not in told))
        if cancel is not None and cancel.is_set():
            raise Refusal("cancelled")
        self.ready.add(space.checkpoint)

    def _steps(self, space: Space, root: str, cancel: Cancel | None) -> Iterator[Step | None]:
        folder = self.folders.get(root, Path())
        while True:
            if root == UPLOADS:
                files = {name: _listed(path) for name, path in self.files.items()}
                found = Listing(files, dict(self.failures))
            else:
                found = listing.listing(folder, self.only.get(root, ()))
                found.files = {
                    path: one for path, one in found.files.items() if not path.endswith(self.passed)
                }
            try:
                yield from index.update(self.store, space, folder, root=root, found=found, cancel=cancel)
                return
            except Refusal as refusal:
                if refusal.code != "search_busy" or (cancel is not None and cancel.is_set()):
                    raise
            yield None
            time.sleep(WAIT)


def _listed(path: Path) -> Listed:
    state = path.stat()
    return Listed(path, state.st_size, state.st_mtime)


_kept: OrderedDict[tuple[str, ...], Collection] = OrderedDict()
_lock = threading.Lock()


def of_files(paths: Sequence[str]) -> Collection:
    """The collection of files and zip archives, with an index of its own; the same paths give the same one while they are there.

    Raises:
        Refusal: what `core.inputs.files_of` refuses.
    """
    key = tuple(sorted(paths))
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    home = tempfile.TemporaryDirectory(prefix="clip-atlas-search-")
    files: dict[str, Path] = {}
    refused: list[tuple[str, Refusal]] = []
    for number, member in enumerate(inputs.files_of(list(paths))):
        name = listing.clean_name(member.name)
        name = name if name not in files else f"{number}/{name}"
        if member.refusal is not None:
            refused.append((name, member.refusal))
        elif name != member.name:
            refused.append((name, Refusal("search_name")))
        elif isinstance(member.content, Path):
            files[name] = member.content
        elif member.content is not None:
            # The name of a member is only shown; its file gets a name of ours.
            suffix = "".join(sign for sign in Path(name).suffix.lower() if sign.isalnum())[:8]
            files[name] = Path(home.name, f"{number:04d}.{suffix}")
            files[name].write_bytes(member.content)
    made = Collection(
        store.open_store(Path(home.name, "index")), files=files, failures=tuple(refused), home=home
    )
    with _lock:
        if not _kept:
            threading.Thread(target=_sweep, daemon=True).start()
        _kept[key] = made
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return made


def _sweep() -> None:
    """Forgets collections whose files have gone, as uploads do with their tab."""
    while True:
        time.sleep(CHECKED)
        with _lock:
            for key in [key for key in _kept if not all(Path(path).is_file() for path in key)]:
                del _kept[key]
            if not _kept:
                return
