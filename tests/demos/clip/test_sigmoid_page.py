"""The CLIP page on a sigmoid row: no sum of one is promised, and an absent label is read for what it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import checkpoints
from demos.clip import answer as handlers
from demos.draw import sigmoid as draw_sigmoid
from demos.kit import shell
from tests import tiny

PICTURE = handlers.examples()["toys"]["path"]
ROW = "tiny-sigmoid"


@pytest.fixture
def sigmoid_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A tiny SigLIP as the only row of the registry."""
    tiny.make_siglip(tmp_path / "bundle")
    registry = tmp_path / "registry.toml"
    text = tiny.row(ROW, tmp_path / "bundle", "sigmoid", "core.clip.siglip:load_siglip")
    registry.write_text(text, encoding="utf-8")
    monkeypatch.setenv("CLIP_ATLAS_REGISTRY", str(registry))
    assert checkpoints.default("clip") == ROW
    yield ROW


@pytest.mark.parametrize(("lang", "words"), [("en", "do not have to sum to 100"), ("zh", "不必等于 100")])
def test_bars_and_line_say_that_they_do_not_sum_to_one(sigmoid_row: str, lang: str, words: str) -> None:
    message, bars, line, *_ = shell.guarded(handlers.classify, 6)(
        PICTURE, "dog, cat, duck", "none", "", 1.0, "", sigmoid_row, lang
    )
    assert message == "" and words in line
    answer = handlers.model(sigmoid_row).classify(handlers.inputs.image(PICTURE), ["dog", "cat", "duck"])
    total = float(answer.probabilities.sum())
    assert f"{total:.1%}" in line and abs(total - 1) > 1e-3
    shown = [float(share) for share in re.findall(r"<td>([\d.]+)%</td>", bars)]
    assert sum(shown) == pytest.approx(100 * total, abs=0.2)


def test_the_prompt_lab_says_so_too(sigmoid_row: str) -> None:
    message, table, line = shell.guarded(handlers.compare, 2)(
        PICTURE, "dog, cat", ["none", "photo"], "", sigmoid_row, "en"
    )
    assert message == "" and table.count("<td") == 4 and "atlas-sigmoid" in line


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_absent_labels_are_not_called_the_least_bad_of_a_hundred_percent(sigmoid_row: str, lang: str) -> None:
    message, present, missing, line = shell.guarded(handlers.absent, 3)(
        PICTURE, "duck, balloon", "plane, car", "none", "", sigmoid_row, lang
    )
    assert message == ""
    for shown in (present, missing):
        assert shown.count("atlas-verdict") == 1 and "sigmoid" in shown
        assert "least bad" not in shown and "最不差" not in shown
    assert "atlas-sigmoid" in line


def test_both_readings_by_the_line() -> None:
    best = {"label": "<b>", "probability": 0.0001, "cosine": 0.05}
    for lang in ("en", "zh"):
        assert "none" in draw_sigmoid.absence_reading(best, 0.1, lang)
        assert "some" in draw_sigmoid.absence_reading(best, 0.01, lang)
        assert "<b>" not in draw_sigmoid.absence_reading(best, 0.1, lang)


def test_a_softmax_row_keeps_its_own_words() -> None:
    message, _, line, *_ = shell.guarded(handlers.classify, 6)(
        PICTURE, "dog, cat", "none", "", 1.0, "", "", "en"
    )
    assert message == "" and "sigmoid" not in line
