"""The CLIPDraw page through its endpoint and handlers: drawings, negative prompts, refusals; the recorded run."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from core.runtime import Cancel
from demos.clipasso import record as sketch_record
from demos.clipdraw import page as clipdraw
from demos.kit import sketch_runs as runs


@pytest.fixture(scope="module")
def client(server: str) -> Client:
    return Client(server, verbose=False)


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


def test_the_page_draws_continues_and_films() -> None:
    row = sketch_record.miniature()
    frames = list(clipdraw.draw_prompt(Cancel(), "a cat", "a dog", 6, 1, 2, 2.0, 0, "house", row, "en"))
    status, message, made, files = frames[-1]
    assert "cosine with the prompt" in status and 'download="clipdraw-6.svg"' in files
    assert made.labels == ("a cat", "house") and json.loads(message)["edit"]
    *_, (_, _, again, _) = clipdraw.go_on(Cancel(), made, "", "a house", 1, "", "zh")
    np.testing.assert_allclose(
        again.result.drawn[0].history[0].points, made.result.drawn[0].strokes.points, atol=1e-5
    )
    assert again.result.prompt == "a house"
    (films,) = clipdraw.films(again, "en")
    assert "video/mp4" in films and "image/gif" in films


def test_negative_prompts_are_lines() -> None:
    assert clipdraw.negative_list(" a \n\n b") == ("a", "b") and clipdraw.negative_list(None) == ()


def test_the_prompt_is_always_among_the_names() -> None:
    assert clipdraw.names_with("a cat", "dog, a cat") == ["a cat", "dog"]
    assert clipdraw.names_with("a cat", "") == ["a cat"]
    assert len(runs.label_list("")) == 0


def test_the_page_opens_with_the_recorded_drawing_or_the_links_prompt() -> None:
    for lang, word in (("en", "Recorded"), ("zh", "预先记录")):
        prompt, labels, message, status = clipdraw.opened(lang, {})
        assert prompt == clipdraw.CONFIG["prompts"][lang][0] and prompt in labels and word in status
        assert len(json.loads(message)["columns"][0]["d"]) == clipdraw.CONFIG["recorded"]["strokes"]
    assert clipdraw.opened("en", {"prompt": "a moon"})[0] == "a moon"


@pytest.mark.slow
def test_the_recorded_drawing_is_reproduced() -> None:
    recorded = json.loads(clipdraw.RECORDED.read_text("utf-8"))
    live = sketch_record.record(sketch_record.drawing(), {"en": ["a"], "zh": ["a"]})
    assert live["checkpoint"] == recorded["checkpoint"] and live["steps"] == recorded["steps"]
    assert live["loss"] == pytest.approx(recorded["loss"], abs=0.1)
