"""What visitors give: it goes with their tab, or after an hour; nothing else of the server can be reached through it."""

from __future__ import annotations

import base64
import json
import os
import re
import time
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client, handle_file

from demos.app import site
from demos.app import uploads as ledger
from demos.app.uploads import Uploads, kept_files
from demos.kit import library
from tests.conftest import ROOT, get, open_client
from tests.wire import Tab, connect, post, upload

PICTURE = library.shared()["toys"]["path"]


def files(folder: Path) -> set[Path]:
    """The files below a folder; folders may go while it is walked through."""
    return {Path(place) / name for place, _, names in os.walk(folder) for name in names}


def until(condition: Any, seconds: float = 600) -> bool:
    """Whether something becomes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


# --- the ledger ----------------------------------------------------------------------------------------------


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path)


def put(uploads: Uploads, name: str) -> Path:
    """A file as Gradio stores it."""
    folder = uploads.folder / (name.encode().hex().ljust(64, "0"))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    path.write_bytes(name.encode())
    return path


def after_now(folder: Path) -> None:
    """Waits until a file that is written now gets a later stamp than this moment; ctime cannot be set, and its clock lags."""
    now, probe = time.time(), folder / "probe"
    probe.touch()
    while probe.stat().st_ctime <= now:
        probe.touch()
    probe.unlink()


def test_a_file_goes_with_the_last_session_that_used_it(uploads: Uploads) -> None:
    own, shared = put(uploads, "own"), put(uploads, "shared")
    uploads.note("a", [str(own), str(shared)])
    uploads.note("b", [str(shared)])
    assert uploads.leave("a") == 1
    assert not own.exists() and shared.exists()
    assert uploads.leave("a") == 0 and shared.exists()
    assert uploads.leave("b") == 1 and not shared.exists()


def test_the_same_bytes_uploaded_again_meanwhile_stay(uploads: Uploads) -> None:
    path = put(uploads, "twin")
    uploads.note("a", [str(path)])
    after_now(path.parent)
    put(uploads, "twin")  # another visitor, whose page has not named it yet
    assert uploads.leave("a") == 0 and path.exists()


def test_a_folder_waits_for_an_upload_that_is_on_its_way(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradio makes the folder first and moves the file into it behind its answer."""
    path = put(uploads, "own")
    uploads.note("a", [str(path)])
    assert uploads.leave("a") == 1 and path.parent.is_dir()
    assert uploads.sweep() == 0 and path.parent.is_dir()
    later = time.time() + ledger.SWEEP_SECONDS + 1
    monkeypatch.setattr(ledger, "time", SimpleNamespace(time=lambda: later))
    assert uploads.sweep() == 0 and not path.parent.exists() and uploads.folder.is_dir()


def test_what_is_no_upload_is_never_removed(uploads: Uploads, tmp_path: Path) -> None:
    outside = tmp_path.parent / "outside.png"
    outside.write_bytes(b"1")
    loose = uploads.folder / "loose.png"
    loose.write_bytes(b"2")
    link = put(uploads, "link").parent / "c.png"
    link.symlink_to(outside)
    uploads.note("a", [str(outside), str(loose), str(link), str(uploads.folder), "a\0b", "", "x" * 9999])
    assert uploads.leave("a") == 0 and outside.exists() and loose.exists()


def test_the_sweep_takes_what_is_old_and_leaves_what_pages_show(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, old, part = put(uploads, "kept"), put(uploads, "old"), uploads.folder / "tmp123"
    part.write_bytes(b"half an upload")
    uploads.note("a", [str(old)])
    assert uploads.sweep() == 0
    between = time.time()
    after_now(part.parent)
    young = put(uploads, "young")
    monkeypatch.setattr(ledger, "time", SimpleNamespace(time=lambda: between + 3600))
    assert uploads.sweep(age=3600, kept=frozenset([kept])) == 2
    assert kept.exists() and young.exists() and not old.exists() and not part.exists()


def test_pictures_that_components_hold_are_kept(tmp_path: Path) -> None:
    with gr.Blocks() as demo:
        gr.Image(PICTURE)
    assert any(path.name == Path(PICTURE).name for path in kept_files(demo))
    assert kept_files(site.build()) is not None


# --- the running app -----------------------------------------------------------------------------------------


def fn_index(server: str, api_name: str) -> int:
    """An endpoint's number, for requests as browsers make them."""
    config = json.loads(get(server + "/config?page=clip")[1])
    return next(row["id"] for row in config["dependencies"] if row["api_name"] == api_name)


def join(server: str, number: int, data: list[Any], session: str) -> tuple[int, Any]:
    body = json.dumps({"fn_index": number, "data": data, "session_hash": session}).encode()
    return post(server, "/gradio_api/queue/join", body)


def test_an_upload_goes_when_the_tab_closes(server: str) -> None:
    session = uuid.uuid4().hex[:10]
    tab = connect(server)
    tab.request("GET", f"/gradio_api/heartbeat/{session}")
    stream = tab.getresponse()
    assert b"ALIVE" in stream.readline()
    data = Path(PICTURE).read_bytes() + uuid.uuid4().bytes
    path = Path(upload(server, "mine.png", data))
    unused = Path(upload(server, "unused.png", data + b"1"))
    assert path.read_bytes() == data and unused.exists()
    number = fn_index(server, "clip_classify")
    assert join(server, number, [{"path": str(path)}, "dog, cat", None, None], session)[0] == 200
    time.sleep(0.3)
    assert path.exists()
    stream.close()
    tab.close()
    assert until(lambda: not path.exists())
    assert unused.exists()


def test_an_api_clients_upload_goes_when_it_closes(server: str, tmp_path: Path) -> None:
    folder = Path(upload(server, "x.png", b"probe")).parents[1]
    picture = tmp_path / f"{uuid.uuid4().hex}.png"
    picture.write_bytes(Path(PICTURE).read_bytes())
    client = open_client(server)
    client.predict(handle_file(str(picture)), "dog, cat", api_name="/clip_classify")
    assert picture.name in {file.name for file in files(folder)}
    client.close()
    # The client closes its connection when the server's next sign of life comes.
    assert until(lambda: picture.name not in {file.name for file in files(folder)})


def test_the_folder_is_of_this_process_alone(server: str) -> None:
    folder = Path(upload(server, "y.png", b"probe")).parents[1]
    assert folder.name.startswith("clip-atlas-") and folder.stat().st_mode & 0o077 == 0


# --- what an upload must not open ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["app.py", "/etc/hostname"])
def test_files_of_the_server_are_neither_read_nor_published(server: str, name: str) -> None:
    """Gradio copies what a handler returns into its public folder; no handler returns what a caller named."""
    path = name if name.startswith("/") else str(ROOT / name)
    tab = Tab(server)
    pictures = [number for number, part in tab.parts.items() if part["type"] == "image"]
    folder = Path(upload(server, "z.png", b"probe")).parents[1]
    before = files(folder)
    tried = 0
    # Every event with an image, also those that only the page itself may use.
    for row in tab.events:
        if set(pictures) & set(row["inputs"]) and row["backend_fn"]:
            assert tab.join(row, {number: {"path": path} for number in pictures})[0] == 200
            # The others go past the queue and are not told of in its stream.
            tried += row["queue"] is not False
    assert tried >= 3
    lines: list[str] = []
    with tab.stream() as messages:
        while sum("process_completed" in line for line in lines) < tried:
            lines.append(json.dumps(next(messages), ensure_ascii=False))
    text = "".join(lines)
    assert Path(path).name not in text or "Traceback" not in text
    # Buttons that fill in an example publish that; nothing else appears.
    examples = {file.read_bytes() for file in (ROOT / "assets" / "examples").rglob("*") if file.is_file()}
    published = files(folder) - before
    assert all(file.read_bytes() in examples for file in published)
    assert set(re.findall(re.escape(str(folder)) + r'/[^"?]+', text)) <= set(map(str, published | before))
    assert path not in text
    assert get_status(server, f"/gradio_api/file={path}") in (403, 404)


def get_status(server: str, path: str) -> int:
    """Status of a GET."""
    connection = connect(server)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize("name", ["a.svg", "a.html", "a.xml"])
def test_an_uploaded_document_is_never_shown_as_a_page(server: str, name: str) -> None:
    path = upload(server, name, b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')
    connection = connect(server)
    connection.request("GET", f"/gradio_api/file={path}")
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    connection.close()


def test_no_folder_is_opened_for_everybody() -> None:
    options = site.launch_options()
    assert not options.get("allowed_paths") and not options.get("share")
    assert ".gradio/" in (ROOT / ".gitignore").read_text().split()
    # No example is computed into a cache folder of Gradio's.
    assert not any(part.__class__.__name__ == "Dataset" for part in site.build().blocks.values())


@pytest.mark.parametrize(
    "arguments",
    [
        {"labels": 5},
        {"labels": {"a": 1}},
        {"labels": [1, 2]},
        {"labels": ["dog"], "template": 7},
        {"labels": ["dog"], "template": ["photo"]},
        {"labels": ["dog"], "checkpoint": {"x": 1}},
        {"labels": ["dog"], "checkpoint": "../../etc/passwd"},
        {"labels": "x" * 2_000_000},
    ],
)
def test_wrong_kinds_of_values_are_one_sentence(client: Client, arguments: dict[str, Any]) -> None:
    """Gradio checks neither the type nor the length of what reaches an endpoint."""
    uri = "data:image/png;base64," + base64.b64encode(Path(PICTURE).read_bytes()).decode()
    with pytest.raises(Exception) as caught:
        client.predict(uri, api_name="/clip_classify", **arguments)
    sentence = str(caught.value)
    assert 10 < len(sentence) < 400 and "Traceback" not in sentence and "/work" not in sentence
    assert "went wrong on our side" not in sentence, "a wrong value is the caller's, not the server's"


def test_a_bomb_is_refused_before_it_grows(server: str, client: Client) -> None:
    import zlib

    from tests.demos.clip.test_page import bomb

    data = bomb()
    path = upload(server, "bomb.png", data + zlib.compress(bytes(1000)))
    with pytest.raises(Exception, match=r"20,?000"):
        client.predict({"path": path}, "dog", api_name="/clip_classify")
    os.stat(path)
