"""The *Crops* tab through its endpoint and handlers: boxes, grids, refusals in one sentence."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from core import inputs
from core.clip import crops as core_crops
from demos.clip import crops
from demos.clip import draw as views
from demos.kit import classifier
from tests.demos.clip.asked import EXAMPLES, asked
from tests.pages import run

TOYS = EXAMPLES["toys"]
LABELS = ["a duck", "a teddy bear", "a balloon"]


def test_the_endpoint_answers_boxes_and_the_whole(client: Client) -> None:
    boxes = [crop["box"] for crop in TOYS["objects"]]
    answer = client.predict(handle_file(TOYS["path"]), LABELS, boxes, api_name="/clip_crops")
    assert set(answer) == {"checkpoint", "seconds", "whole", "crops"}
    assert [crop["box"] for crop in answer["crops"]] == boxes
    # What is in a box of its own is what the classroom put there.
    found = [crop["results"][0]["label"] for crop in answer["crops"]]
    assert found == [f"a {thing['en']}" for thing in TOYS["objects"]]
    whole = client.predict(handle_file(TOYS["path"]), LABELS, api_name="/clip_classify")["results"]
    for there, here in zip(answer["whole"], whole, strict=True):
        assert there["label"] == here["label"]
        assert there["probability"] == pytest.approx(here["probability"], abs=1e-5)


def test_the_endpoint_lays_a_grid_where_no_boxes_are_given(client: Client) -> None:
    answer = client.predict(
        handle_file(TOYS["path"]), "dog, cat", rows=1, columns=3, template="photo", api_name="/clip_crops"
    )
    assert len(answer["crops"]) == 3 and answer["crops"][0]["box"][3] == TOYS["size"]


@pytest.mark.parametrize("boxes", [[], [[1, 2, 3]], [[0, 0, 1, 1]], [[0, 0, 9, 9]] * 65])
def test_the_endpoint_refuses_bad_boxes_in_one_sentence(client: Client, boxes: Any) -> None:
    with pytest.raises(AppError, match=r"box"):
        client.predict(handle_file(TOYS["path"]), "dog", boxes, api_name="/clip_crops")


def test_drawn_boxes_win_over_the_grid_and_carry_their_best_label() -> None:
    drawn = json.dumps({"src": "image", "boxes": [[0, 0, 0.5, 0.5]]})
    slots = run(crops.classify, asked(labels="<b>dog</b>, cat"), drawn, 2, 2, "en")
    value = json.loads(slots["surface"])
    assert slots["message"] == "" and value["boxes"] == [[0, 0, 0.5, 0.5]] and len(value["captions"]) == 1
    assert slots["table"].count("<tr>") == 3 and "<b>dog" not in slots["table"]
    laid = run(crops.classify, asked(labels="dog, cat"), "", 3, 2, "en")
    assert len(json.loads(laid["surface"])["boxes"]) == 6


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(
    "drawn",
    ["no json", "[1]", '{"boxes": "x"}', '{"boxes": [[0, 0, 0, 0]]}', '{"boxes": [[0, 0, 1e999, 1]]}'],
)
def test_bad_drawings_are_refused_in_one_sentence(drawn: str, lang: str) -> None:
    assert run(crops.classify, asked(labels="dog, cat"), drawn, 2, 2, lang)["message"]


def test_the_table_as_csv_holds_every_part_and_label() -> None:
    image = inputs.image(TOYS["path"])
    boxes = core_crops.grid(*image.size, 1, 2)
    result = core_crops.classify_crops(classifier.model(None), image, boxes, ["=1+1", "duck"])
    rows = list(csv.DictReader(io.StringIO(views.crops_csv(result))))
    assert [row["part"] for row in rows] == ["whole"] * 2 + ["1"] * 2 + ["2"] * 2
    assert {row["label"] for row in rows} == {"'=1+1", "duck"}
