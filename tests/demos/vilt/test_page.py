"""The ViLT page: three tasks, words over patches, the question without the image, cost and price, files, endpoints."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import inputs
from core.errors import Refusal
from core.vqa.vilt import costs
from core.vqa.vilt.costs import Cost
from core.vqa.vilt.model import ViLT
from core.vqa.vilt.results import Answers
from demos.vilt import answer, compare, draw, page
from demos.vilt.words import data, examples
from tests import pages


def question(lang: str = "en", **changes: Any) -> Any:
    """The page's question about its opening example."""
    first = pages.form(page.PAGE.declared.question).first  # type: ignore[union-attr]
    return dataclasses.replace(first, **{**answer.fill(answer.OPENING, first, lang), **changes})


def plan(markup: str) -> dict[str, Any]:
    """What the browser gets of an alignment."""
    found = re.search(r'data-plan="([^"]*)"', markup)
    assert found
    return json.loads(unescape(found[1]))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_an_answer_stands_with_its_words_over_the_patches(lang: str) -> None:
    asked = question(lang)
    found = answer.run(asked).result
    assert isinstance(found, Answers)
    slots = answer.run_task(asked, lang)
    assert str(found.names[found.order[0]]) in slots["answer"] and "471" in slots["answer"]
    told = plan(slots["map"])
    assert tuple(told["words"]) == found.aligned.words
    share = np.array(told["share"])
    assert share.shape == (len(told["words"]), 8, 8) and np.allclose(share.sum((1, 2)), 1, atol=0.01)
    assert slots["map"].count("<i></i>") == 64
    assert slots["notes"] == ""


def test_the_other_tasks_have_answers_of_their_own() -> None:
    matched = answer.run_task(question(task="match", text="a cat to the left of a car"), "en")["answer"]
    assert "Score" in matched and "Probability of a fit" in matched
    filled = answer.run_task(question(task="fill", text="a [MASK] to the left of a [MASK]"), "en")["answer"]
    assert "gap 1" in filled and "gap 2" in filled and "[MASK]" not in filled
    with pytest.raises(Refusal) as refused:
        answer.run(question(task="guess"))
    assert refused.value.code == "unknown_method"


def test_a_word_that_the_miniature_has_not_read_is_named() -> None:
    assert "kumquat" in answer.run_task(question(text="is there a kumquat?"), "en")["notes"]


def test_suggestions_and_examples_are_asked_in_the_language_of_the_page() -> None:
    for name in data()["suggestions"]:
        for lang in ("en", "zh"):
            fields = answer.suggested(name, question(lang), lang)
            assert fields["task"] in ("answer", "match", "fill")
            assert any("\u4e00" <= sign <= "\u9fff" for sign in fields["text"]) == (lang == "zh")
            answer.run(question(lang, **fields))
    assert set(examples()) >= {answer.OPENING, "two_dogs"}


def test_the_same_question_without_the_image() -> None:
    slots = compare.prior(question(), "en")
    seen, unseen = answer.blind(question())
    assert seen.result.looked and not unseen.looked
    assert slots["out"].count("atlas-bars") == 2 and "grey square" in slots["out"]


def test_costs_are_measured_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = costs.measure((64, 64), width=48)
    assert [one.kind for one in measured] == ["regions", "grid", "patches"]
    assert all(one.embedding > 0 and one.transformer > 0 for one in measured)
    assert measured[2].embedding < measured[0].embedding and measured[2].tokens == measured[1].tokens == 4
    known = [
        Cost("regions", 900.0, 100.0, 36),
        Cost("grid", 150.0, 100.0, 192),
        Cost("patches", 1.0, 99.0, 192),
    ]
    monkeypatch.setattr(costs, "measure", lambda: known)
    table = compare.cost(question(), "en")["out"]
    assert "× 10.0" in table and "× 1.0" in table and "900 ms" in table


def test_the_price_of_retrieval_is_counted() -> None:
    out = compare.retrieval(question(), 5_000, 25_000, "en")["out"]
    assert "125,000,000" in out and "30,000" in out
    assert costs.passes(3, 4) == (12, 7)
    with pytest.raises(Refusal):
        compare.retrieval(question(), 0, 10, "en")
    assert draw.duration(30, "en") == "30.0 s" and draw.duration(7200, "zh") == "2.0 小时"


def test_files_hold_the_answer_and_the_plan() -> None:
    links = answer.files(question(), "en")
    assert "vilt.json" in links and "words_and_patches.csv" in links


def test_many_files_are_asked_the_same() -> None:
    image = inputs.image(examples()["toys"]["path"])
    for task, text, column in (
        ("answer", "what is this?", "answer"),
        ("match", "a dog", "score"),
        ("fill", "a [MASK]", "filled"),
    ):
        outcome = answer.many(question(task=task, text=text))(image)
        assert column in outcome.cells and outcome.answer["checkpoint"] == "classroom-vilt"


def test_endpoints_answer_as_core_does() -> None:
    path = examples()[answer.OPENING]["path"]
    content = base64.b64encode(Path(path).read_bytes()).decode()
    given: Any = {"path": "", "url": f"data:image/webp;base64,{content}"}
    image = inputs.image(path)
    row = ViLT.load("classroom-vilt")
    told = answer.vilt_answer(given, "what is this?")
    assert told["results"] == row.answer(image, "what is this?").to_json()["results"]
    assert answer.vilt_match(given, "a cat")["score"] == row.match(image, "a cat").to_json()["score"]
    assert answer.vilt_fill(given, "a [MASK]")["filled"] == row.fill(image, "a [MASK]").filled


def test_the_command_line_answers(capsys: pytest.CaptureFixture[str]) -> None:
    from core.__main__ import parser

    path = Path(examples()["red_envelope"]["path"])
    arguments = parser().parse_args(["answer", str(path), "what is this?", "--json"])
    assert arguments.run(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["question"] == "what is this?" and len(told["results"]) == 5
    arguments = parser().parse_args(["answer", str(path), "what is this?"])
    assert arguments.run(arguments) == 0
    assert told["results"][0]["answer"] in capsys.readouterr().out
