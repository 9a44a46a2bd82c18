"""`python -m core sketch` and `python -m core draw`: files, JSON, and one sentence for what is wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from core import __main__ as cli
from core.drawing.strokes import Strokes
from tests import tiny
from tests.conftest import Rows

PHOTO = str(Path(__file__).resolve().parents[3] / "assets" / "examples" / "photos" / "rose.jpg")
FEW = ("--strokes", "3", "--steps", "2", "--seeds", "2")


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, rows: Rows) -> None:
    rows(tiny.bundled("tiny-draw", tmp_path))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["core", *arguments])
    return cli.main()


@pytest.mark.parametrize("verb", [("sketch", PHOTO), ("draw", "a red dog")])
def test_the_svg_is_the_drawing_and_json_says_how_it_was_made(
    verb: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made.svg"
    assert run(monkeypatch, *verb, *FEW, "--seed", "7", "--out", str(out), "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["checkpoint"] == "tiny-draw" and answer["strokes"] == 3 and answer["steps"] == 2
    assert answer["seed"] in (7, 8) and len(answer["losses"]) == 2
    assert answer["loss"] == min(answer["losses"])
    first = out.read_text(encoding="utf-8")
    assert len(Strokes.from_svg(first)) == 3
    # The same seed gives the same drawing, to the last digit; another seed another one.
    assert run(monkeypatch, *verb, *FEW, "--seed", "7", "--out", str(out)) == 0
    assert out.read_text(encoding="utf-8") == first
    assert run(monkeypatch, *verb, *FEW, "--seed", "70", "--out", str(out)) == 0
    assert out.read_text(encoding="utf-8") != first


@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.GIF", "GIF")])
def test_pictures_and_films_are_what_their_names_say(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        run(monkeypatch, "sketch", PHOTO, *FEW, "--cut-out", "--colour", "--out", str(tmp_path / name)) == 0
    )
    with Image.open(tmp_path / name) as image:
        assert image.format == kind and image.size == (448, 448)


@pytest.mark.parametrize(
    "arguments",
    [
        ("sketch", "nowhere.jpg"),
        ("sketch", PHOTO, "--strokes", "0"),
        ("sketch", PHOTO, "--width", "nan"),
        ("sketch", PHOTO, "--checkpoint", "no-such-row"),
        ("sketch", PHOTO, "--out", "sketch.docx"),
        ("sketch", PHOTO, "--out", "no/such/folder/sketch.svg"),
        ("draw", "  "),
        ("draw", "a dog", "--negative", ""),
        ("draw", "a dog", "--steps", "9000"),
        ("draw", "a dog", "--seeds", "9"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1 and printed.err.strip()


def test_a_prompt_that_is_not_read_to_its_end_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, long = str(tmp_path / "made.svg"), "a red dog " * 9
    assert run(monkeypatch, "draw", long, *FEW, "--out", out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["truncated"] == [long]
    assert run(monkeypatch, "draw", long, *FEW, "--out", out) == 0
    assert "too long for this checkpoint" in capsys.readouterr().err
