"""Checkpoints of the Hugging Face Hub: the cache first, then a pinned and checked download that resumes.

Files live in the Hub client's own cache and are linked there by its `hf_hub_download`. The bytes are fetched
here, because that function (huggingface_hub 2.4) throws a partial file away when it is interrupted, reports
progress every 10 MB and cannot be stopped in between. A download grows beside its place as
`<etag>.atlas.incomplete` and becomes a blob of the cache only with the right digest; nothing reads it before.
"""

from __future__ import annotations

import errno
import re
import selectors
import shutil
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core import proxies
from core.checkpoints import environment, integrity, transfer
from core.checkpoints.registry import Checkpoint, File, human
from core.checkpoints.transfer import Meter, Progress, Steps
from core.errors import Refusal
from core.runtime import on_space

environment.prepare()

import filelock  # noqa: E402
import httpx2  # noqa: E402
import huggingface_hub as hf  # noqa: E402
from huggingface_hub import constants, errors  # noqa: E402
from huggingface_hub.file_download import are_symlinks_supported  # noqa: E402
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status  # noqa: E402

if TYPE_CHECKING:
    from core.runtime import Cancel

# Pauses before the attempts that follow a cut connection; an attempt that brought data starts the list again.
RETRY_PAUSES = (0.5, 1.0, 2.0, 4.0)
FULL = (errno.ENOSPC, errno.EDQUOT)
ONE_READ = (
    1 << 16
)  # bytes that the HTTP client reads from a connection at once: the end of a header may bring a whole short body
PLAIN_NAME = re.compile(r"[0-9A-Za-z._-]+")


@dataclass(frozen=True)
class Remote:
    """What the Hub says of one file at one commit."""

    file: File
    commit: str
    etag: str
    size: int

    @property
    def expected(self) -> str | None:
        """The digest that the bytes must have: the registry's, else the Hub's (sha256 or git blob hash)."""
        if self.file.sha256:
            return self.file.sha256
        known = integrity.SHA256.fullmatch(self.etag) or integrity.GIT_SHA1.fullmatch(self.etag)
        return self.etag if known else None


def folder(row: Checkpoint) -> Path:
    """The repository's folder in the Hub cache."""
    return Path(constants.HF_HUB_CACHE) / f"models--{(row.repo or '').replace('/', '--')}"


def record() -> Path:
    """The file that remembers which cached files were checked."""
    return Path(constants.HF_HOME) / "clip-atlas" / "checked.json"


def cached(row: Checkpoint, file: File) -> Path | None:
    """The cached path of a file at the row's revision, unchecked; None where it is not there. No network."""
    found = hf.try_to_load_from_cache(
        row.repo or "", file.path, cache_dir=constants.HF_HUB_CACHE, revision=row.revision
    )
    return Path(found) if isinstance(found, str) else None


def expected(file: File, path: Path) -> str | None:
    """The digest of a cached file: the registry's, that of the blob it links to, or the one it came with; else None."""
    name = path.resolve().name if path.is_symlink() else ""
    named = integrity.SHA256.fullmatch(name) or integrity.GIT_SHA1.fullmatch(name)
    return file.sha256 or (name if named else integrity.known(path, record()))


def open(row: Checkpoint, *, cancel: Cancel | None = None, download: bool = True) -> Steps[dict[str, Path]]:
    """Local paths of a Hub row; see `core.checkpoints.steps`."""
    if not row.pinned and on_space():
        raise Refusal("unpinned_on_space", checkpoint=row.name)
    meter = Meter(cancel)
    here, damaged = _local(row, meter)
    if len(here) == len(row.files):
        return here
    offline = constants.is_offline_mode()
    if damaged and (offline or not download):
        raise Refusal("cache_damaged", checkpoint=row.name, file=damaged[0])
    if not download:
        raise Refusal("not_downloaded", checkpoint=row.name, size=human(row.size_bytes), licence=row.licence)
    if offline:
        missing = next(file.path for file in row.files if file.path not in here)
        code = "incomplete_snapshot" if here else "hub_offline"
        raise Refusal(code, checkpoint=row.name, file=missing)
    with disk():
        lock = _lock(row)
        yield from _turn(row, lock, meter)
        try:
            # Another thread or process may have finished it in the meantime.
            here, _ = _local(row, meter)
            yield from _download(row, [file for file in row.files if file.path not in here], here, meter)
            here, damaged = _local(row, meter)
        finally:
            lock.release()
    if damaged:
        raise Refusal("wrong_digest", checkpoint=row.name, file=damaged[0])
    yield meter.progress()
    return here


def verify(row: Checkpoint) -> dict[str, bool | None]:
    """Reads every cached file of a row again: file name -> whether it is right; wrong ones are removed.

    None for a file that another program has put there, as a copy that bears no digest, while the Hub cannot be asked.
    """
    answers: dict[str, bool | None] = {}
    for file in row.files:
        if path := cached(row, file):
            digest = expected(file, path) or _stated(row, file, path)
            right = integrity.right(path, digest, record=record(), afresh=True) if digest else None
            if right is False:
                integrity.remove(path)
            answers[file.path] = right
    return answers


def _stated(row: Checkpoint, file: File, path: Path) -> str | None:
    """What the Hub says of the digest of a cached file, at the commit that it is cached under."""
    if constants.is_offline_mode():
        return None
    with suppress(Refusal):
        return _ask(row, file, path.relative_to(folder(row) / "snapshots").parts[0]).expected
    return None


def _right(file: File, path: Path, meter: Meter) -> bool:
    digest = expected(file, path)
    if digest is None:  # a copy of another program's: what it is now, it has to stay
        integrity.remember(path, integrity.digest(path, "0" * 64, meter.check), record())
        return True
    return integrity.right(path, digest, record=record(), check=meter.check)


def _local(row: Checkpoint, meter: Meter) -> tuple[dict[str, Path], list[str]]:
    """The cached files that are right, and the names of those that were not and have been removed."""
    here, damaged = {}, []
    for file in row.files:
        path = cached(row, file)
        if path is None:
            continue
        if _right(file, path, meter):
            here[file.path] = path
        else:
            integrity.remove(path)
            damaged.append(file.path)
    return here, damaged


@contextmanager
def disk() -> Iterator[None]:
    """What a disk says no with, as refusals."""
    place = constants.HF_HUB_CACHE
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise Refusal("disk_full", folder=place) from error
        raise Refusal("cache_unwritable", folder=place, reason=str(error.strerror or error)) from error


def _lock(row: Checkpoint) -> filelock.BaseFileLock:
    """What one download of a checkpoint holds, over threads and processes. Its steps may run in several threads."""
    locks = Path(constants.HF_HUB_CACHE) / ".locks" / folder(row).name
    locks.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(locks / f"atlas-{row.name}.lock", thread_local=False)


def _turn(row: Checkpoint, lock: filelock.BaseFileLock, meter: Meter) -> Iterator[Progress]:
    """Takes the lock; meanwhile the download of whoever holds it is seen to grow."""
    while True:
        meter.check()
        try:
            lock.acquire(timeout=transfer.WAIT)
            return
        except filelock.Timeout:
            meter.total = row.size_bytes
            parts = [path for file in row.files if (path := cached(row, file))]
            parts += (folder(row) / "blobs").glob("*.atlas.incomplete")
            with suppress(FileNotFoundError):
                meter.done = sum(path.stat().st_size for path in parts)
            yield from meter.report()


def _download(row: Checkpoint, files: list[File], here: dict[str, Path], meter: Meter) -> Iterator[Progress]:
    """Fetches, checks and links files; raises before the first byte what can be known before it."""
    remotes = ask(row, files, meter.check)
    present = sum(path.stat().st_size for path in here.values())
    blobs = folder(row) / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    partly = sum(_size(_partial(blobs, remote)) for remote in remotes)
    meter.started = time.monotonic()
    meter.total = present + sum(remote.size for remote in remotes)
    meter.done = present + partly
    needed, free = meter.total - meter.done, shutil.disk_usage(blobs).free
    if needed > free:
        raise Refusal("disk_too_small", size=human(needed), free=human(free), folder=constants.HF_HUB_CACHE)
    for remote in remotes:
        meter.file = remote.file.path
        yield from meter.report()
        blob, partial = blobs / remote.etag, _partial(blobs, remote)
        if blob.exists() and _proves(remote, blob, meter):
            meter.done += remote.size - _size(partial)
        else:
            integrity.remove(blob)
            yield from _fetch(row, remote, partial, meter)
            partial.replace(blob)
        meter.check()
        path = _place(row, remote, blob)
        if remote.expected:
            integrity.remember(path, remote.expected, record())


def _place(row: Checkpoint, remote: Remote, blob: Path) -> Path:
    """Puts a blob into the snapshot: as a link or, where the disk has none, as the file itself, so that it is kept once."""
    if not are_symlinks_supported(folder(row)):
        pointer = folder(row) / "snapshots" / remote.commit / remote.file.path
        pointer.parent.mkdir(parents=True, exist_ok=True)
        blob.replace(pointer)
    return small(
        row, remote
    )  # the bytes are there: this only writes the link, and which commit a branch is at


def _partial(blobs: Path, remote: Remote) -> Path:
    return blobs / f"{remote.etag}.atlas.incomplete"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _proves(remote: Remote, path: Path, meter: Meter) -> bool:
    """Whether the bytes of a file are the wanted ones; by size alone where nobody states a digest."""
    if remote.expected is None:
        return _size(path) == remote.size
    return integrity.right(path, remote.expected, record=record(), check=meter.check)


def small(row: Checkpoint, remote: Remote) -> Path:
    """A file by the Hub client's own function: no resume, so only for what is small or already a blob."""
    with disk(), _refusals(row, remote.file):
        return Path(
            hf.hf_hub_download(
                row.repo or "",
                remote.file.path,
                revision=row.revision,
                cache_dir=constants.HF_HUB_CACHE,
                endpoint=constants.ENDPOINT,
            )
        )


def ask(
    row: Checkpoint, files: Sequence[File] | None = None, check: Callable[[], None] | None = None
) -> list[Remote]:
    """The Hub's word on files of a row (all by default), from one commit."""
    remotes: list[Remote] = []
    for file in row.files if files is None else files:
        if check:
            check()
        remotes.append(_ask(row, file, remotes[0].commit if remotes else row.revision or "main"))
    return remotes


def _ask(row: Checkpoint, file: File, revision: str) -> Remote:
    """The Hub's word on a file."""
    proxies.check(constants.ENDPOINT)
    url = hf.hf_hub_url(row.repo or "", file.path, revision=revision, endpoint=constants.ENDPOINT)
    with _refusals(row, file):
        said = hf.get_hf_file_metadata(
            url, timeout=constants.HF_HUB_ETAG_TIMEOUT, endpoint=constants.ENDPOINT
        )
    if not said.commit_hash or said.size is None or not PLAIN_NAME.fullmatch(said.etag or ""):
        raise Refusal("not_a_hub", endpoint=constants.ENDPOINT)
    remote = Remote(file, said.commit_hash, str(said.etag), said.size)
    if file.sha256 and integrity.SHA256.fullmatch(remote.etag) and remote.etag != file.sha256:
        # A large file's etag is its digest: the wrong bytes need not be fetched to know them.
        raise Refusal("wrong_digest", checkpoint=row.name, file=file.path)
    return remote


def _fetch(row: Checkpoint, remote: Remote, partial: Path, meter: Meter) -> Iterator[Progress]:
    """Brings the partial file to its full size and checks it; a wrong one is removed."""
    failures = 0
    while (had := _size(partial)) < remote.size:
        try:
            with _refusals(row, remote.file, stream=True):
                yield from _stream(row, remote, partial, meter)
        except httpx2.TransportError as error:
            failures = 1 if _size(partial) > had else failures + 1
            if failures > len(RETRY_PAUSES):
                raise Refusal(
                    "connection_cut",
                    checkpoint=row.name,
                    done=human(_size(partial)),
                    size=human(remote.size),
                ) from error
            yield from meter.wait(RETRY_PAUSES[failures - 1], time.sleep)
        except OSError as error:
            if error.errno in FULL:
                # A full disk hurts everyone on the machine more than a second download.
                partial.unlink(missing_ok=True)
            raise
    if _size(partial) != remote.size or not _proves(remote, partial, meter):
        partial.unlink(missing_ok=True)
        raise Refusal("wrong_digest", checkpoint=row.name, file=remote.file.path)


def _stream(row: Checkpoint, remote: Remote, partial: Path, meter: Meter) -> Iterator[Progress]:
    """One request: appends to the partial file what it still lacks."""
    had = _size(partial)
    headers = build_hf_headers() | {"Accept-Encoding": "identity"}
    if had:
        headers["Range"] = f"bytes={had}-"
    url = hf.hf_hub_url(row.repo or "", remote.file.path, revision=remote.commit, endpoint=constants.ENDPOINT)
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    # The session follows the redirect to the storage host and drops the token on the way.
    with get_session().stream(
        "GET", url, headers=headers, timeout=timeout, follow_redirects=True
    ) as response:
        hf_raise_for_status(response)
        resumed = response.status_code == 206
        if not resumed:  # a server without ranges starts again
            meter.done -= had
        chunks = response.iter_bytes()
        with partial.open("ab" if resumed else "wb") as file, _readable(response) as ready:
            while True:
                if file.tell() < remote.size and not (yield from meter.wait(timeout, ready)):
                    raise httpx2.ReadTimeout("the server is silent")
                chunk = next(chunks, None)
                if chunk is None:
                    return
                file.write(chunk)
                meter.done += len(chunk)
                meter.received += len(chunk)
                yield from meter.report()


@contextmanager
def _readable(response: httpx2.Response) -> Iterator[Callable[[float], bool]]:
    """Waits some seconds for the next bytes of a body, which a read could not be stopped in; true when a read will not wait.

    A body that is short, or of unknown length, may lie in the client's own buffers, and so may what a TLS connection inside
    another one has decrypted: those are read without waiting first.
    """
    stream = response.extensions.get("network_stream")
    socket = stream.get_extra_info("socket") if stream is not None else None
    layered = stream is not None and stream.get_extra_info("ssl_object") is not None
    if (
        socket is None
        or int(response.headers.get("content-length", 0)) <= ONE_READ
        or (layered and not isinstance(socket, ssl.SSLSocket))
    ):
        yield lambda seconds: True
        return
    with selectors.DefaultSelector() as selector:
        selector.register(socket, selectors.EVENT_READ)
        decrypted = socket.pending if layered else lambda: 0
        yield lambda seconds: bool(decrypted() or selector.select(seconds))


def _gated(row: Checkpoint) -> Refusal:
    """The Hub wants to know who asks; a row that can be imported may also come from a file."""
    code = "gated_import" if row.original else "gated"
    return Refusal(code, checkpoint=row.name, repo=row.repo or "")


@contextmanager
def _refusals(row: Checkpoint, file: File, stream: bool = False) -> Iterator[None]:
    """The Hub client's errors as refusals; while bytes stream, a broken connection is left to the caller."""
    try:
        yield
    except errors.GatedRepoError as error:
        raise _gated(row) from error
    except errors.RepositoryNotFoundError as error:
        raise Refusal("repo_not_found", checkpoint=row.name, repo=row.repo or "") from error
    except errors.RevisionNotFoundError as error:
        raise Refusal(
            "revision_not_found", checkpoint=row.name, repo=row.repo or "", revision=row.revision or ""
        ) from error
    except errors.RemoteEntryNotFoundError as error:
        raise Refusal("file_not_found", checkpoint=row.name, repo=row.repo or "", file=file.path) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise _gated(row) from error
        raise Refusal("hub_error", endpoint=constants.ENDPOINT, status=status) from error
    except (httpx2.TransportError, errors.LocalEntryNotFoundError) as error:
        if stream:
            raise
        raise Refusal("hub_unreachable", endpoint=constants.ENDPOINT) from error
