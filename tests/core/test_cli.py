"""`python -m core classify`: the answer as text and JSON, and one sentence for what is wrong."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from core import __main__ as cli
from core.batch import Outcome
from tests import tiny
from tests.conftest import Rows

PHOTO = str(Path(__file__).resolve().parents[2] / "assets" / "examples" / "photos" / "rose.jpg")


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, rows: Rows) -> None:
    rows(tiny.bundled("tiny-cli", tmp_path))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["core", *arguments])
    return cli.main()


def test_json_is_the_endpoints_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "classify", PHOTO, "--labels", "dog,cat", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {"checkpoint", "seconds", "results"}
    assert answer["checkpoint"] == "tiny-cli"
    assert [set(row) for row in answer["results"]] == [{"label", "probability", "cosine"}] * 2
    probabilities = [row["probability"] for row in answer["results"]]
    assert probabilities == sorted(probabilities, reverse=True)


def test_text_lists_every_label_best_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "classify", PHOTO, "--labels", "狗，猫，红包", "--template", "一张{}的照片") == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("tiny-cli")
    assert {line.split()[-1] for line in lines} == {"狗", "猫", "红包"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("nowhere.jpg", "--labels", "dog"),
        (__file__, "--labels", "dog"),
        (PHOTO, "--labels", " , ，"),
        (PHOTO, "--labels", "dog", "--checkpoint", "no-such-row"),
        (PHOTO, "--labels", "dog", "--template", "no place"),
        (PHOTO, "--labels", "dog", "--logit-scale", "-3"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "classify", *arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1 and printed.err.strip()


@dataclass(frozen=True)
class Depth:
    """The answer of a verb that reads no labels."""

    metres: float

    def to_json(self) -> dict[str, float]:
        return {"metres": self.metres}


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_an_answer_may_have_no_notes(
    more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = cli.parser()
    arguments = parser.parse_args(["segment", PHOTO, "--labels", "dog", *more])
    arguments.verb_of = lambda _: cli.Verb(
        lambda image: Depth(2.5), lambda result: print(result.metres), lambda result, image: Outcome({}, {})
    )
    assert cli.answer(arguments) == 0
    printed = capsys.readouterr()
    assert "2.5" in printed.out and printed.err == ""


def test_the_help_calls_an_image_an_image(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("classify", "segment", "detect", "ground", "sketch", "draw"):
        with pytest.raises(SystemExit):
            cli.parser().parse_args([verb, "--help"])
    texts = cli.parser().format_help() + capsys.readouterr().out
    assert "an image file" in texts and "picture" not in texts
