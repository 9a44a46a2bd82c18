"""The drawings of the GLIP page: prompt and boxes in the same colours, the alignment, the table, the numbers."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.detection.result import Grounding, Phrase
from demos.glip import draw as views
from demos.glipv2 import page as glipv2

PROMPT = "a <b>dog</b> and a cat"
IMAGE = Image.new("RGB", (200, 100), "white")


def grounding() -> Grounding:
    """Two boxes of the first phrase, one of the second, best first."""
    words = ("a", "dog", "and", "a", "cat")
    spans = ((0, 1), (5, 8), (13, 16), (17, 18), (19, 22))
    after = np.array([[0, 3, -1, 0, -2], [-2, 0, -3, 0, 2], [0, 1, -1, 0, -2]], np.float32)
    return Grounding(
        "classroom-glip", PROMPT, "grounding",
        (Phrase("<b>dog</b>", 2, 12, (1,)), Phrase("a cat", 17, 22, (3, 4))),
        np.array([[10, 10, 90, 90], [110, 20, 190, 95], [12, 12, 60, 60]], np.float32),
        np.array([0.9, 0.6, 0.2], np.float32), np.array([0, 1, 0]), words, spans, ((0, 5),), after, after[:, ::-1].copy(),
        IMAGE.size, "cpu", 0.1, {"ground": 1.0},
    )  # fmt: skip


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_sentence_and_boxes_share_colours_and_groups(lang: str) -> None:
    html = views.figure(IMAGE, grounding(), 0.5, lang)
    phrases = re.findall(
        r'class="gl-phrase[^"]*" data-group="(\d)"[^>]*--tone:(#\w+)">(.*?)<b>(\d)</b>', html
    )
    boxes = re.findall(
        r'class="atlas-det-box[^"]*" data-group="(\d)" data-pick="(\d)".*?--c:(#\w+)', html, re.DOTALL
    )
    assert [(group, text, count) for group, _, text, count in phrases] == [
        ("0", "&lt;b&gt;dog&lt;/b&gt;", "1"),
        ("1", "a cat", "1"),
    ]
    tones = {group: tone for group, tone, *_ in phrases}
    # Every box is there, also the one below the threshold, which the browser hides.
    assert len(boxes) == 3 and all(tones[group] == tone for group, _, tone in boxes)
    assert 'data-scores="0.9000 0.6000 0.2000"' in html and 'data-threshold="0.5000"' in html
    assert "<b>dog" not in html and ("2 boxes score 0.50 or more" in html) == (lang == "en")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_line_counts_the_boxes_that_reach_the_threshold(lang: str) -> None:
    result = grounding()
    assert "0.90" in views.count_line(result, 0.95, lang)
    none = replace(
        result, boxes=result.boxes[:0], scores=result.scores[:0], phrase_indices=result.phrase_indices[:0],
        alignment=result.alignment[:0], alignment_before=result.alignment_before[:0],
    )  # fmt: skip
    assert re.search("Nothing in the image|没有与这些词对应", views.count_line(none, 0.5, lang))
    # An answer without a box still draws.
    assert 'class="gl-phrase none"' in views.figure(IMAGE, none, 0.5, lang)
    assert views.alignment(IMAGE, none, 0.5, lang).count("<table") == 2
    assert "<td>" not in views.table(IMAGE, none, 0.5, lang)


def test_the_prompt_is_whole_even_where_phrases_overlap() -> None:
    result = grounding()
    nested = replace(result, phrases=(*result.phrases, Phrase("cat", 19, 22, (4,))))
    text = re.sub(r"<b>\d</b>", "", views.sentence(nested, 0.5, "en"))
    assert re.sub(r"<[^>]+>", "", text) == "a &lt;b&gt;dog&lt;/b&gt; and a cat"


def test_the_alignment_is_the_logits() -> None:
    result = grounding()
    before, after = views.alignment(IMAGE, result, 0.5, "en").split("<section>")[1:]
    for values, part in ((result.alignment_before, before), (result.alignment, after)):
        cells = re.findall(r'<td( class="best")?[^>]*>(-?[\d.]+)</td>', part)
        assert [float(value) for _, value in cells] == values[:2].ravel().tolist()
        best = [i % 5 for i, (mark, _) in enumerate(cells) if mark]
        assert best == values[:2].argmax(1).tolist()
    # The words of a phrase carry its colour; "and" belongs to none.
    heads = re.findall(r'<th scope="col"( class="toned"[^>]*)?><span>(\w+)', after)
    assert [bool(toned) for toned, _ in heads] == [False, True, False, True, True]


def test_a_long_prompt_is_cut_and_says_so() -> None:
    result = grounding()
    more = replace(
        result, words=result.words * 8, prompts=((0, 40),), alignment=np.tile(result.alignment, 8),
        alignment_before=np.tile(result.alignment_before, 8),
    )  # fmt: skip
    html = views.alignment(IMAGE, more, 0.5, "en")
    assert html.count('scope="col"') == 2 * (1 + views.MAX_WORDS)
    assert f"{40 - views.MAX_WORDS} more words" in html


def test_the_table_lists_the_boxes_that_reach_the_threshold() -> None:
    html = views.table(IMAGE, grounding(), 0.5, "en")
    assert re.findall(r"<td>(0\.\d+)</td>", html) == ["0.900", "0.600"]
    assert "10, 10, 90, 90" in html and html.count("gl-crop") == 2
    marks = views.visible_marks(grounding(), 0.5)
    assert [mark.label for mark in marks] == ["<b>dog</b>", "a cat"]


def row(measure: str, split: str, value: float) -> dict[str, Any]:
    """A row of the report card."""
    titles = {"title": f"<{measure}>", "split_title": split}
    return {"measure": measure, "split": split, "value": value, "command": "python -m x", **titles}


def test_self_training_shows_measured_numbers_alone() -> None:
    steps: list[dict[str, Any]] = [
        {"title": {"en": "Teacher"}, "text": {"en": "t"}, "measure": "a: r", "split": "teacher"},
        {"title": {"en": "Pseudo"}, "text": {"en": "p"}},
    ]
    html = views.training(steps, [row("a: r", "teacher", 0.25), row("a: r", "student", 0.5)], "en")
    assert html.count("<strong>") == 1 and "0.250" in html and "&lt;a: r&gt;" in html
    assert "<strong>" not in views.training(steps, [], "en")


def test_a_comparison_marks_the_better() -> None:
    rows = [row("a: r", "teacher", 0.25), row("a: r", "student", 0.5), row("a: p", "teacher", 0.75)]
    html = views.comparison("A & B", rows, "en")
    assert re.findall(r'<td( class="best")? style=[^>]*>([\d.]+)', html) == [
        ("", "0.250"),
        (' class="best"', "0.750"),
        (' class="best"', "0.500"),
    ]
    assert "A &amp; B" in html and "<td>–</td>" in html and "python -m x" in html
    assert views.comparison("A", [], "en") == ""


def test_the_page_of_glipv2_is_in_both_languages() -> None:
    body = glipv2.body()
    assert body.count('class="l-en"') == body.count('class="l-zh"') > 10
    assert "never released" in body and "从未发布" in body and 'href="glip"' in body
