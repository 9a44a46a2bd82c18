"""The CLIP page on a sigmoid row: no sum of one is promised, and an absent label is read for what it is."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from core import checkpoints, inputs
from demos.clip import answer as answers
from demos.clip import compare
from demos.clip import draw as views
from demos.kit import classifier
from tests import tiny
from tests.conftest import Rows
from tests.demos.clip.asked import EXAMPLES, asked
from tests.pages import run

ROW = "tiny-sigmoid"


@pytest.fixture
def sigmoid_row(tmp_path: Path, rows: Rows) -> str:
    """A tiny SigLIP as the only row of the registry."""
    tiny.make_siglip(tmp_path / "bundle")
    rows(tiny.row(ROW, tmp_path / "bundle", "sigmoid", "core.clip.siglip:load_siglip"))
    assert checkpoints.default("clip") == ROW
    return ROW


@pytest.mark.parametrize(("lang", "words"), [("en", "need not sum to 100"), ("zh", "不必等于 100")])
def test_bars_and_line_say_that_they_do_not_sum_to_one(sigmoid_row: str, lang: str, words: str) -> None:
    slots = run(answers.classify, asked(labels="dog, cat, duck", checkpoint=sigmoid_row), lang)
    assert slots["message"] == "" and words in slots["line"]
    model = classifier.model(sigmoid_row)
    result = model.classify(inputs.image(EXAMPLES["toys"]["path"]), ["dog", "cat", "duck"])
    total = float(result.probabilities.sum())
    assert f"{total:.1%}" in slots["line"] and abs(total - 1) > 1e-3
    shares = [float(share) for share in re.findall(r"<td>([\d.]+)%</td>", slots["bars"])]
    assert sum(shares) == pytest.approx(100 * total, abs=0.2)


def test_the_prompt_lab_says_so_too(sigmoid_row: str) -> None:
    question = asked(labels="dog, cat", checkpoint=sigmoid_row)
    slots = run(compare.templates, question, ["none", "photo"], "", "en")
    assert slots["message"] == "" and slots["out"].count("<td") == 4 and "atlas-sigmoid" in slots["line"]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_absent_labels_are_read_for_what_they_are(sigmoid_row: str, lang: str) -> None:
    question = asked(labels="duck, balloon", checkpoint=sigmoid_row)
    slots = run(compare.absent, question, "plane, car", lang)
    assert slots["message"] == "" and "atlas-sigmoid" in slots["line"]
    for slot in ("present", "missing"):
        assert slots[slot].count("atlas-verdict") == 1
        assert "even less" not in slots[slot] and "更不符合" not in slots[slot]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_reading_follows_the_cosine_and_the_normalisation(lang: str) -> None:
    result = classifier.model(None).classify(inputs.image(EXAMPLES["toys"]["path"]), ["<b>"])
    for kind, words in (
        ("softmax", ("even less", "更不符合")),
        ("sigmoid", ("each label alone", "单独回答")),
    ):
        one = dataclasses.replace(result, normalisation=kind)
        reading = views.absence_reading(one, 1.0, lang)
        assert 'verdict none"' in reading and words[lang == "zh"] in reading and "<b>" not in reading
        assert 'verdict some"' in views.absence_reading(one, -1.0, lang)


def test_a_softmax_row_keeps_its_own_words() -> None:
    slots = run(answers.classify, asked(labels="dog, cat"), "en")
    assert slots["message"] == "" and "sigmoid" not in slots["line"]
