"""What pages with long answers need of the kit: prompts as examples, lessons with a view of their run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from core.runtime import Cancel
from demos.kit import examples, walkthrough
from demos.kit.components import output
from demos.kit.jobs import Progress
from demos.kit.walkthrough import Outcome, Walkthrough
from tests.pages import run

STEP = {"ask": {"en": "Which?", "zh": "哪个？"}, "why": {"en": "Because.", "zh": "因为。"}}
LESSONS = {"one": {"title": {"en": "One", "zh": "一"}, "steps": [STEP]}}


def outcome(step: dict[str, Any], checkpoint: str, lang: str, cancel: Any) -> Iterator[Any]:
    """A run of two moments that ends with its second choice."""
    yield {"view": "begun", "line": Progress(0.5, "half").bar}
    yield {"view": "ended"}
    yield Outcome(1, "<b>body</b>")


WALK = Walkthrough(
    lambda: LESSONS,
    lambda step, lang: ["this", "that"],
    lambda step, lang: "card",
    outcome,
    slots={"view": output},
)


def test_a_step_shows_its_run_in_slots_of_its_own() -> None:
    assert walkthrough.turn(WALK, "one:0", "en")["view"] == ""

    def handler(lang: str, cancel: Cancel) -> Iterator[Any]:
        yield from walkthrough.reveal(WALK, "one:0", "1", "", lang, cancel)

    slots = run(handler, "en")
    assert slots["message"] == "" and slots["view"] == "ended"
    assert "correct" in slots["out"] and "<b>body</b>" in slots["out"] and "Because." in slots["out"]


def test_an_example_without_an_image_is_its_caption() -> None:
    rows = {"cat": {"caption": {"en": "a <cat>", "zh": "猫"}}}
    with gr.Blocks():
        template = examples.strip(rows, "examples").html_template
    assert 'data-example="cat"' in template and "<img" not in template
    assert "a &lt;cat&gt;" in template and "猫" in template and "atlas-only-read" not in template
