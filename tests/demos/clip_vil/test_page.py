"""The CLIP-ViL page: cards of three encoders, known answers, an empty image, words over the grid, the table, the endpoint."""

from __future__ import annotations

import base64
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core import inputs
from core.errors import Refusal
from core.runtime import Cancel
from demos.clip_vil import answer, compare, draw, inside, lessons, page, training
from demos.clip_vil.words import PAPER, examples
from demos.kit.walkthrough import Case
from tests import pages


def question(lang: str = "en", **changes: Any) -> Any:
    """The page's question about its opening example."""
    first = pages.form(page.PAGE.declared.question).first  # type: ignore[union-attr]
    return dataclasses.replace(first, **{**answer.fill(answer.OPENING, first, lang), **changes})


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_three_encoders_stand_side_by_side(lang: str) -> None:
    slots = answer.ask(question(lang), lang)
    assert slots["answers"].count('class="cv-card"') == 3 and slots["notes"] == ""
    found = answer.run(question(lang))
    assert list(found.found) == list(found.found["clip"].to_json() and ("random", "supervised", "clip"))
    assert all(one.best in slots["answers"] for one in found.found.values())


def test_a_question_in_chinese_is_answered_in_chinese() -> None:
    found = answer.run(question("zh", question="背景是什么？")).main
    assert not found.best.isascii()


def test_the_brightest_place_is_named() -> None:
    attention = np.zeros((3, 4))
    attention[1, 2] = 1
    assert draw.place_of(attention, "en") == "row 2, column 3"


def test_new_scenes_have_their_true_answers() -> None:
    slots = compare.scenes(question(), "en")
    marks = slots["out"].count("✓") + slots["out"].count("✗")
    assert marks >= 3 * compare.SHOWN and "right of 8" in slots["out"]


def test_the_question_without_the_image() -> None:
    slots = compare.blind(question(), "en")
    assert slots["out"].count('class="cv-card"') == 6 and "Without the image" in slots["out"]


def test_a_descendant_that_is_not_here_is_one_sentence() -> None:
    with pytest.raises(Refusal) as caught:
        compare.descendant(question(), "en")
    assert caught.value.code in ("not_downloaded", "hub_offline")


def test_words_lie_over_the_grid() -> None:
    found = answer.run(question()).main
    slots = inside.words(question(), "en")
    pieces = [word for word in found.words if not word.startswith("<")]
    assert slots["out"].count('class="cv-word"') == len(pieces) > 2


def test_the_table_is_that_of_the_report_card(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {
        (f"{way}, {share} of the questions", name): 0.1 * (at + 1)
        for way in ("frozen", "tuned")
        for share in inside.SHARES
        for at, name in enumerate(inside.ENCODERS)
    }
    rows["frozen, 1 % of the questions, spread of 3 seeds", "clip"] = 0.042
    monkeypatch.setattr(inside, "measured", lambda: rows)
    made = inside.table("en")
    assert made.count("<figure") == 3 and "4.2 points" in made and "30%" in made
    points = inside.curve_points()
    assert [x for x, _ in points["clip"]] == [-2, -1, 0] and len(points["clip tuned"]) == 3


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_step_of_the_lessons_has_an_outcome(lang: str) -> None:
    walk = page.PAGE.declared.walk  # type: ignore[union-attr]
    assert walk is not None
    for lesson in walk.lessons().values():
        for step in lesson["steps"]:
            case = Case(PAPER, step, "classroom-clip-vil", lang)
            outcome = lessons.KINDS[step["kind"]](case)
            assert 0 <= outcome.index < len(walk.choices(step, lang)) and outcome.body


def test_the_head_learns_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    from core.classroom.recipes.clip_vil import live

    monkeypatch.setattr(live, "EXAM", 4)
    settings = training.Settings("", "100", 0.05)
    *_, last = training.lesson(settings, "en", Cancel())
    assert last.state == "done" and len(last.curves) == len(last.numbers) == 3 and last.rows


def test_the_endpoint_answers_with_any_encoder() -> None:
    data = base64.b64encode(Path(examples()[answer.OPENING]["path"]).read_bytes()).decode()
    uri = {"path": "", "url": f"data:image/webp;base64,{data}"}
    found = answer.clip_vil_answer(uri, "what is this?", "random")  # type: ignore[arg-type]
    assert json.loads(json.dumps(found))["encoder"] == "random" and len(found["results"]) == 10
    assert answer.clip_vil_answer(uri, "这是什么？")["encoder"] == "clip"  # type: ignore[arg-type]


def test_the_command_line_answers_with_its_rows(capsys: pytest.CaptureFixture[str]) -> None:
    from core.__main__ import parser

    path = examples()[answer.OPENING]["path"]
    arguments = ["answer", str(path), "what is this?", "--checkpoint", "classroom-clip-vil"]
    given = parser().parse_args([*arguments, "--json"])
    assert given.run(given) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["checkpoint"] == "classroom-clip-vil" and told["question"] == "what is this?"
    given = parser().parse_args(arguments)
    assert given.run(given) == 0
    assert told["answer"] in capsys.readouterr().out


def test_many_files_have_an_answer_each() -> None:
    image = inputs.image(examples()[answer.OPENING]["path"])
    outcome = answer.many(question())(image)
    assert outcome.cells["answer"] and 0 <= outcome.cells["probability"] <= 1


def test_a_photo_is_outside_of_the_miniature(tmp_path: Path) -> None:
    Image.fromarray(np.full((60, 80, 3), 90, np.uint8)).save(tmp_path / "own.png")
    assert "atlas-hint" in answer.ask(question(image=str(tmp_path / "own.png")), "en")["notes"]
