"""`python -m core VERB FOLDER_OR_ZIP --out FILE`: every verb over many files, stopped, damaged, and refused beforehand."""

from __future__ import annotations

import csv
import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pycocotools.coco import COCO

from core import __main__ as cli
from core import batch

EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "examples"
SCENES = [EXAMPLES / "glip" / "dog_and_car.webp", EXAMPLES / "clip" / "toys.webp"]

Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command; returns its exit status."""

    def command(*arguments: Any) -> int:
        monkeypatch.setattr(sys, "argv", ["core", *map(str, arguments)])
        return cli.main()

    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    return command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two scenes, one in a folder below, and a file that is no image."""
    where = tmp_path / "images"
    (where / "deep").mkdir(parents=True)
    (where / "a.webp").write_bytes(SCENES[0].read_bytes())
    (where / "deep" / "b.webp").write_bytes(SCENES[1].read_bytes())
    (where / "notes.txt").write_text("no image")
    return where


def test_a_folder_becomes_a_table(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results.csv"
    assert run("classify", folder, "--labels", "a dog, a car", "--out", out) == 1, "one file was refused"
    rows = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8-sig"))))
    assert [row["file"] for row in rows] == ["a.webp", "deep/b.webp", "notes.txt"]
    assert set(rows[0]) >= {"best label", "probability(a dog)", "probability(a car)", "seconds", "refused"}
    assert float(rows[0]["probability(a dog)"]) + float(rows[0]["probability(a car)"]) == pytest.approx(
        1, abs=1e-3
    )
    assert rows[2]["refused"] and not rows[2]["best label"]
    printed = capsys.readouterr()
    assert printed.out == "" and "notes.txt: This is not" in printed.err
    assert "1 of 3, " in printed.err and " s left" in printed.err and "3 files, 1 refused" in printed.err


def test_without_a_file_lines_are_printed_as_they_come(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "notes.txt").unlink()
    assert run("classify", folder, "--labels", "a dog, a car") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["file"] for line in lines] == ["a.webp", "deep/b.webp"]
    assert {row["label"] for row in lines[0]["results"]} == {"a dog", "a car"}


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("classify", ("--labels", "a dog, a car")),
        ("segment", ("--labels", "a dog, a car, the background")),
        ("segment", ("--labels", "a dog, a car", "--checkpoint", "classroom-groupvit")),
        ("segment", ("--labels", "a dog, a car", "--checkpoint", "classroom-rn")),
        ("detect", ("--labels", "a dog, a car")),
        ("ground", ("--labels", "a dog, a car")),
        ("ground", ("a dog beside a car",)),
    ],
)
def test_every_verb_over_an_archive(run: Run, tmp_path: Path, verb: str, options: tuple[str, ...]) -> None:
    archive, out = tmp_path / "images.zip", tmp_path / "results.zip"
    large = io.BytesIO()
    Image.open(SCENES[0]).convert("RGB").resize((2600, 2600)).save(large, "JPEG")
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("large.jpg", large.getvalue())
        packed.writestr("../out.png", b"x")
        packed.write(SCENES[1], "in/toys.webp")
    assert run(verb, archive, *options, "--out", out) == 1
    with zipfile.ZipFile(out) as results:
        names = set(results.namelist())
        lines = [json.loads(line) for line in results.read("rows.jsonl").decode().splitlines()]
        assert [line["file"] for line in lines] == ["large.jpg", "../out.png", "in/toys.webp"]
        assert "refused" in lines[1] and lines[0]["checkpoint"]
        if verb == "classify":
            assert names == {"table.csv", "rows.jsonl"}
            return
        (tmp_path / "coco.json").write_bytes(results.read("coco.json"))
        coco = COCO(tmp_path / "coco.json")
        first = coco.loadImgs(coco.getImgIds())[0]
        assert (first["file_name"], first["width"], first["height"]) == ("large.jpg", 2600, 2600)
        assert max(one["bbox"][0] + one["bbox"][2] for one in coco.loadAnns(coco.getAnnIds(1))) > 1300
        if verb == "segment":
            masks = sorted(name for name in names if name.startswith("masks/"))
            assert Image.open(io.BytesIO(results.read(masks[0]))).size == (2600, 2600) and len(masks) == 2


def test_several_files_and_a_json_list_of_labels(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "r.jsonl"
    assert run("classify", *SCENES, "--labels", '["a dog", "a car, red"]', "--out", out) == 0
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [line["file"] for line in lines] == ["dog_and_car.webp", "toys.webp"]
    assert {row["label"] for row in lines[0]["results"]} == {"a dog", "a car, red"}


def test_ctrl_c_keeps_what_is_done(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ranked, seen = batch.ranked, []

    def stopped(*arguments: Any) -> batch.Outcome:
        seen.append(arguments)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return ranked(*arguments)

    monkeypatch.setattr(batch, "ranked", stopped)
    out = tmp_path / "r.csv"
    assert run("classify", *SCENES * 3, "--labels", "a dog", "--out", out) == 130
    rows = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8-sig"))))
    assert [row["file"] for row in rows] == ["dog_and_car.webp", "toys.webp"]
    assert "Stopped." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        ("results.txt", "Results cannot be written as"),
        ("none/results.csv", "There is no folder"),
        ("folder.csv", "cannot be written"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_any_work(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    out: str, sentence: str,
) -> None:  # fmt: skip
    (tmp_path / "folder.csv").mkdir()
    monkeypatch.setattr(batch, "run", None)
    assert run("classify", folder, "--labels", "a dog", "--out", tmp_path / out) == 1
    printed = capsys.readouterr()
    assert sentence in printed.err and len(printed.err.splitlines()) == 1


def test_nothing_to_read_is_one_sentence(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK\x03\x04 no archive")
    for path in (tmp_path / "empty", broken, tmp_path / "gone", tmp_path / "gone.zip"):
        assert run("segment", path, "--labels", "a dog") == 1
        printed = capsys.readouterr()
        assert printed.out == "" and len(printed.err.splitlines()) == 1


def test_progress_stays_on_one_line_of_a_terminal(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert run("classify", *SCENES, "--labels", "a dog", "--out", tmp_path / "r.csv") == 0
    printed = capsys.readouterr().err
    assert "\r1 of 2, " in printed and printed.count("\n") == 1


def test_one_image_is_answered_as_before(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("segment", SCENES[0], "--labels", "a dog, A DOG, a car") == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("classroom-lseg, ") and "a car" in printed.out
    assert "“A DOG” is the same as “a dog”" in printed.err
    assert run("segment", SCENES[0], "--labels", "a dog", "--json") == 0
    assert json.loads(capsys.readouterr().out)["results"] == [{"label": "a dog", "share": 1.0}]
