"""Files that commands write, and seeds that they take: refused in one sentence before the work, or right."""

from __future__ import annotations

import json
import os
import stat
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from core import __main__ as commands
from core import inputs, outputs, runtime
from core.classroom import __main__ as classroom
from core.classroom.world import dataset
from core.drawing import clipasso, clipdraw
from core.errors import Refusal

ROOT = Path(__file__).resolve().parents[2]
IMAGE = str(ROOT / "assets/examples/clip/toys.webp")


def unwritable(kind: str, folder: Path, end: str = ".svg") -> Path:
    """A name that no file can be written under."""
    path = folder / f"a{end}"
    if kind == "a folder":
        path.mkdir()
    elif kind == "in no folder":
        path = folder / "none" / path.name
    elif kind == "in a file":
        (folder / "file").touch()
        path = folder / "file" / path.name
    elif kind == "where the system allows none":
        path = Path("/proc") / path.name
    elif kind == "a name too long":
        path = folder / ("a" * 300 + end)
    elif kind == "a link to nowhere":
        path.symlink_to(folder / "none" / "b.svg")
    elif kind == "a link to itself":
        path.symlink_to(path)
    elif kind == "a full device":
        path.symlink_to("/dev/full")
    return path


KINDS = (
    "a folder",
    "in no folder",
    "in a file",
    "where the system allows none",
    "a name too long",
    "a link to nowhere",
    "a link to itself",
)


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever begins to draw or to compose fails."""

    def work(*_: Any, **__: Any) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr(clipasso, "sketch", work)
    monkeypatch.setattr(clipdraw, "draw", work)
    monkeypatch.setattr(dataset, "write", work)


def ran(
    main: Any, arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> tuple[int, str]:
    """Status of a command, and what it said on standard error."""
    monkeypatch.setattr(sys, "argv", ["python -m core", *arguments])
    status = main()
    return status, capsys.readouterr().err


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("verb", ["sketch", "draw", "dataset"])
def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    verb: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = unwritable(kind, tmp_path, ".zip" if verb == "dataset" else ".svg")
    if verb == "dataset":
        arguments = ["dataset", "--scenes", "2", "--size", "64", "--out", str(path)]
        status = classroom.main(arguments)
        said = capsys.readouterr().err
    else:
        given = IMAGE if verb == "sketch" else "a cat"
        status, said = ran(commands.main, [verb, given, "--out", str(path)], capsys, monkeypatch)
    assert status == 1 and said.count("\n") == 1 and str(path.parent) in said
    assert "cannot be written" in said or "There is no folder" in said


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("wrong", ["a.bmp", "a", "a.svg.txt", ".svg"])
def test_a_drawing_of_no_known_format_is_refused(
    wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["draw", "a cat", "--out", str(tmp_path / wrong)]
    status, said = ran(commands.main, arguments, capsys, monkeypatch)
    assert status == 1 and "end the file's name with one of" in said and not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_work")
def test_a_folder_with_files_takes_no_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").touch()
    assert classroom.main(["dataset", "--scenes", "2", "--out", str(tmp_path)]) == 1
    assert "is not empty" in capsys.readouterr().err


def test_a_look_changes_nothing(tmp_path: Path) -> None:
    new, old = tmp_path / "new.svg", tmp_path / "old.svg"
    old.write_text("kept")
    outputs.check(new)
    outputs.check(old)
    assert not new.exists() and old.read_text() == "kept"
    outputs.check_folder(tmp_path / "folder")
    assert not list((tmp_path / "folder").iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_at_the_end_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = unwritable("a full device", tmp_path)
    arguments = ["draw", "a cat", "--strokes", "2", "--steps", "1", "--out", str(out)]
    status, said = ran(commands.main, arguments, capsys, monkeypatch)
    assert status == 1 and "No space left" in said and "Traceback" not in said


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_without_leave_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    path.touch()
    path.chmod(stat.S_IRUSR)
    with pytest.raises(Refusal) as caught:
        outputs.check(path)
    assert caught.value.code == "out_unwritable"


# Seeds


@pytest.mark.parametrize("value", [0, 1, 7, 2**31 - 1])
def test_a_seed_stays(value: int) -> None:
    assert inputs.seed(value) == value


def test_any_seed_is_one_of_many() -> None:
    taken = {inputs.seed(-1) for _ in range(20)}
    assert len(taken) > 15 and all(0 <= seed < 2**31 for seed in taken)


@pytest.mark.parametrize("value", [-2, -(2**40), 2**31, 2**64])
def test_other_seeds_are_one_sentence(value: int) -> None:
    for ask in (
        lambda: inputs.seed(value),
        lambda: clipasso.check(clipasso.SketchSettings(first_seed=value)),
        lambda: clipdraw.check(clipdraw.DrawSettings(first_seed=value)),
    ):
        with pytest.raises(Refusal) as caught:
            ask()
        assert caught.value.code == "bad_seed" and str(value) in caught.value.text("zh")


@pytest.mark.parametrize("verb", ["sketch", "draw"])
def test_any_seed_on_the_command_line_is_named_and_gives_the_drawing_again(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = IMAGE if verb == "sketch" else "a cat"
    drawn, seed = [], "-1"
    for name in ("first.svg", "again.svg"):
        options = ["--seeds", "1", "--strokes", "2", "--steps", "1", "--seed", seed, "--json"]
        monkeypatch.setattr(sys, "argv", ["core", verb, given, *options, "--out", str(tmp_path / name)])
        assert commands.main() == 0
        seed = str(json.loads(capsys.readouterr().out)["seed"])
        drawn.append((tmp_path / name).read_text())
    assert int(seed) >= 0 and drawn[0] == drawn[1]


# Packages


@pytest.mark.parametrize("paper", ["vild", "glip"])
def test_a_missing_package_is_said_before_the_work(
    paper: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    assert classroom.main(["evaluate", paper]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "pip install pycocotools" in said


def test_a_package_that_is_there_but_broken_is_no_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_installed.py").write_text("import a_part_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="a_part_that_is_not_there"):
        runtime.optional("half_installed")
    assert isinstance(runtime.optional("json"), types.ModuleType)
    with pytest.raises(Refusal) as caught:
        runtime.optional("no_such_package.part")
    assert caught.value.params == {"package": "no_such_package"}
