"""What breaks under a running server: one sentence each, the server stays up, a later try works.

The faults are real ones: files removed and overwritten, a device that is always full, a Hub that stalls or lies, an
address space too small for a model.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from gradio_client import handle_file
from gradio_client.exceptions import AppError
from safetensors.torch import save_file

from core.checkpoints import registry
from demos.kit import library
from tests import standin_hub, tiny
from tests.conftest import ROOT, get, open_client, process_of, running_app
from tests.wire import Tab, upload

PICTURE = library.shared()["toys"]["path"]
REPO, COMMIT = "lab/fetched", "a" * 40
WEIGHTS, PADDING = "model.safetensors", "padding.bin"
LABELS = ["dog", "cat", "red envelope"]


@dataclass(frozen=True)
class Place:
    """A running app whose rows and whose Hub can be broken."""

    url: str
    client: Any  # one for all calls: a client reads what the whole app offers before its first one
    log: Path
    pid: int
    hub: standin_hub.StandInHub
    folder: Path
    environment: dict[str, str]

    def classify(self, checkpoint: str) -> Any:
        """The labels in the order of an answer, or the one sentence that came in its place."""
        try:
            answer = self.client.predict(
                handle_file(PICTURE), LABELS, checkpoint=checkpoint, api_name="/clip_classify"
            )
        except AppError as error:
            return str(error)
        return sorted(row["label"] for row in answer["results"])

    def complete(self) -> bool:
        """Whether every file of the row on the Hub is in the cache; a loaded model would answer without."""
        (folder,) = [*(self.folder / "home" / "hub").glob("*/snapshots/*"), self.folder / "none"][:1]
        return all((folder / name).exists() for name in (WEIGHTS, PADDING))


def as_hub_row(row: str) -> str:
    """A bundled row's table, the files on the Hub instead."""
    bundled = next(line for line in row.splitlines() if line.startswith("bundled"))
    return row.replace(bundled, f'repo = "{REPO}"\nrevision = "{COMMIT}"\nsize_bytes = 4_300_000')


def make_large(folder: Path) -> None:
    """A bundle whose text embedding alone takes 300 MB: more than the address space that a test leaves."""
    tiny.make_bundle(folder)
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"] |= {"vocab_size": 150_000, "width": 512}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with torch.device("meta"):
        model = open_clip.CLIP(**config["model_cfg"])
    save_file({name: torch.zeros(t.shape) for name, t in model.state_dict().items()}, folder / WEIGHTS)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """An app with bundled rows of its own and a Hub on loopback."""
    folder = tmp_path_factory.mktemp("faults")
    tables = []
    for seed, name in enumerate(("first", "deleted", "corrupted", "evicted")):
        tiny.make_bundle(folder / name, seed=seed)
        tables.append(tiny.row(name, folder / name))
    make_large(folder / "large")
    tables.append(tiny.row("large", folder / "large"))
    repo = folder / "repos" / REPO / COMMIT
    tiny.make_bundle(repo, seed=9)
    # Something that takes its time on a slow line.
    (repo / PADDING).write_bytes(random.Random(0).randbytes(4_000_000))
    tables.append(as_hub_row(tiny.row("fetched", repo)))
    shipped = Path(registry.__file__).with_name("registry.toml").read_text(encoding="utf-8")
    (folder / "registry.toml").write_text("\n".join([shipped, *tables]), encoding="utf-8")
    with standin_hub.serve(folder / "repos") as hub:
        environment = {
            "CLIP_ATLAS_REGISTRY": str(folder / "registry.toml"),
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(folder / "home"),
            "HF_HUB_CACHE": str(folder / "home" / "hub"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DOWNLOAD_TIMEOUT": "2",
            "HF_HUB_ETAG_TIMEOUT": "2",
        }
        log = folder / "app.log"
        with running_app(log, **environment) as url, closing(open_client(url)) as client:
            yield Place(url, client, log, process_of(url), hub, folder, environment)
            # Up, and not one of these faults was news to it.
            assert get(url + "/clip", Accept="text/html")[0] == 200
    assert "Traceback" not in log.read_text(), log.read_text()[-3000:]


@pytest.fixture(autouse=True)
def _stays_up(place: Place) -> Iterator[None]:
    """After every fault the server answers with a model that is here, and an unbroken Hub brings what is not."""
    shutil.rmtree(place.folder / "home", ignore_errors=True)
    place.hub.faults.clear()
    yield
    assert place.classify("first") == sorted(LABELS)


def download(place: Place) -> str:
    """Presses the page's Download button for the row on the Hub; everything that it showed."""
    return Tab(place.url).run("download-checkpoint", "click", checkpoint="fetched")


def sentences(shown: str) -> set[str]:
    """The alerts in what a page was shown."""
    return {part.split("</p>")[0].split(">")[-1] for part in shown.split('role=\\"alert\\"')[1:]}


# --- files ---------------------------------------------------------------------------------------------------


def test_a_deleted_model_file(place: Place) -> None:
    path = place.folder / "deleted" / WEIGHTS
    away = path.rename(path.with_suffix(".away"))
    said = place.classify("deleted")
    assert "deleted lacks its file model.safetensors" in said and "Traceback" not in said
    away.rename(path)
    assert place.classify("deleted") == sorted(LABELS)
    path.unlink()
    # What is loaded goes on answering without its file.
    assert place.classify("deleted") == sorted(LABELS)


def test_a_corrupted_model_file(place: Place) -> None:
    path = place.folder / "corrupted" / WEIGHTS
    whole = path.read_bytes()
    path.write_bytes(whole[:1000] + b"\xff" * 1000 + whole[2000:])
    said = place.classify("corrupted")
    assert "The file model.safetensors of corrupted is not the recorded one" in said
    path.write_bytes(whole[:5000])
    assert "is not the recorded one" in place.classify("corrupted")
    path.write_bytes(whole)
    assert place.classify("corrupted") == sorted(LABELS)


def test_a_cached_download_that_is_damaged_or_gone(place: Place) -> None:
    assert not sentences(download(place))
    blob = (next((place.folder / "home" / "hub").glob("*/snapshots/*")) / WEIGHTS).resolve()
    blob.write_bytes(bytes(blob.stat().st_size))
    assert "damaged and has been removed" in place.classify("fetched")
    assert "not on this machine yet" in place.classify("fetched")
    assert not sentences(download(place))
    assert place.classify("fetched") == sorted(LABELS)


def test_a_folder_of_uploads_that_was_cleaned_away(place: Place) -> None:
    """Systems empty their temporary folders; the next upload makes its folder again."""
    folder = Path(upload(place.url, "a.png", b"probe")).parents[1]
    shutil.rmtree(folder)
    assert place.classify("first") == sorted(LABELS)


# --- the disk ------------------------------------------------------------------------------------------------


def test_a_disk_that_fills_up_while_a_model_is_cached(place: Place) -> None:
    """The part of the download is written to a device that has no room, as a full disk has none."""
    digest = standin_hub.etag(place.folder / "repos" / REPO / COMMIT / WEIGHTS)
    blobs = place.folder / "home" / "hub" / f"models--{REPO.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{digest}.atlas.incomplete").symlink_to("/dev/full")
    (said,) = sentences(download(place))
    assert "is full; make room" in said
    assert not list(blobs.glob("*.incomplete"))
    assert not sentences(download(place))
    assert place.classify("fetched") == sorted(LABELS)


# --- the Hub -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "details", "words"),
    [
        ("wrong_bytes", {}, "is not the recorded one and was thrown away"),
        ("login_page", {}, "does not answer like a Hugging Face Hub"),
        ("error", {}, "answered with error 500"),
        ("cut", {"after": 0}, "connection was lost"),
        ("stall", {"after": 0}, "connection was lost"),
    ],
)
def test_a_hub_that_sends_garbage_or_nothing(
    place: Place, kind: str, details: dict[str, float], words: str
) -> None:
    place.hub.fault(REPO, kind, **details)
    (said,) = sentences(download(place))
    assert words in said
    place.hub.faults.clear()
    assert not sentences(download(place))


def test_a_slow_hub_keeps_nobody_else_waiting_and_can_be_stopped(place: Place) -> None:
    place.hub.fault(f"{REPO}/{PADDING}", "pause", after=500_000)
    tab = Tab(place.url)
    assert tab.join(tab.event("download-checkpoint", "click"), {"checkpoint": "fetched"})[0] == 200
    with tab.stream() as messages:
        shown = (json.dumps(message) for message in messages)
        assert any("B/s" in text for text in shown)  # how fast it comes is on the page
        # The Hub says nothing more before it is told to: only the server can end what follows.
        assert place.classify("first") == sorted(LABELS)
        tab.join(tab.event("stop-download", "click"), {})
        assert any("process_completed" in text and "Stopped" not in text for text in shown)
    assert not place.complete()
    place.hub.faults.clear()
    place.hub.go.set()
    assert not sentences(download(place))
    assert place.classify("fetched") == sorted(LABELS)


# --- memory --------------------------------------------------------------------------------------------------


@contextmanager
def address_space(pid: int, room: int) -> Iterator[None]:
    """Leaves a running process `room` bytes of address space beyond what it has."""
    before = resource.prlimit(pid, resource.RLIMIT_AS)  # type: ignore[attr-defined]
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + room
    resource.prlimit(pid, resource.RLIMIT_AS, (limit, before[1]))  # type: ignore[attr-defined]
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_AS, before)  # type: ignore[attr-defined]


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux limits a running process")
def test_a_model_too_large_for_the_memory(place: Place) -> None:
    with address_space(place.pid, 150 << 20):
        said = place.classify("large")
        assert "There is not enough memory for large" in said
        assert place.classify("first") == sorted(LABELS)
    assert place.classify("large") == sorted(LABELS)


# --- the command line beside it ------------------------------------------------------------------------------


def test_what_another_process_fetches_is_there_at_once(place: Place) -> None:
    assert not place.complete()
    subprocess.run(
        [sys.executable, "-m", "core.checkpoints", "fetch", "fetched"],
        cwd=ROOT,
        env={**os.environ, **place.environment},
        check=True,
        capture_output=True,
    )
    assert place.complete()
    assert place.classify("fetched") == sorted(LABELS)
