"""*Look inside* through its endpoints and handlers: where, attention, map, tensors, code; refusals in one sentence."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from core import inputs
from core.clip import relevance, stages
from core.runtime import Cancel
from demos.clip import draw as views
from demos.clip import inside as clip_inside
from demos.clip import map
from demos.clip.words import data
from demos.kit import classifier
from tests.demos.clip.asked import EXAMPLES, asked
from tests.pages import run

ROOT = Path(__file__).resolve().parents[3]
CAT = EXAMPLES["cat_left_of_car"]
LABELS = ["a cat", "a car", "a dog"]


def test_where_through_the_endpoint(client: Client) -> None:
    answer = client.predict(handle_file(CAT["path"]), LABELS, "gradcam", api_name="/clip_inside")
    assert set(answer) == {"checkpoint", "seconds", "method", "crop", "relevance", "tensors"}
    assert [row["label"] for row in answer["relevance"]] == LABELS
    for row, thing in zip(answer["relevance"], CAT["objects"], strict=False):
        inner, area = relevance.share_inside(np.array(row["map"]), answer["crop"], [thing["box"]])
        assert inner > 1.5 * area, row["label"]
    names = [tensor["name"] for tensor in answer["tensors"]]
    assert names[:2] == ["image", "pixels"] and names[-1] == "probabilities"
    assert answer["tensors"][0]["shape"] == [CAT["size"], CAT["size"], 3]


@pytest.mark.parametrize(
    ("labels", "method", "sentence"),
    [(LABELS, "magic", "magic"), ([f"thing {i}" for i in range(13)], "maskclip", "13")],
)
def test_where_refuses_in_one_sentence(client: Client, labels: Any, method: str, sentence: str) -> None:
    with pytest.raises(AppError, match=sentence):
        client.predict(handle_file(CAT["path"]), labels, method, api_name="/clip_inside")


def test_attention_through_the_endpoint(client: Client) -> None:
    whole = client.predict(handle_file(CAT["path"]), api_name="/clip_attention")
    weights, kept = np.array(whole["weights"]), np.array(whole["kept"])
    assert list(weights.shape) == [len(whole["layers"]), whole["heads"], *whole["grid"]]
    np.testing.assert_allclose(weights.sum((2, 3)) + kept, 1, atol=1e-4)
    both = [
        client.predict(handle_file(CAT["path"]), *reader, "classroom-vit", api_name="/clip_attention")
        for reader in ((None, None), (0, 0))
    ]
    assert np.abs(np.subtract(*(answer["weights"] for answer in both))).max() > 1e-3, "another reader"
    with pytest.raises(AppError, match="grid"):
        client.predict(handle_file(CAT["path"]), row=99, column=0, api_name="/clip_attention")


def test_the_map_through_the_endpoint(client: Client) -> None:
    pictures = [handle_file(EXAMPLES[name]["path"]) for name in ("red_envelope", "airplane_drawing")]
    texts = ["a red envelope", "an airplane", "a sheep"]
    answer = client.predict(pictures, texts, dimensions=3, api_name="/clip_map")
    assert np.array(answer["points"]).shape == (5, 3) and answer["gap"] > 0
    assert [row[0]["text"] for row in answer["nearest"]] == texts[:2]
    for arguments, sentence in (((pictures, texts, 4), "dimensions"), (([], texts), "1 to 64")):
        with pytest.raises(AppError, match=sentence):
            client.predict(*arguments, api_name="/clip_map")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_cards_show_the_true_box_of_what_a_label_names(lang: str) -> None:
    labels = "a cat, a car, <b>dog</b>" if lang == "en" else "猫，汽车，<b>狗</b>"
    words = "true box" if lang == "en" else "真实方框"
    slots = run(clip_inside.where, asked("cat_left_of_car", labels), "all", True, lang)
    body = slots["out"]
    assert slots["message"] == "" and body.count("<img") == 9 and "<b>dog" not in body and "<b>狗" not in body
    assert body.count(words) == 6 and slots["line"].count("download=") == 2
    # Nothing is known of a photo.
    photo = run(clip_inside.where, asked("rose", labels), "maskclip", False, lang)
    assert photo["message"] == "" and words not in photo["out"]


def test_many_labels_are_cut_to_the_most_probable() -> None:
    labels = ", ".join(["a cat", *(f"thing {i}" for i in range(20))])
    body = run(clip_inside.where, asked("cat_left_of_car", labels), "maskclip", True, "en")["out"]
    assert body.count("<img") == clip_inside.MAX_LABELS and "of 21 labels" in body


def test_the_surface_carries_every_map_and_a_click_comes_back() -> None:
    slots = run(clip_inside.attend, asked("cat_left_of_car"), None, "en")
    sent = json.loads(slots["maps"])
    count = len(sent["layers"]) * sent["heads"] * sent["grid"][0] * sent["grid"][1]
    assert slots["message"] == "" and len(base64.b64decode(sent["maps"])) == count and sent["reader"] is None
    assert "ResNet" in slots["line"]
    clicked = json.dumps({**sent, "reader": [1, 0], "asked": 3})
    again = run(clip_inside.attend, asked("cat_left_of_car"), clicked, "en")
    answer = json.loads(again["maps"])
    assert again["message"] == "" and answer["reader"] == [1, 0] and answer["asked"] == 3


@pytest.mark.parametrize("reader", ["x", [1], [1.5, 2], [0, 99], {"row": 1}])
def test_a_place_that_does_not_exist_is_refused(reader: Any) -> None:
    value = json.dumps({"reader": reader})
    assert run(clip_inside.attend, asked("cat_left_of_car"), value, "zh")["message"]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_tensor_has_words(lang: str) -> None:
    body, line = clip_inside.tensors(asked("cat_left_of_car", "a cat, a dog"), lang)
    assert body.count("<small>") == 2 * (body.count("<tr") - 1) > 20
    assert "320 × 320 × 3" in body and "clip-tensors.json" in line


def test_stages_of_other_towers_have_words_too() -> None:
    stage = stages.of_image(classifier.model(None), inputs.image(CAT["path"]))[1]
    for name in ("embed", "block12", "layer4", "stem"):
        row = views.stage_table([stages.Stage(name, "tokens", (4,), 0, 1, stage.picture)], "zh")
        assert name in row


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_each_line_of_the_paper_stands_beside_a_line_that_ran(lang: str) -> None:
    question = asked("cat_left_of_car", "a <b>cat</b>, a car", template="seven")
    slots = run(clip_inside.code, question, lang)
    assert slots["message"] == "" and "<b>cat" not in slots["out"] and "clip-code.json" in slots["line"]
    cards = slots["out"].split("<section>")[1:]
    assert len(cards) == len(data()["pseudocode"])
    for card, step in zip(cards, data()["pseudocode"], strict=True):
        assert 'class="ran key"' in card and step[lang][:8] in card


def test_the_code_through_the_endpoint(client: Client) -> None:
    answer = client.predict(handle_file(CAT["path"]), ["a cat", "a car"], "photo", api_name="/clip_code")
    assert [one["role"] for one in answer["functions"]] == [step["role"] for step in data()["pseudocode"]]
    for one in answer["functions"]:
        source = (ROOT / one["file"]).read_text(encoding="utf-8").splitlines()
        assert all(source[line["number"] - 1].strip() == line["code"].strip() for line in one["lines"])
    made: dict[str, Any] = {}
    for line in answer["functions"][5]["lines"]:
        made |= line["made"]
    assert made["cosines"].startswith("[2] = ") and made["per_template"].startswith("[1, 2, ")
    with pytest.raises(AppError, match="label"):
        client.predict(handle_file(CAT["path"]), "", api_name="/clip_code")


@pytest.mark.parametrize("dimensions", ["2", "3"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_map_and_the_nearest_captions(dimensions: str, lang: str) -> None:
    slots = run(map.lay_map, asked("cat_left_of_car", "a cat <i>"), dimensions, True, "concepts", "", lang)
    figure = slots["plot"]["value"]
    points = [trace for trace in figure.data if trace.mode != "lines"]
    assert {trace.type for trace in figure.data} == {"scatter" if dimensions == "2" else "scatter3d"}
    # Nine images, the label, captions of the other eight.
    assert sum(len(trace.x) for trace in points) == 9 + 1 + 8
    assert "<i>" not in json.dumps([list(trace.hovertext) for trace in points])
    assert CAT["caption"][lang] in slots["nearest"] and slots["nearest"].count("<tr") == 11
    assert "%" in slots["note"] and 0 < slots["bars"][0].share < slots["bars"][-1].share == 1


def test_own_texts_and_what_is_refused() -> None:
    question = asked("cat_left_of_car", "a cat")
    table = run(map.lay_map, question, "2", False, "own", "a cat\nan <b>airplane</b>", "en")["nearest"]
    assert table.index("a cat") < table.index("airplane") and "<b>airplane" not in table
    assert run(map.lay_map, question, "2", False, "own", "", "en")["message"]


def test_a_stopped_map_says_so() -> None:
    slots = run(map.lay_map, asked(), "2", False, "concepts", "", "en", cancel=Cancel(stopped=True))
    assert "topped" in slots["message"] and "plot" not in slots
