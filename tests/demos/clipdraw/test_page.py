"""The CLIPDraw page through its endpoint and handlers: drawings, negative prompts, refusals; the recorded run."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from core import checkpoints
from demos.clipdraw import answer, record
from demos.clipdraw.page import PAGE, Question
from demos.kit import library, records, runs, sketch_runs
from demos.kit.opening import opening_state
from tests.contract.test_pages import form
from tests.pages import offered, parts, run


def draw(client: Client, prompt: str, **options: Any) -> dict[str, Any]:
    return client.predict(prompt, api_name="/clipdraw_draw", **options)


def test_a_drawing_has_colours_widths_and_an_svg(client: Client) -> None:
    answer = draw(client, "a red envelope", strokes=8, steps=2)
    assert len(answer["points"]) == len(answer["widths"]) == 8
    assert np.shape(answer["colors"]) == (8, 4) and -1 <= answer["cosine"] <= 1
    assert answer["svg"].count("<path") == 8


def test_steps_bring_the_drawing_nearer_to_its_prompt(client: Client) -> None:
    near, far = (draw(client, "红包", strokes=12, steps=steps)["cosine"] for steps in (15, 1))
    assert near > far


def test_negatives_count(client: Client) -> None:
    plain = draw(client, "a cat", strokes=6, steps=4)
    negative = draw(client, "a cat", strokes=6, steps=4, negatives=["a dog"])
    assert plain["points"] != negative["points"]


@pytest.mark.parametrize(
    ("prompt", "options", "words"),
    [
        ("", {}, "no text"),
        ("a cat", {"strokes": 513}, "strokes"),
        ("a cat", {"negatives": ["a"] * 9}, "negatives"),
        ("a cat", {"width": 0}, "width"),
        ("a cat", {"seeds": "two"}, "seeds"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(
    client: Client, prompt: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(AppError, match=words) as error:
        draw(client, prompt, **options)
    assert "Traceback" not in str(error.value)


def question(**fields: Any) -> Question:
    """A question that is answered in two steps."""
    few = {"prompt": "a cat", "labels": "house", "negatives": "a dog", "strokes": 6, "steps": 2}
    return Question(checkpoint=runs.miniature(), **{**few, **fields})


def test_the_page_draws_and_continues_towards_what_the_box_says() -> None:
    first, *_, last = list(parts(answer.draw_prompt, question(), "en"))
    assert first["verdict"] == first["files"] == ""
    made = last["made"]
    assert "Cosine with the prompt" in last["verdict"] and json.loads(last["view"])["edit"]
    assert made.labels == ("a cat", "house") and made.result.settings.negatives == ("a dog",)
    again = run(answer.go_on, question(prompt="a house", steps=1), made, "", "zh")["made"].result
    np.testing.assert_allclose(again.drawn[0].history[0].points, made.result.strokes.points, atol=1e-5)
    assert again.prompt == "a house"


def test_another_model_judges_beside_the_guide() -> None:
    slots = run(answer.draw_prompt, question(), "en")
    guide, other = json.loads(slots["view"])["labels"][0]
    assert guide["by"].endswith("the guide") and other["by"].endswith("not involved")
    assert guide["by"] != other["by"] and {label for label, _ in other["top"]} == {"a cat", "house"}
    assert "proves little" in slots["verdict"]


def test_the_judge_is_another_row_that_is_on_this_machine() -> None:
    assert answer.other_judge("classroom-rn") == "classroom-vit"
    assert answer.other_judge("classroom-vit") == "classroom-rn"
    # Where no other real weights are on this machine a miniature judges.
    assert answer.other_judge("clip-rn50") in {row.name for row in checkpoints.rows("clip")} - {"clip-rn50"}


def test_the_verdict_says_whether_the_other_model_agrees() -> None:
    guide = {"classroom-rn": [["a cat", 0.99], ["a dog", 0.01]]}
    same = answer.verdict({**guide, "classroom-vit": [["a cat", 0.6], ["a dog", 0.4]]}, "en")
    other = answer.verdict({**guide, "classroom-vit": [["a <dog>", 0.7], ["a cat", 0.3]]}, "en")
    assert "also reads" in same and "convinces only" in other and "a &lt;dog&gt;" in other
    assert answer.verdict(guide, "en") == "" and "0.500" in answer.verdict(guide, "zh", 0.5)


def test_a_prompt_outside_the_words_of_the_miniature_is_named() -> None:
    first, *_ = parts(answer.draw_prompt, question(prompt="a quokka"), "en")
    assert "a quokka" in first["notes"] and offered(first)


def test_a_question_without_a_prompt_or_with_a_wrong_setting_is_one_sentence() -> None:
    for wrong in ({"prompt": " "}, {"strokes": 600}, {"negatives": "a\n" * 9}):
        assert run(answer.draw_prompt, question(**wrong), "zh")["message"]


def test_negative_prompts_are_lines() -> None:
    assert answer.negative_list(" a \n\n b") == ("a", "b") and answer.negative_list(None) == ()


def test_the_prompt_is_always_among_the_labels() -> None:
    assert answer.names_with("a cat", "dog, a cat") == ["a cat", "dog"]
    assert answer.names_with("a cat", "") == ["a cat"]


@pytest.mark.parametrize(
    ("lang", "word", "label"), [("en", "recorded", "a red envelope"), ("zh", "预先记录", "红包")]
)
def test_the_page_opens_with_the_recorded_drawing(lang: str, word: str, label: str) -> None:
    made = form("clipdraw")
    fields, _ = opening_state(PAGE.declared, made, made.first, lang, {})
    assert fields["prompt"] == label and label in fields["labels"]
    slots = PAGE.declared.try_it.opening(lang)
    value = json.loads(slots["view"])
    assert word in slots["line"] and label in slots["verdict"]
    assert len(value["columns"][0]["d"]) == library.data("clipdraw")["recorded"]["strokes"]
    assert [opinion["top"][0][0] for opinion in value["labels"][0]] == [label, label]


def test_a_link_opens_its_prompt() -> None:
    made = form("clipdraw")
    fields, _ = opening_state(PAGE.declared, made, made.first, "en", {"prompt": "a moon"})
    assert fields["prompt"] == "a moon"


@pytest.mark.slow
def test_the_recorded_drawing_is_reproduced() -> None:
    recorded = records.read("clipdraw")
    live = sketch_runs.record(record.drawing(), {"en": ["a"], "zh": ["a"]})
    assert live["checkpoint"] == recorded["checkpoint"] and live["steps"] == recorded["steps"]
    assert live["loss"] == pytest.approx(recorded["loss"], abs=0.1)
