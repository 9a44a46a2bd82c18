"""*Look inside* through its endpoints and handlers: where, attention, map, tensors; refusals in one sentence."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from core import inputs
from core.clip import inside
from demos.clip import answer as handlers
from demos.clip import inside as clip_inside
from demos.clip import inside_draw
from demos.clip import map as clip_map
from demos.kit import shell

CAT = handlers.examples()["cat_left_of_car"]
LABELS = ["a cat", "a car", "a dog"]


@pytest.fixture(scope="module")
def client(server: str) -> Client:
    return Client(server, verbose=False)


def test_where_through_the_endpoint(client: Client) -> None:
    answer = client.predict(handle_file(CAT["path"]), LABELS, "gradcam", api_name="/clip_inside")
    assert set(answer) == {"checkpoint", "seconds", "method", "crop", "relevance", "tensors"}
    assert [row["label"] for row in answer["relevance"]] == LABELS
    for row, thing in zip(answer["relevance"], CAT["objects"], strict=False):
        inner, area = inside.share_inside(np.array(row["map"]), answer["crop"], [thing["box"]])
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
    corner = client.predict(handle_file(CAT["path"]), row=0, column=0, api_name="/clip_attention")
    assert np.abs(np.array(corner["weights"]) - weights).max() > 1e-3
    with pytest.raises(AppError, match="grid"):
        client.predict(handle_file(CAT["path"]), row=99, column=0, api_name="/clip_attention")


def test_the_map_through_the_endpoint(client: Client) -> None:
    pictures = [
        handle_file(handlers.examples()[name]["path"]) for name in ("red_envelope", "airplane_drawing")
    ]
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
    ask = shell.guarded(clip_inside.where, 2)
    message, body, line = ask(CAT["path"], labels, "all", True, "cat_left_of_car", "", lang)
    assert message == "" and body.count("<img") == 9 and "<b>dog" not in body and "<b>狗" not in body
    assert body.count("true box" if lang == "en" else "真实方框") == 6 and "ms" in line
    # Another picture under the same example's name has no known boxes.
    other = handlers.examples()["rose"]["path"]
    message, body, _ = ask(other, labels, "maskclip", False, "cat_left_of_car", "", lang)
    assert message == "" and "true box" not in body and "真实方框" not in body


def test_many_labels_are_cut_to_the_likeliest() -> None:
    labels = ", ".join(["a cat", *(f"thing {i}" for i in range(20))])
    _, body, _ = shell.guarded(clip_inside.where, 2)(CAT["path"], labels, "maskclip", True, "", "", "en")
    assert body.count("<img") == clip_inside.SHOWN_LABELS and "of 21 labels" in body


def test_the_surface_carries_every_map_and_a_click_comes_back() -> None:
    message, value, line = shell.guarded(clip_inside.attend, 2)(CAT["path"], "", "en")
    sent = json.loads(value)
    count = len(sent["layers"]) * sent["heads"] * sent["grid"][0] * sent["grid"][1]
    assert message == "" and len(base64.b64decode(sent["maps"])) == count and sent["reader"] is None
    assert "ResNet" in line
    clicked = json.dumps({**sent, "reader": [1, 0]})
    message, value, _ = shell.guarded(clip_inside.read_from, 2)(CAT["path"], clicked, "", "en")
    assert message == "" and json.loads(value)["reader"] == [1, 0]


@pytest.mark.parametrize("reader", ["x", [1], [1.5, 2], [0, 99], {"row": 1}])
def test_a_place_that_is_none_is_refused(reader: Any) -> None:
    value = json.dumps({"reader": reader})
    message, *_ = shell.guarded(clip_inside.read_from, 2)(CAT["path"], value, "", "zh")
    assert 'role="alert"' in message and "已经记录" not in message


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_tensor_has_words(lang: str) -> None:
    message, body, line = shell.guarded(clip_inside.tensors, 2)(CAT["path"], "a cat, a dog", "", lang)
    assert message == "" and body.count("<small>") == 2 * (body.count("<tr") - 1) > 20
    assert "320 × 320 × 3" in body and "ms" in line


def test_stages_of_other_towers_have_words_too() -> None:
    image = inputs.image(CAT["path"])
    stage = inside.stages(handlers.model(None), image)[1]
    for name in ("embed", "block12", "layer4", "stem"):
        row = inside_draw.stage_table([inside.Stage(name, "tokens", (4,), 0, 1, stage.picture)], "zh")
        assert name in row


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_map_and_the_nearest_captions(dimensions: int, lang: str) -> None:
    steps = list(clip_map.lay_map("s", CAT["path"], "a cat <i>", dimensions, True, "concepts", "", "", lang))
    update, note, table, line, _ = steps[-1]
    figure = update["value"]
    points = [trace for trace in figure.data if trace.mode != "lines"]
    assert {trace.type for trace in figure.data} == {"scatter" if dimensions == 2 else "scatter3d"}
    assert (
        sum(len(trace.x) for trace in points) == 9 + 1 + 8
    )  # pictures, the label, captions of the other eight
    assert "<i>" not in json.dumps([list(trace.hovertext) for trace in points])
    assert CAT["caption"][lang] in table and table.count("<tr") == 11 and "ms" in line and "%" in note


def test_own_texts_and_what_is_refused() -> None:
    *_, (_, _, table, _, _) = clip_map.lay_map(
        "s", CAT["path"], "a cat", 2, False, "own", "a cat\nan <b>airplane</b>", "", "en"
    )
    assert table.index("a cat") < table.index("airplane") and "<b>airplane" not in table
    steps = list(shell.guarded(clip_map.lay_map, 5)("s", CAT["path"], "a cat", 2, False, "own", "", "", "en"))
    assert 'role="alert"' in steps[0][0]


def test_a_stopped_map_says_so() -> None:
    clip_map.handlers.model(None)
    from core.clip import encoders, zero_shot

    encoders.TEXT_FEATURES.clear()
    zero_shot.ENCODED_IMAGES.clear()
    cancel = clip_map.Cancel(stopped=True)
    model = handlers.model(None)
    with pytest.raises(clip_map.Refusal) as refusal:
        next(clip_map.encode_texts(model, ["a"], cancel))
    assert refusal.value.code == "cancelled"
