"""Checkpoints against a stand-in Hub on loopback: what arrives, what is refused, what stays behind."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import random
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from core import checkpoints
from core.checkpoints import Progress, environment, hub, integrity, registry, transfer
from core.errors import Refusal, sentences
from core.runtime import Cancel
from tests import standin_hub
from tests.standin_hub import StandInHub, point_at

REPO = "lab/small"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = "model.safetensors"
SIZES = {"config.json": 700, WEIGHTS: 1_500_000}
TOTAL = sum(SIZES.values())
NOBODY = "http://127.0.0.1:1"

# The rows of the tests: pinned with digests, pinned without, following a branch, bundled.
REGISTRY = f"""# A comment that stays.
[small]
repo = "{REPO}"
revision = "{COMMIT}"  # one that goes with its line
COMMON
[[small.files]]
path = "config.json"
[[small.files]]
# A comment inside.
path = "{WEIGHTS}"

[plain]
repo = "{REPO}"
revision = "{COMMIT}"
size_bytes = 1_500_000
COMMON
[[plain.files]]
path = "config.json"
[[plain.files]]
path = "{WEIGHTS}"

[branch]
repo = "{REPO}"
revision = "main"
COMMON
[[branch.files]]
path = "{WEIGHTS}"

[mini]
bundled = "BUNDLE"
COMMON
[[mini.files]]
path = "{WEIGHTS}"
""".replace(
    "COMMON",
    """paper = "clip"
title = { en = "Small", zh = "小" }
loader = "core.clip.encoders:load_open_clip"
licence = "mit"
licence_note = { en = "-", zh = "-" }
citation = "-"
languages = ["en"]
normalisation = "softmax"
knows = { en = "-", zh = "-" }
lacks = { en = "-", zh = "-" }
""",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repositories that the stand-in serves."""
    root = tmp_path_factory.mktemp("hub")
    folder = root / REPO / COMMIT
    folder.mkdir(parents=True)
    for name, size in SIZES.items():
        (folder / name).write_bytes(random.Random(name).randbytes(size))
    return root


@pytest.fixture
def rows(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry file of its own for every test."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / WEIGHTS).write_bytes(b"weights")
    folder = root / REPO / COMMIT
    files = {name: (integrity.sha256(folder / name), size) for name, size in SIZES.items()}
    path = tmp_path / "registry.toml"
    text = registry.edited(REGISTRY.replace("BUNDLE", bundle.as_posix()), "small", files)
    path.write_text(text, encoding="utf-8")
    monkeypatch.setenv("CLIP_ATLAS_REGISTRY", str(path))
    return path


@pytest.fixture
def server(root: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    """A stand-in Hub that the client in this process talks to, with an empty cache."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "SPACE_ID", "SYSTEM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with standin_hub.serve(root) as server:
        point_at(server.url, monkeypatch)
        monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(hub, "RETRY_PAUSES", (0.01,) * 4)
        monkeypatch.setattr(transfer, "REPORT", 0.0)  # a report at every step, however fast the machine is
        yield server
    huggingface_hub.close_session()


def refused(name: str = "small", **arguments: object) -> str:
    """The code that opening a row is refused with; its sentences can be written in both languages."""
    with pytest.raises(Refusal) as caught:
        checkpoints.open(name, **arguments)  # type: ignore[arg-type]
    assert caught.value.text("en") and caught.value.text("zh")
    return caught.value.code


def blobs() -> dict[str, int]:
    """Name -> size of what lies in the cache."""
    return {path.name: path.stat().st_size for path in Path(constants.HF_HUB_CACHE).glob("*/blobs/*")}


def bodies(server: StandInHub) -> list[str]:
    """The ranges that the storage host was asked for, "" for a whole file."""
    return [
        request.headers.get("Range", "")
        for request in server.requests
        if request.method == "GET" and request.path.startswith("/storage/")
    ]


# The registry


@pytest.mark.parametrize("row", registry.rows(), ids=lambda row: row.name)
def test_a_row_is_complete(row: registry.Checkpoint) -> None:
    module, function = row.loader.split(":")
    assert importlib.util.find_spec(module) and function.isidentifier()
    assert row.licence and row.citation and row.files and row.languages
    assert set(row.languages) <= {"en", "zh"} and row.normalisation in ("softmax", "sigmoid")
    for words in (row.title, row.licence_note, row.knows, row.lacks):
        assert set(words) == {"en", "zh"} and all(words.values())
    assert re.fullmatch(r"[a-z0-9-]+", row.name) and row.size_bytes > 0
    for file in row.files:
        assert file.sha256 is None or integrity.SHA256.fullmatch(file.sha256)
        assert not Path(file.path).is_absolute() and ".." not in Path(file.path).parts
    if row.bundled:
        assert row.repo is row.revision is None
        for file in row.files:
            assert file.sha256 == integrity.sha256(row.folder / file.path)
            assert file.size == (row.folder / file.path).stat().st_size
    elif row.repo:
        assert row.pinned or row.revision == "main"
    else:
        assert row.original, "a row has to come from somewhere"
    if row.original:
        module, function = row.original.expects.split(":")
        assert importlib.util.find_spec(module) and function.isidentifier()
    for other, digest in row.requires.items():
        assert digest in {file.sha256 for file in checkpoints.row(other).files}


@pytest.mark.parametrize("name", [5, ["clip-vit-b32"], None])
def test_what_is_no_name_is_no_row(name: Any) -> None:
    with pytest.raises(Refusal) as caught:
        checkpoints.row(name)
    assert caught.value.code == "unknown_checkpoint"


def test_names_are_the_agreed_ones() -> None:
    agreed = {"clip-vit-b32", "clip-vit-l14", "clip-rn50", "clip-rn101"}
    agreed |= {"clip-datacomp-b32", "clip-datacomp-l14", "chinese-clip-b16", "chinese-clip-l14-336"}
    assert agreed <= {row.name for row in registry.rows("clip")}
    # Nobody has published the whole hash of this one's commit where we could read it.
    assert all(checkpoints.row(name).pinned for name in agreed - {"clip-rn101"})
    with pytest.raises(Refusal) as caught:
        checkpoints.row("clip-vit-b33")
    assert caught.value.code == "unknown_checkpoint"
    near = caught.value.params["known"].split(", ")
    assert near[0] == "clip-vit-b32" and len(near) == registry.NAMED < len(registry.rows())


def test_every_refusal_of_the_room_has_both_sentences() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in registry.BUILT_IN.parent.glob("*.py"))
    codes = set(re.findall(r'Refusal\(\s*"(\w+)"', sources)) | {"incomplete_snapshot", "hub_offline"}
    assert len(codes) > 18
    for code in codes:
        assert set(sentences()[code]) == {"en", "zh"}, code


def test_the_default_row_follows_the_environment(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLIP_ATLAS_DEFAULT", raising=False)
    assert checkpoints.default("clip") == "mini"
    monkeypatch.setenv("CLIP_ATLAS_DEFAULT", "hub")
    assert checkpoints.default("clip") == "small"


@pytest.mark.parametrize(
    ("size", "text"),
    [(342, "342 B"), (999_600, "1 MB"), (605_143_284, "605 MB"), (1_710_000_000, "1.71 GB")],
)
def test_sizes_are_written_as_people_write_them(size: int, text: str) -> None:
    assert checkpoints.human(size) == text


# Downloads


def test_a_download_arrives_checked_and_is_not_asked_for_again(server: StandInHub, root: Path) -> None:
    assert checkpoints.state("small") == "absent"
    seen: list[Progress] = []
    paths = checkpoints.open("small", progress=seen.append)
    assert {name: path.read_bytes() for name, path in paths.items()} == {
        name: (root / REPO / COMMIT / name).read_bytes() for name in SIZES
    }
    assert {path.parent for path in paths.values()} == {paths["config.json"].parent}
    assert checkpoints.state("small") == "cached"
    done = [progress.done for progress in seen]
    assert done == sorted(done) and len(set(done)) >= 2 and done[-1] == TOTAL
    assert {progress.total for progress in seen} == {TOTAL}
    assert seen[-1].rate > 0 and seen[-1].eta == 0
    assert any(progress.eta and progress.file == WEIGHTS for progress in seen)

    asked = len(server.requests)
    integrity._checked.clear()  # as a new process
    assert checkpoints.open("small", download=False) == paths
    assert len(server.requests) == asked


def test_what_was_checked_is_not_read_again_until_it_changes(
    server: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoints.open("small")[WEIGHTS]
    integrity._checked.clear()
    read: list[Path] = []
    honest = integrity.digest
    monkeypatch.setattr(integrity, "digest", lambda p, *rest: read.append(p) or honest(p, *rest))
    checkpoints.open("small")
    assert not read
    os.utime(path, (1, 1))
    checkpoints.open("small")
    assert read == [path]


def test_the_cache_serves_with_the_server_gone_and_offline(
    server: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("small", "plain", "branch"):
        checkpoints.open(name)
    point_at(NOBODY, monkeypatch)
    checkpoints.open("small")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in ("small", "plain", "branch"):
        assert WEIGHTS in checkpoints.open(name)
    hub.cached(checkpoints.row("plain"), checkpoints.row("plain").files[0]).unlink()  # type: ignore[union-attr]
    assert refused("plain") == "incomplete_snapshot"


def test_nothing_is_asked_without_leave(server: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(download=False) == "not_downloaded"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert refused() == "hub_offline"
    assert server.requests == []


def test_no_network(server: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at(NOBODY, monkeypatch)
    assert refused() == "hub_unreachable"
    assert blobs() == {}


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("repo_404", "repo_not_found"),
        ("revision_404", "revision_not_found"),
        ("entry_404", "file_not_found"),
        ("gated", "gated"),
        ("bad_token", "gated"),
        ("error", "hub_error"),
        ("login_page", "not_a_hub"),
        ("wrong_bytes", "wrong_digest"),
    ],
)
def test_the_hub_says_no(server: StandInHub, kind: str, code: str) -> None:
    server.fault(f"{REPO}/{WEIGHTS}", kind)
    assert refused() == code
    assert WEIGHTS not in {path.name for path in Path(constants.HF_HUB_CACHE).rglob("snapshots/*/*")}
    assert all(size != SIZES[WEIGHTS] for size in blobs().values())
    assert checkpoints.state("small") == "absent"
    server.faults.clear()
    assert len(checkpoints.open("small")) == 2


@pytest.mark.parametrize("kind", ["gated", "bad_token"])
@pytest.mark.parametrize("importable", [False, True])
def test_a_gated_row_says_how_to_get_access(
    server: StandInHub, rows: Path, kind: str, importable: bool
) -> None:
    """403 for an account without access, 401 for a wrong token: where the licence, the token and HF_TOKEN are."""
    if importable:
        table = '[small.import]\nexpects = "core.clip.encoders:open_clip_tensors"\nsource = "-"\n'
        rows.write_text(f"{rows.read_text()}\n{table}")
    server.fault(f"{REPO}/{WEIGHTS}", kind)
    with pytest.raises(Refusal) as caught:
        checkpoints.open("small")
    for lang in ("en", "zh"):
        said = caught.value.text(lang)
        assert f"https://huggingface.co/{REPO}" in said and "settings/tokens" in said and "HF_TOKEN" in said
        assert ("core.checkpoints import small" in said) == importable and "\n" not in said


def test_wrong_bytes_without_a_recorded_digest_are_found_by_the_hubs_own(server: StandInHub) -> None:
    for file in SIZES:
        server.fault(f"{REPO}/{file}", "wrong_bytes")
        assert refused("plain") == "wrong_digest"
        assert not any(name.endswith(".incomplete") for name in blobs())
        server.faults.clear()


def test_a_hub_that_contradicts_the_registry_is_not_read(server: StandInHub, rows: Path) -> None:
    rows.write_text(registry.edited(rows.read_text(), "small", {WEIGHTS: ("0" * 64, SIZES[WEIGHTS])}))
    assert refused() == "wrong_digest"
    assert server.sent == 0


def test_cuts_are_resumed_where_they_happened(server: StandInHub) -> None:
    server.fault(f"{REPO}/{WEIGHTS}", "cut", after=200_000)
    checkpoints.open("small")
    assert bodies(server) == ["", *(f"bytes={n}00000-" for n in range(2, 15, 2))]
    assert server.sent == TOTAL


def test_a_short_body_that_comes_with_its_header_is_read_at_once(
    server: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is silent then, as everything lies in the client's buffer: nothing is waited for or asked again."""
    monkeypatch.setattr(standin_hub.Handler, "wbufsize", 1 << 20)  # headers and body leave in one piece
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 2)
    checkpoints.open("plain")
    assert sum("config.json" in r.path for r in server.requests if r.method == "GET") == 1


def test_a_silent_server_counts_as_a_cut(server: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    server.fault(f"{REPO}/{WEIGHTS}", "stall", after=500_000, times=1)
    checkpoints.open("small")
    assert bodies(server) == ["", "bytes=500000-"]


def test_a_lost_connection_is_given_up_and_resumed_by_the_next_call(
    server: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.fault(f"{REPO}/{WEIGHTS}", "cut", after=0)
    assert refused() == "connection_cut"
    assert len(bodies(server)) == 1 + len(hub.RETRY_PAUSES)
    monkeypatch.setattr(hub, "RETRY_PAUSES", ())
    server.fault(f"{REPO}/{WEIGHTS}", "cut", after=300_000)
    assert refused() == "connection_cut"
    assert checkpoints.state("small") == "absent"
    assert [size for name, size in blobs().items() if name.endswith(".incomplete")] == [300_000]

    server.faults.clear()
    server.requests.clear()
    seen: list[Progress] = []
    checkpoints.open("small", progress=seen.append)
    assert bodies(server) == ["bytes=300000-"]
    assert seen[0].done == 300_000 + SIZES["config.json"] and seen[-1].done == TOTAL
    assert server.sent == TOTAL


def test_a_server_without_ranges_starts_again(server: StandInHub) -> None:
    server.fault(f"{REPO}/{WEIGHTS}", "cut", after=300_000, times=1)
    honest = server.take
    server.take = lambda repo, file, *kinds: (  # type: ignore[method-assign]
        standin_hub.Fault("no_range") if kinds == ("no_range",) else honest(repo, file, *kinds)
    )
    checkpoints.open("small")
    assert server.sent == TOTAL + 300_000


def test_a_download_that_waits_elsewhere_holds_no_thread(server: StandInHub) -> None:
    before = threading.active_count()
    server.fault(f"{REPO}/{WEIGHTS}", "pause", after=200_000)
    job = checkpoints.steps("small")
    while next(job).done <= SIZES["config.json"]:
        pass
    names = {thread.name for thread in threading.enumerate()}
    assert threading.active_count() <= before + 2, names  # connections of the stand-in
    job.close()


@pytest.mark.parametrize("moment", ["bytes come", "no bytes come", "between two attempts"])
def test_a_stop_is_prompt_and_keeps_what_arrived(
    server: StandInHub, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing but the stop ends the wait: the stand-in is silent until this test is over.
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 3600)
    monkeypatch.setattr(hub, "RETRY_PAUSES", (3600.0,) * 4)
    kind = {"bytes come": "none", "no bytes come": "stall", "between two attempts": "cut"}[moment]
    server.fault(f"{REPO}/{WEIGHTS}", kind, after=200_000)
    cancel, seen = Cancel(), [0]

    def watch(now: Progress) -> None:
        waits = now.done == seen[-1]
        seen.append(now.done)
        if now.done > SIZES["config.json"] and (waits or moment == "bytes come"):
            cancel.set()

    assert refused(cancel=cancel, progress=watch) == "cancelled"
    assert checkpoints.state("small") == "absent"
    server.faults.clear()
    checkpoints.open("small")
    assert bodies(server)[-1] == f"bytes={seen[-1] - SIZES['config.json']}-"
    assert checkpoints.state("small") == "cached"


def test_a_failing_progress_callback_ends_the_download(server: StandInHub) -> None:
    server.fault(f"{REPO}/{WEIGHTS}", "pause", after=300_000)

    def gone(now: Progress) -> None:
        if now.done > SIZES["config.json"]:
            raise ConnectionAbortedError("the browser left")

    with pytest.raises(ConnectionAbortedError):
        checkpoints.open("small", progress=gone)
    (arrived,) = (size for name, size in blobs().items() if name.endswith(".incomplete"))
    server.go.set()
    server.faults.clear()
    checkpoints.open("small")  # nobody holds its lock any more
    assert bodies(server) == ["", f"bytes={arrived}-"] and 0 < arrived < SIZES[WEIGHTS]


def test_steps_may_run_in_several_threads(server: StandInHub) -> None:
    """As a server runs a handler's generator: each step in whichever thread is idle."""
    job, done, result = checkpoints.steps("small"), [], []

    def step() -> None:
        try:
            done.append(next(job).done)
        except StopIteration as end:
            result.append(end.value)

    while not result:
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
    assert done[-1] == TOTAL and result[0][WEIGHTS].stat().st_size == SIZES[WEIGHTS]
    assert hub._lock(checkpoints.row("small")).acquire(blocking=False)


def test_simultaneous_calls_download_once(server: StandInHub) -> None:
    server.fault(f"{REPO}/{WEIGHTS}", "pause", after=500_000)
    watching = threading.Barrier(4, action=server.go.set)
    results: list[dict[str, Path]] = []

    def call() -> None:
        waits = True

        def watch(now: Progress) -> None:
            # Those who wait see the bytes of the one who fetches.
            nonlocal waits
            if waits and SIZES["config.json"] < now.done < TOTAL:
                waits = False
                watching.wait()

        results.append(checkpoints.open("small", progress=watch))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and all(result == results[0] for result in results)
    assert server.sent == TOTAL


def test_reports_follow_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [128.0]
    monkeypatch.setattr(transfer, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(transfer, "REPORT", 0.125)
    monkeypatch.setattr(transfer, "WAIT", 0.125)

    def sleep(seconds: float) -> None:
        now[0] += seconds

    meter = transfer.Meter()
    assert list(meter.report()) == []  # nothing is known yet
    meter.total, meter.done, meter.received = 1000, 600, 500
    reports = 0
    for _ in range(64):
        sleep(1 / 64)
        reports += len(list(meter.report()))
    assert reports == 8
    last = meter.progress()
    assert (last.done, last.total, last.rate, last.eta) == (600, 1000, 500.0, 0.8)
    assert len(list(meter.wait(2.0, sleep))) == 16 and now[0] == 131.0
    assert list(meter.wait(2.0, lambda seconds: True)) == []


@pytest.mark.parametrize("name", ["small", "plain"])
def test_a_damaged_cache_is_removed_and_fetched_again(server: StandInHub, name: str) -> None:
    for allowed in (False, True):
        path = checkpoints.open(name)[WEIGHTS]
        good = path.read_bytes()
        path.write_bytes(b"x" + good[1:])
        if allowed:
            assert checkpoints.open(name)[WEIGHTS].read_bytes() == good
        else:
            assert refused(name, download=False) == "cache_damaged"
            assert not path.is_symlink() and SIZES[WEIGHTS] not in blobs().values()
            assert checkpoints.state(name) == "absent"


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk without symbolic links, as Windows and many network disks are."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", True)


def kept() -> int:
    """Bytes of all files in the cache but locks."""
    return sum(path.stat().st_size for path in Path(constants.HF_HUB_CACHE).rglob("*") if path.is_file())


def spoil(path: Path) -> None:
    """Changes one byte; size and name stay."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    os.utime(path, (1, 1))


@pytest.mark.usefixtures("no_links")
@pytest.mark.parametrize("name", ["small", "plain", "branch"])
def test_without_links_a_file_is_kept_once(server: StandInHub, name: str) -> None:
    paths = checkpoints.open(name)
    assert not any(path.is_symlink() for path in paths.values())
    assert {path.name: path.stat().st_size for path in paths.values()}.items() <= SIZES.items()
    sizes = sum(SIZES[path.name] for path in paths.values())
    assert sizes <= kept() < sizes + 10_000  # besides: the note of a branch's commit, a tag for backups
    assert blobs() == {} and checkpoints.state(name) == "cached"
    asked = len(server.requests)
    assert checkpoints.open(name) == paths and len(server.requests) == asked


@pytest.mark.usefixtures("no_links")
@pytest.mark.parametrize("file", SIZES)
@pytest.mark.parametrize("name", ["small", "plain"])
def test_without_links_a_changed_file_is_noticed(server: StandInHub, name: str, file: str) -> None:
    path = checkpoints.open(name)[file]
    integrity._checked.clear()  # as a new process
    spoil(path)
    assert refused(name, download=False) == "cache_damaged" and not path.exists()
    good = checkpoints.open(name)[file].read_bytes()
    integrity._checked.clear()
    spoil(path)
    assert hub.verify(checkpoints.row(name)) == {file: False} | {
        other: True for other in SIZES if other != file
    }
    assert checkpoints.open(name)[file].read_bytes() == good


@pytest.mark.usefixtures("no_links")
@pytest.mark.parametrize("when", ["cut", "stopped"])
def test_without_links_a_download_is_resumed(
    server: StandInHub, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "RETRY_PAUSES", ())
    cancel = Cancel()
    server.fault(f"{REPO}/{WEIGHTS}", "cut" if when == "cut" else "pause", after=300_000)
    stop = lambda now: cancel.set() if when == "stopped" and now.done > 300_000 else None  # noqa: E731
    assert refused(cancel=cancel, progress=stop) in ("connection_cut", "cancelled")
    server.faults.clear()
    assert checkpoints.open("small")[WEIGHTS].stat().st_size == SIZES[WEIGHTS]
    assert bodies(server)[-1].startswith("bytes=") and blobs() == {}


def test_a_copy_of_another_program_is_held_to_what_the_hub_says(
    server: StandInHub, no_links: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = checkpoints.row("plain")
    for file in SIZES:
        huggingface_hub.hf_hub_download(
            REPO, file, revision=COMMIT, endpoint=server.url, cache_dir=constants.HF_HUB_CACHE
        )
    paths = {file: hub.cached(row, registry.File(file)) for file in SIZES}
    assert not any(path.is_symlink() for path in paths.values())  # type: ignore[union-attr]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.verify(row) == dict.fromkeys(SIZES)  # nobody here can know
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert hub.verify(row) == dict.fromkeys(SIZES, True)
    spoil(paths[WEIGHTS])  # type: ignore[arg-type]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    integrity._checked.clear()
    assert hub.verify(row)[WEIGHTS] is False  # the Hub's word is remembered


def test_a_copy_of_another_program_stays_what_it_was_when_first_used(
    server: StandInHub, no_links: None
) -> None:
    for file in SIZES:
        huggingface_hub.hf_hub_download(
            REPO, file, revision=COMMIT, endpoint=server.url, cache_dir=constants.HF_HUB_CACHE
        )
    path = checkpoints.open("plain", download=False)[WEIGHTS]
    integrity._checked.clear()
    assert checkpoints.open("plain", download=False)[WEIGHTS] == path
    spoil(path)
    assert refused("plain", download=False) == "cache_damaged"


def test_the_record_of_checks_has_one_entry_for_a_file(tmp_path: Path) -> None:
    path, record = tmp_path / "w", tmp_path / "checked.json"
    for content in (b"one", b"two", b"three"):
        path.write_bytes(content)
        assert integrity.known(path, record) != integrity.sha256(path)
        integrity.remember(path, integrity.sha256(path), record)
        assert integrity.known(path, record) == integrity.sha256(path)
        assert list(json.loads(record.read_text()).values()) == [integrity.sha256(path)]
    path.unlink()
    integrity._checked.clear()
    assert integrity.known(path, record) is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_leaves_no_part(server: StandInHub, root: Path) -> None:
    folder = hub.folder(checkpoints.row("small")) / "blobs"
    folder.mkdir(parents=True)
    partial = folder / f"{standin_hub.etag(root / REPO / COMMIT / WEIGHTS)}.atlas.incomplete"
    partial.symlink_to("/dev/full")
    assert refused() == "disk_full"
    assert not partial.is_symlink()
    checkpoints.open("small")


def test_a_disk_too_small_is_found_before_the_first_byte(
    server: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    assert refused() == "disk_too_small"
    assert server.sent == 0


def test_a_cache_that_cannot_be_written(
    server: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    assert refused() == "cache_unwritable"


def test_the_token_goes_to_the_hub_only(server: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    checkpoints.open("small")
    for request in server.requests:
        hub_itself = not request.path.startswith("/storage/")
        assert (request.headers.get("authorization") == "Bearer hf_secret") == hub_itself, request
    assert any(request.path.startswith("/storage/") for request in server.requests)


def test_an_unpinned_row_is_shown_as_such_and_refused_on_a_space(
    server: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checkpoints.state("branch") == "unpinned"
    monkeypatch.setenv("SPACE_ID", "someone/atlas")
    assert refused("branch") == "unpinned_on_space"
    assert server.requests == []
    monkeypatch.delenv("SPACE_ID")
    assert COMMIT in checkpoints.open("branch")[WEIGHTS].parts
    assert checkpoints.state("branch") == "cached"


# Bundled rows and pins


def test_a_bundle_is_checked(rows: Path, tmp_path: Path) -> None:
    path = tmp_path / "bundle" / WEIGHTS
    rows.write_text(registry.edited(rows.read_text(), "mini", {WEIGHTS: (integrity.sha256(path), 7)}))
    assert checkpoints.open("mini") == {WEIGHTS: path}
    assert checkpoints.state("mini") == "bundled"
    path.write_bytes(b"changed")
    os.utime(path, (1, 1))
    assert refused("mini") == "bundle_damaged"
    path.unlink()
    assert refused("mini") == "bundle_missing"
    assert checkpoints.state("mini") == "absent"


def test_pins_are_written_between_comments(rows: Path) -> None:
    before = rows.read_text()
    after = registry.edited(before, "branch", {WEIGHTS: ("a" * 64, 12_345)}, "b" * 40)
    assert tomllib.loads(after)["branch"]["files"] == [{"path": WEIGHTS, "sha256": "a" * 64, "size": 12345}]
    assert tomllib.loads(after)["branch"]["revision"] == "b" * 40
    kept = [line for line in after.splitlines() if line not in before.splitlines()]
    assert kept == [f'revision = "{"b" * 40}"', f'sha256 = "{"a" * 64}"', "size = 12_345"]
    assert registry.edited(after, "branch", {WEIGHTS: ("a" * 64, 12_345)}, "b" * 40) == after
    built_in = registry.BUILT_IN.read_text(encoding="utf-8")
    row = registry.rows()[0]
    files = {file.path: (str(file.sha256), int(file.size or 0)) for file in row.files}
    assert registry.edited(built_in, row.name, files, row.revision) == built_in


# The command line, in processes of their own: these read HF_ENDPOINT as users set it


def command(
    server: StandInHub, tmp_path: Path, *arguments: str, **env: str
) -> subprocess.CompletedProcess[str]:
    """Runs `python -m core.checkpoints` against the stand-in."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "LC_", "LANG"))}
    mine = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1,localhost"}
    return subprocess.run(
        [sys.executable, "-m", "core.checkpoints", *arguments],
        cwd=registry.ROOT,
        env=clean | mine | env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_command_line(server: StandInHub, rows: Path, tmp_path: Path) -> None:
    listing = json.loads(command(server, tmp_path, "list", "--json").stdout)
    assert [(row["name"], row["state"], row["pinned"]) for row in listing] == [
        ("small", "absent", True),
        ("plain", "absent", True),
        ("branch", "unpinned", False),
        ("mini", "bundled", True),
    ]
    server.fault(f"{REPO}/{WEIGHTS}", "slow", rate=5e6)
    fetched = command(server, tmp_path, "fetch", "small")
    assert fetched.returncode == 0, fetched.stderr
    assert [Path(line).name for line in fetched.stdout.splitlines()] == list(SIZES)
    assert "licence: mit" in fetched.stderr and "100%" in fetched.stderr and "MB/s" in fetched.stderr
    again = command(server, tmp_path, "fetch", "small", HF_HUB_OFFLINE="1", HF_ENDPOINT=NOBODY)
    assert again.stdout == fetched.stdout

    table = command(server, tmp_path, "list", LANG="zh_CN.UTF-8").stdout.splitlines()
    assert table[0].split()[0] == "名称" and table[1].split()[:2] == ["small", "cached"]
    Path(fetched.stdout.splitlines()[0]).write_text("{}")
    verified = command(server, tmp_path, "verify")
    assert verified.returncode == 1 and "config.json        WRONG" in verified.stdout
    assert f"{WEIGHTS}  right" in verified.stdout
    assert command(server, tmp_path, "verify", "small").returncode == 0

    for arguments, status in ((("fetch", "nothing"), 1), (("fetch", "branch"), 1), (("remove",), 2)):
        failed = command(server, tmp_path, *arguments, HF_HUB_OFFLINE="1")
        assert failed.returncode == status
        assert "Traceback" not in failed.stderr
        assert status == 2 or failed.stderr.rstrip().splitlines()[-1].endswith((".", "。"))


def test_pinning_on_the_command_line(server: StandInHub, rows: Path, tmp_path: Path, root: Path) -> None:
    offline = command(server, tmp_path, "pin", HF_ENDPOINT=NOBODY)
    assert offline.returncode == 0 and "Hub rows stay as they are" in offline.stderr
    tables = tomllib.loads(rows.read_text())
    assert tables["mini"]["files"][0]["size"] == 7 and "sha256" not in tables["plain"]["files"][0]

    assert command(server, tmp_path, "pin").returncode == 0
    tables = tomllib.loads(rows.read_text())
    assert tables["branch"]["revision"] == COMMIT
    assert tables["plain"]["files"] == tables["small"]["files"]
    assert {file["path"]: file["sha256"] for file in tables["plain"]["files"]} == {
        name: integrity.sha256(root / REPO / COMMIT / name) for name in SIZES
    }
    assert (
        rows.read_text().startswith("# A comment that stays.") and "# A comment inside." in rows.read_text()
    )

    rows.write_text(registry.edited(rows.read_text(), "small", {WEIGHTS: ("0" * 64, 5)}))
    before = rows.read_text()
    refusing = command(server, tmp_path, "pin", "small")
    assert refusing.returncode == 1 and rows.read_text() == before


def test_two_processes_download_once(server: StandInHub, tmp_path: Path) -> None:
    server.fault(f"{REPO}/{WEIGHTS}", "slow", rate=2e6)
    outputs: list[str] = []
    threads = [
        threading.Thread(target=lambda: outputs.append(command(server, tmp_path, "fetch", "small").stdout))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outputs[0] == outputs[1] != ""
    assert server.sent == TOTAL


def test_the_room_is_cheap_to_enter_and_sets_the_environment() -> None:
    code = (
        "import os, sys, core.checkpoints as c; c.rows()\n"
        "print({'torch', 'huggingface_hub', 'gradio'} & set(sys.modules), "
        "[os.environ.get(n) for n in ('DISABLE_SAFETENSORS_CONVERSION', 'HF_HUB_DISABLE_TELEMETRY', "
        "'HF_HUB_DISABLE_XET')])"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "DISABLE_"))}
    for endpoint, xet in ((environment.DEFAULT_ENDPOINT, None), ("https://mirror.example", "1")):
        output = subprocess.run(
            [sys.executable, "-c", code],
            cwd=registry.ROOT,
            env=clean | {"HF_ENDPOINT": endpoint},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert output.strip() == f"set() ['1', '1', {xet!r}]"


# Weight files


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_state_dicts_load_from_plain_files(tmp_path: Path) -> None:
    state = {"a": torch.arange(6.0).reshape(2, 3), "logit_scale": torch.tensor(2.0)}
    save_file(state, tmp_path / "w.safetensors")
    torch.save(state, tmp_path / "w.bin")
    torch.save(state, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    for name in ("w.safetensors", "w.bin", "w.pt"):
        loaded = checkpoints.load_state_dict(tmp_path / name)
        assert loaded.keys() == state.keys()
        assert all(torch.equal(loaded[key], state[key]) for key in state)


@pytest.mark.filterwarnings("ignore:.*(pickle protocol|TorchScript)")
def test_other_files_are_refused_and_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    torch.save({"a": torch.zeros(1), "b": Bomb(mark)}, tmp_path / "bomb.bin")
    (tmp_path / "bomb.pkl").write_bytes(pickle.dumps(Bomb(mark)))
    torch.save({"epoch": 3}, tmp_path / "number.bin")
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(tmp_path / "script.pt"))
    torch.save({"a": torch.zeros(1000)}, tmp_path / "whole.bin")
    save_file({"a": torch.zeros(1000)}, tmp_path / "whole.safetensors")
    for name in ("whole.bin", "whole.safetensors"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / f"cut-{name}").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "page.html").write_text("<html>Please log in</html>")
    (tmp_path / "empty.bin").touch()
    expected = {
        "bomb.bin": "unsafe_weights",
        "bomb.pkl": "unsafe_weights",
        "number.bin": "unsafe_weights",
        "script.pt": "unsafe_weights",
        "cut-whole.bin": "corrupt_weights",
        "cut-whole.safetensors": "corrupt_weights",
        "page.html": "corrupt_weights",
        "empty.bin": "corrupt_weights",
        "missing.bin": "corrupt_weights",
    }
    found = {}
    for name in expected:
        with pytest.raises(Refusal) as caught:
            checkpoints.load_state_dict(tmp_path / name)
        found[name] = caught.value.code
    assert found == expected
    assert not mark.exists()


# The stand-in itself


def test_the_stand_in_answers_the_clients_other_calls(server: StandInHub, tmp_path: Path) -> None:
    api = huggingface_hub.HfApi(endpoint=server.url)
    info = api.model_info(REPO, files_metadata=True)
    assert info.sha == COMMIT
    assert {file.rfilename: file.size for file in info.siblings or []} == SIZES
    folder = huggingface_hub.snapshot_download(
        REPO, revision=COMMIT, cache_dir=tmp_path / "other", endpoint=server.url
    )
    assert {path.name for path in Path(folder).iterdir()} == set(SIZES)


def test_random_weights_fit_a_model_and_keep_it_calm(tmp_path: Path) -> None:
    import open_clip

    vision = {"image_size": 32, "layers": 2, "width": 64, "head_width": 16, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 100, "width": 32, "heads": 2, "layers": 2}
    model = open_clip.CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text).eval()
    for seed in (0, 0, 1):
        standin_hub.write_weights(model, tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors", seed)
    digests = [integrity.sha256(path) for path in sorted(tmp_path.iterdir())]
    assert digests[0] == digests[1] != digests[2]
    model.load_state_dict(checkpoints.load_state_dict(tmp_path / "0.safetensors"), strict=True)
    with torch.inference_mode():
        features = model.encode_image(torch.rand(3, 3, 32, 32), normalize=False)
    assert features.isfinite().all() and 0.01 < features.std() < 100
