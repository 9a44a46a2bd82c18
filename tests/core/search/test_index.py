"""An index follows its folder: new, changed, moved and gone files, failures that are remembered, a process that is killed."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import Refusal
from core.runtime import Cancel
from core.search import index, media
from core.search.listing import listing, locate
from core.search.store import Filter, open_store
from tests.core.search.colours import COLOURS, ColourSpace, feature, fill, find, paint, run

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def store(tmp_path: Path) -> Any:
    return open_store(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "files"
    fill(made, 10)
    return made


def table(store: Any) -> Any:
    return store.table(ColourSpace.visual)


def test_an_index_follows_its_folder(store: Any, folder: Path) -> None:
    first = run(store, folder)
    assert (first.done, first.unchanged, first.failures) == (10, 0, ())
    assert set(table(store).files("files")) == {
        p.relative_to(folder).as_posix() for p in folder.rglob("*.png")
    }
    pieces = table(store).count(Filter())
    assert pieces == 10 * 10  # the whole image and nine squares of each

    again = run(store, folder)
    assert (again.done, again.total, again.unchanged) == (0, 0, 10)

    ids = {row.id for row in table(store).pieces("files", "red/000.png")}
    (folder / "red/000.png").rename(folder / "moved.png")
    (folder / "green/001.png").unlink()
    paint(folder / "blue/002.png", "yellow", 99)
    shutil.copy(folder / "blue/007.png", folder / "copy.png")
    step = run(store, folder)
    assert (step.done, step.moved, step.gone, step.unchanged) == (2, 1, 1, 7)
    assert {row.id for row in table(store).pieces("files", "moved.png")} == ids  # not encoded again
    assert table(store).pieces("files", "red/000.png") == []
    assert {row.path for row in table(store).pieces("files", "copy.png")} == {"copy.png"}
    assert table(store).count(Filter()) == pieces
    assert find(store, "yellow").hits[0].row.path in ("blue/002.png", "yellow/003.png", "yellow/008.png")


def test_what_cannot_be_indexed_is_named_and_remembered(store: Any, folder: Path) -> None:
    (folder / "empty.jpg").touch()
    (folder / "broken.png").write_bytes((folder / "red/000.png").read_bytes()[:60])
    (folder / "secret.zip").write_bytes(b"PK\x03\x04nothing")
    (folder / "wrong.jpg").write_bytes((folder / "red/005.png").read_bytes())  # a PNG: told by content
    (folder / "odd\nname.png").write_bytes((folder / "red/005.png").read_bytes())
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "node_modules").mkdir()
    (folder / "Thumbs.db").write_bytes(b"")
    (folder / "outside.png").symlink_to("/etc/passwd")
    (folder / "inside.png").symlink_to(folder / "red/000.png")
    (folder / "up").symlink_to(folder.parent)
    os.mkfifo(folder / "pipe.png")
    step = run(store, folder)
    codes = {path: refusal.code for path, refusal in step.failures}
    assert codes == {
        "empty.jpg": "search_empty",
        "broken.png": "image_broken",
        "secret.zip": "search_kind",
        "odd\ufffdname.png": "search_name",
        "outside.png": "search_link",
    }
    assert step.hidden == 3
    names = set(table(store).files("files"))
    assert "wrong.jpg" in names and "inside.png" in names and "pipe.png" not in names
    for _, refusal in step.failures:
        assert refusal.text("en") and refusal.text("zh")
    again = run(store, folder)
    assert again.total == 0 and again.failures == ()
    assert {row.path for row in table(store).failures("files", 99)} == set(codes)
    assert run(store, folder, retry=True).total == 3  # what could be read differently now


def test_a_path_never_leads_out_of_its_folder(folder: Path) -> None:
    paint(folder.parent / "outside.png", "red")
    (folder / "link.png").symlink_to(folder.parent / "outside.png")
    assert locate(folder, "red/000.png") == (folder / "red/000.png").resolve()
    for path in (
        "../outside.png",
        "link.png",
        "/etc/passwd",
        "red/../../outside.png",
        "a\0b",
        "nowhere.png",
        "",
    ):
        with pytest.raises(Refusal, match="no longer there"):
            locate(folder, path)


def test_names_are_composed(tmp_path: Path) -> None:
    """A system that writes é as two characters means the same file."""
    paint(tmp_path / "cafe\u0301.png", "red")
    (path,) = listing(tmp_path).files
    assert path == "caf\u00e9.png" and locate(tmp_path, path).is_file()


def test_a_folder_that_is_none_is_one_sentence(store: Any, tmp_path: Path) -> None:
    for name in ("nowhere", "a\nb"):
        with pytest.raises(Refusal, match="no folder"):
            run(store, tmp_path / name)


def test_work_that_was_stopped_goes_on(store: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "TOGETHER", 3)
    cancel = Cancel()
    done = 0
    for step in index.update(
        store, ColourSpace(), folder, root="files", cancel=cancel, encode=stopping(cancel)
    ):  # type: ignore[arg-type]
        done = step.done
    assert 0 < done < 10
    rest = run(store, folder)
    assert rest.unchanged == done and rest.done == 10 - done


def stopping(cancel: Cancel) -> Any:
    """Encodes, and asks to stop after the first batch."""

    def encode(*arguments: Any) -> Any:
        yield from index.encode_batch(*arguments)
        cancel.set()

    return encode


def test_one_process_writes_and_others_read(store: Any, folder: Path) -> None:
    run(store, folder)
    other = open_store(store.url)

    def versions() -> int:
        one = table(store)
        return len(one.run(one.table.list_versions()))

    with store.writing(), pytest.raises(Refusal, match="writing"):
        run(other, folder)
    with other.reading():  # nothing is freed under a reader
        before = versions()
        table(store).tidy()
        assert versions() >= before
    table(store).tidy()
    assert versions() <= 2
    assert find(other, "red").hits


@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_process_loses_nothing_that_it_reported(seed: int, tmp_path: Path) -> None:
    fill(tmp_path / "files", 60)
    reported = kill_once(tmp_path / "store", tmp_path / "files", random.Random(seed).random())
    store = open_store(tmp_path / "store")
    known = table(store).files("files")
    assert len(known) >= reported
    rows = [row for path in known for row in table(store).pieces("files", path)]
    assert set(Counter((row.path, row.part) for row in rows).values()) == {1}
    rest = run(store, tmp_path / "files")
    assert rest.unchanged == len(known) and rest.unchanged + rest.done == 60
    assert table(store).count(Filter()) == 600


def kill_once(store: Path, folder: Path, share: float) -> int:
    """Searches what another process indexes, then kills it; how many files it had reported."""
    command = [sys.executable, "-m", "tests.core.search.colours", str(store), str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    reported = 0
    for line in process.stdout:
        if line.strip() == "ready":
            continue
        reported = int(line)
        if reported:  # what is reported can be searched from here, while it goes on
            found = table(open_store(store)).search(feature(np.array(COLOURS["blue"])), 5, Filter())
            assert len(found) == 5 and found[0].path.startswith("blue/")
        if reported >= 4 + 40 * share:
            time.sleep(0.02 * share)  # anywhere between two reports
            break
    process.kill()
    rest = process.stdout.read().split()
    process.wait()
    return int(rest[-1]) if rest else reported


def test_squares_reach_both_ends() -> None:
    for width, height in ((1920, 1080), (1280, 720), (500, 500), (300, 900), (4000, 100)):
        boxes = np.array(media.squares(width, height))
        assert boxes.min() == pytest.approx(0) and boxes[:, 2:].max(0) == pytest.approx([1, 1])
        sides = (boxes[:, 2:] - boxes[:, :2]) * [width, height]
        assert sides == pytest.approx(np.full_like(sides, min(width, height) / 2))
        assert len(boxes) <= 3 * media.PATCHES_ALONG


def test_texts_are_cut_where_the_encoder_stops(store: Any, folder: Path) -> None:
    (folder / "notes.txt").write_text("red " * 30 + "\n\nblue", encoding="utf-8")
    run(store, folder)
    parts = [row.text for row in table(store).pieces("files", "notes.txt")]
    assert len(parts) == 4 and parts[-1] == "blue"
    found = find(store, "blue", where=Filter(kinds=("text",)))
    assert found.hits[0].row.text == "blue"


def test_a_zip_is_no_way_out(tmp_path: Path, store: Any) -> None:
    """A zip archive in a folder is a file like others: it is not unpacked."""
    with zipfile.ZipFile(tmp_path / "slip.zip", "w") as archive:
        archive.writestr("../../evil.png", b"x")
    step = run(store, tmp_path)
    assert dict(step.failures)["slip.zip"].code == "search_kind"
    assert not list(tmp_path.parent.glob("evil*"))
