"""Labels of detectors: least scores of single ones, negative ones, and translations for checkpoints that read no Chinese."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from gradio_client import Client, handle_file

from core import checkpoints, inputs, runtime
from core.checkpoints import registry
from core.inputs.texts import LABEL_CHARS
from demos.glip import answer as glip
from demos.glip.page import Question
from demos.glip.words import examples
from demos.kit import components, label_choices
from demos.vild import answer as vild
from demos.vild.page import Question as ViLDQuestion
from tests.conftest import Rows
from tests.pages import run

ENGLISH, BOTH = "grounding-dino-tiny", "classroom-glip"
PAIR = examples()["dog_and_car"]


def test_chinese_labels_are_translated_by_the_word_list() -> None:
    choices = label_choices.read(
        ENGLISH, ["狗", "dog", "动物", "自动洗碗机"], "狗 0.4, 汽车 0.2, cat", "狼， 狐狸"
    )
    assert choices.names == ["dog", "animal", "自动洗碗机"]
    assert choices.by_label == {"dog": 0.4, "car": 0.2} and choices.negatives == ["wolf", "fox"]
    assert choices.translated == {"狗": "dog", "动物": "animal", "狼": "wolf", "狐狸": "fox"}
    assert choices.unread == ("自动洗碗机",) and choices.unmatched(choices.names) == ["cat", "car"]
    translated, unread, unmatched = choices.sentences(choices.names, "en")
    assert "狗 → dog, 动物 → animal" in translated and "reads English" in translated
    assert "自动洗碗机" in unread and "cat, car" in unmatched
    assert "狗 → dog、动物 → animal" in choices.sentences(choices.names, "zh")[0]
    assert choices.among(["狗", "动物"]) == [True, True, False] and choices.among(None) is None
    assert set(choices.to_json(choices.names)) == {"translated", "unmatched"}


def test_a_checkpoint_that_reads_chinese_gets_what_was_typed() -> None:
    assert "zh" in checkpoints.row(BOTH).languages
    choices = label_choices.read(BOTH, ["狗", "dog"], "狗 0.4", "狼")
    assert choices.names == ["狗", "dog"] and choices.by_label == {"狗": 0.4} and choices.negatives == ["狼"]
    assert not choices.sentences(choices.names, "en") and choices.to_json(choices.names) == {}


@pytest.fixture
def english(rows: Rows) -> Iterator[None]:
    """The miniatures of GLIP and ViLD as rows that say they read English alone."""
    text = registry.BUILT_IN.read_text(encoding="utf-8")
    for name in ("classroom-glip", "classroom-vild"):
        start = text.index(f"[{name}]")
        text = text[:start] + text[start:].replace('languages = ["en", "zh"]', 'languages = ["en"]', 1)
    rows(text)
    yield
    runtime.POOL.drop_idle()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_pages_say_what_was_translated(english: None, lang: str) -> None:
    question = Question("", PAIR["path"], "labels", "狗，汽车，自动洗碗机", 0.3)
    slots = run(glip.ground, question, lang)
    assert "狗 → dog" in slots["notes"] and "自动洗碗机" in slots["notes"]
    assert {"dog", "car"} <= set(re.findall(r'aria-pressed="false"[^>]*>(\w+)<b>', slots["figure"]))
    slots = run(vild.detect, ViLDQuestion("", PAIR["path"], "狗，汽车", "ensemble", 0.3), lang)
    assert "狗 → dog" in slots["notes"] and "dog" in slots["figure"]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_an_excluded_label_takes_boxes_and_is_not_shown(lang: str) -> None:
    question = Question(
        "", PAIR["path"], "labels", "dog, animal", 0.3, negatives="car", by_label="animal 0.95"
    )
    slots = run(glip.ground, question, lang)
    assert re.search(r'<s [^>]*class="gl-negative"[^>]*>car</s>', slots["figure"])
    assert 'data-settled="1"' in slots["figure"] and "car" not in slots["table"]
    names = {mark.label for mark in glip.draw.visible_marks(glip.run(question).grounding, 0.3)}
    assert names == {"dog"}
    asked = ViLDQuestion("", PAIR["path"], "dog", "ensemble", 0.3, negatives="car")
    html = run(vild.detect, asked, lang)["figure"]
    assert ("excluded" if lang == "en" else "排除") in html
    assert {mark.label for mark in vild.draw.marks(vild.ask(asked).detection)} == {"dog"}


def test_the_endpoints_take_both(client: Client) -> None:
    image = handle_file(PAIR["path"])
    options = {"by_label": {"car": 1.0, "cow": 0.2}, "negatives": "apple"}
    found = client.predict(image, labels="dog, car", threshold=0.3, **options, api_name="/glip_ground")
    assert {row["phrase"] for row in found["results"]} == {"dog"} and found["unmatched"] == ["cow"]
    assert [one["text"] for one in found["phrases"] if one.get("negative")] == ["apple"]
    found = client.predict(image, labels="dog, car", base=["dog"], **options, api_name="/vild_detect")
    assert {row["label"] for row in found["results"]} == {"dog"} and all(
        row["base"] for row in found["results"]
    )


def test_the_field_takes_every_list_that_is_allowed() -> None:
    """A browser cuts what is pasted at the field's length, and nobody is told."""
    longest = ", ".join(f"{i:03}".ljust(LABEL_CHARS, "x") for i in range(100))
    assert len(inputs.labels(longest)) == 100
    (length,) = re.findall(r'maxlength="(\d+)"', components.markup("labels", id="labels"))
    assert int(length) >= len(longest)
