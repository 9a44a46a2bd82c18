"""`python -m core points` and `depth`: answers, files, one sentence for what is wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import __main__ as cli
from tests import tiny
from tests.conftest import Rows

ASSETS = Path(__file__).resolve().parents[2] / "assets" / "examples"
CLOUD, PHOTO = str(ASSETS / "shapes" / "cow_spot.obj"), str(ASSETS / "photos" / "rose.jpg")


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, rows: Rows) -> None:
    rows(tiny.bundled("tiny-cli", tmp_path))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["core", *arguments])
    return cli.main()


def test_points(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "points", CLOUD, "--labels", "dog,cat", "--projection", "v2", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["checkpoint"] == "tiny-cli" and len(answer["results"][0]["views"]) == 10
    assert sum(row["probability"] for row in answer["results"]) == pytest.approx(1, abs=1e-4)
    weights = ["0", "0", "1", "0", "0", "0"]
    assert run(monkeypatch, "points", CLOUD, "--labels", "dog,cat", "--weights", *weights) == 0
    assert capsys.readouterr().out.startswith("tiny-cli, 6 views")


def test_depth(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("depth.png", "depth.npy"):
        assert run(monkeypatch, "depth", PHOTO, "--out", str(tmp_path / name), "--json") == 0
        answer = json.loads(capsys.readouterr().out)
    assert answer["near"] <= answer["far"] and len(answer["words"]) == 5
    metres = np.load(tmp_path / "depth.npy")
    assert metres.shape == Image.open(PHOTO).size[::-1]
    assert np.allclose(np.asarray(Image.open(tmp_path / "depth.png")) / 1000, metres, atol=6e-4)


@pytest.mark.parametrize(
    "arguments",
    [
        ("points", PHOTO, "--labels", "dog"),
        ("points", CLOUD, "--labels", "dog", "--projection", "v3"),
        ("points", CLOUD, "--labels", "dog", "--weights", "1"),
        ("points", CLOUD, "--labels", "dog", "--up", "w"),
        ("depth", CLOUD),
        ("depth", PHOTO, "--out", "depth.txt"),
    ],
)
def test_one_sentence_for_what_is_wrong(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *arguments) == 1
    out = capsys.readouterr()
    assert out.out == "" and out.err.count("\n") == 1
