"""Brings a table up to date with a folder: new files are encoded, moved ones renamed, gone ones forgotten.

    for step in index.update(store, space, Path("/home/me/photos")):
        print(step.done, step.total, step.seconds_left)

Files go in by batches. A batch is one commit, and a step reports what is committed: whatever happens to the process, nothing that
was reported is lost, and what was not is encoded by the next run. A file that cannot be indexed is kept with its reason, so that
the next run does not try it again until it changes.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from core import inputs
from core.errors import Refusal
from core.inputs.media import digest_of
from core.runtime import Cancel
from core.search import media
from core.search.listing import Listed, Listing, listing
from core.search.media import Piece
from core.search.store import FileState, Filter, Row, Store, Table, in_batches

if TYPE_CHECKING:
    from core.search.spaces import Space

TOGETHER = 16  # files that are encoded at a time
COMMIT_FILES, COMMIT_SECONDS = 256, 2.0
# Refusals that may be over by the next run.
PASSING = {
    "search_deaf",
    "image_no_memory",
    "video_no_memory",
    "sound_no_memory",
    "out_of_memory",
    "search_unreadable",
}


@dataclass(frozen=True)
class Step:
    """How far the work is; everything that is counted here is committed."""

    done: int  # new files that were encoded or refused
    total: int  # new files
    seconds_left: float
    unchanged: int = 0
    moved: int = 0
    gone: int = 0
    hidden: int = 0
    failures: tuple[tuple[str, Refusal], ...] = ()  # of this run, all so far


class Job(NamedTuple):
    """A file to encode."""

    root: str
    path: str
    listed: Listed


@dataclass(frozen=True)
class Encoded:
    """What became of a file: rows of the table that sees and of the one that hears."""

    path: str
    visual: tuple[Row, ...]
    audible: tuple[Row, ...] = ()

    @property
    def refusal(self) -> Refusal | None:
        """Why the file has no piece."""
        return self.visual[0].refusal


Encode = Callable[[Sequence[Job], "Space", bool, Callable[[], object] | None], Iterable[Encoded]]


def update(
    store: Store,
    space: Space,
    folder: str | Path,
    *,
    root: str | None = None,
    limited: bool = True,
    retry: bool = False,
    found: Listing | None = None,
    cancel: Cancel | None = None,
    encode: Encode | None = None,
) -> Iterator[Step]:
    """Brings the tables of a space up to date with a folder.

    Args:
        store: where the tables are.
        space: what encodes.
        folder: all files below it.
        root: its name in the table; its address where it is left out.
        limited: whether files may be as long as a page allows, and no longer.
        retry: whether files that were refused before are tried again.
        found: the files, in place of those below the folder.
        cancel: a set flag ends the work behind the batch at hand.
        encode: in place of `encode_batch`, for example one that hands batches to other machines.

    Raises:
        Refusal: "search_folder", "search_busy", "search_store".
    """
    base = Path(folder)
    files = found or listing(base)
    name = root or str(base.resolve())
    visual = store.table(space.visual)
    audible = None if space.is_joint or space.audible is None else store.table(space.audible)
    tables = [table for table in (visual, audible) if table is not None]
    with store.writing():
        known = visual.files(name)

        def is_known(path: str, listed: Listed) -> bool:
            state = known.get(path)
            if state is None or state.size != listed.size or abs(state.mtime - listed.mtime) > 1e-3:
                return False
            return not state.error or not (retry or json.loads(state.error)[0] in PASSING)

        fresh = {path: one for path, one in files.files.items() if not is_known(path, one)}
        refused = {path: one for path, one in files.refused.items() if path not in known}
        gone = [path for path in known if path not in files.files and path not in files.refused]
        moves = _moved(fresh, gone, known)
        for table in tables:
            table.move(name, moves)
        gone = [path for path in gone if path not in moves]
        for table in tables:
            table.remove(name, gone)
        taken = set(moves.values())
        jobs = [Job(name, path, one) for path, one in fresh.items() if path not in taken]
        visual.add([_failed(Job(name, path, Listed(base, 0, 0.0)), one, "") for path, one in refused.items()])
        first = Step(
            len(refused),
            len(jobs) + len(refused),
            0.0,
            len(files.files) - len(fresh),
            len(moves),
            len(gone),
            files.hidden,
            tuple(refused.items()),
        )
        yield first
        changed = {job.path for job in jobs if job.path in known}
        yield from _encoded(jobs, changed, tables, space, first, limited, cancel, encode or encode_batch)
        if jobs or moves or gone:
            for table in tables:
                table.tidy()


def _encoded(
    jobs: Sequence[Job],
    changed: set[str],
    tables: Sequence[Table],
    space: Space,
    step: Step,
    limited: bool,
    cancel: Cancel | None,
    encode: Encode,
) -> Iterator[Step]:
    """Encodes files and commits them; a step for each commit."""
    visual, audible = tables[0], tables[1] if len(tables) > 1 else None
    begin = committed_at = time.monotonic()
    waiting: list[Encoded] = []

    def commit() -> Step:
        nonlocal step
        # What was heard first: a file counts as known by its rows in the table that sees.
        if audible is not None and any(one.audible for one in waiting):
            audible.replace(
                jobs[0].root, [one.path for one in waiting], [row for one in waiting for row in one.audible]
            )
        old = [one for one in waiting if one.path in changed]
        if old:
            visual.replace(
                jobs[0].root, [one.path for one in old], [row for one in old for row in one.visual]
            )
        visual.add([row for one in waiting if one.path not in changed for row in one.visual])
        failures = tuple((one.path, one.refusal) for one in waiting if one.refusal is not None)
        done = step.done + len(waiting)
        own = done - (step.total - len(jobs))
        left = (time.monotonic() - begin) / max(own, 1) * (step.total - done)
        step = replace(step, done=done, seconds_left=left, failures=step.failures + failures)
        waiting.clear()
        return step

    check = None if cancel is None else cancel.check
    for batch in in_batches(jobs, TOGETHER):
        if cancel is not None and cancel.is_set():
            break
        try:
            for one in encode(batch, space, limited, check):
                waiting.append(one)
        except Refusal as refusal:
            if refusal.code != "cancelled":
                raise
            break
        if len(waiting) >= COMMIT_FILES or time.monotonic() - committed_at > COMMIT_SECONDS:
            yield commit()
            committed_at = time.monotonic()
    if waiting:
        yield commit()


def _moved(fresh: dict[str, Listed], gone: Sequence[str], known: Mapping[str, FileState]) -> dict[str, str]:
    """Old path -> new path of files whose bytes are those of a file that is gone."""
    by_size: dict[int, list[str]] = {}
    for path in gone:
        by_size.setdefault(known[path].size, []).append(path)
    moves: dict[str, str] = {}
    for path, listed in fresh.items():
        old = [one for one in by_size.get(listed.size, ()) if one not in moves]
        if not old or path in known:
            continue
        try:
            with listed.file.open("rb") as file:
                digest = digest_of(file)
        except OSError:
            continue
        match = next((one for one in old if known[one].hash == digest), None)
        if match is not None:
            moves[match] = path
    return moves


# --- encoding ------------------------------------------------------------------------------------------------


def encode_batch(
    jobs: Sequence[Job], space: Space, limited: bool = True, check: Callable[[], object] | None = None
) -> Iterator[Encoded]:
    """The rows of some files, one file after the other; a refusal is a row. It reads files and nothing else.

    Raises:
        Refusal: "cancelled" from `check`.
    """
    for job in jobs:
        digest = ""
        try:
            with job.listed.file.open("rb") as file:
                digest = digest_of(file)
            pieces = list(media.pieces(job.listed.file, space, limited=limited, check=check))
            if not pieces:
                raise Refusal("search_nothing")
        except Refusal as refusal:
            if refusal.code == "cancelled":
                raise
            yield Encoded(job.path, (_failed(job, refusal, digest),))
            continue
        except OSError:
            yield Encoded(job.path, (_failed(job, Refusal("search_unreadable"), digest),))
            continue
        yield rows_of(job, pieces, digest, space.is_joint)


def rows_of(job: Job, pieces: Sequence[Piece], digest: str, is_joint: bool) -> Encoded:
    """The rows of a file's pieces. A file that is only heard has a row without a vector in the table that sees."""
    seen = [piece for piece in pieces if is_joint or not piece.is_heard]
    heard = [piece for piece in pieces if not is_joint and piece.is_heard]
    taken = inputs.read_capture_time(job.listed.file) if pieces[0].kind == "image" else None
    template = Row(
        id="", root=job.root, path=job.path, part=0, kind=pieces[0].kind, start=0.0, end=0.0, box=None, shot=0, width=0,
        height=0, taken=taken or job.listed.mtime, dated="exif" if taken else "file", mtime=job.listed.mtime,
        size=job.listed.size, hash=digest, text="", error="",
    )  # fmt: skip

    def rows(some: Sequence[Piece]) -> tuple[Row, ...]:
        return tuple(
            replace(
                template, id=uuid.uuid4().hex, part=part, start=piece.start, end=piece.end, box=piece.box, shot=piece.shot,
                width=piece.size[0], height=piece.size[1], text=piece.text, heard=piece.is_heard, vector=piece.vector,
            )
            for part, piece in enumerate(some)
        )  # fmt: skip

    return Encoded(job.path, rows(seen) or (replace(template, id=uuid.uuid4().hex),), rows(heard))


def _failed(job: Job, refusal: Refusal, digest: str) -> Row:
    return Row(
        id=uuid.uuid4().hex, root=job.root, path=job.path, part=0, kind="", start=0.0, end=0.0, box=None, shot=0, width=0,
        height=0, taken=job.listed.mtime, dated="file", mtime=job.listed.mtime, size=job.listed.size, hash=digest, text="",
        error=json.dumps([refusal.code, refusal.params], ensure_ascii=False),
    )  # fmt: skip


def forget(store: Store, space: Space, root: str) -> None:
    """Takes a collection out of the tables of a space."""
    with store.writing():
        for part in space.parts:
            table = store.table(part)
            table.remove(root, list(table.files(root)))


def count(store: Store, space: Space, roots: Sequence[str] = ()) -> int:
    """Pieces of the tables of a space."""
    return sum(store.table(part).count(Filter(roots=tuple(roots))) for part in space.parts)
