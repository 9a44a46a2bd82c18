"""*Compare* through its endpoints and handlers: two answers, templates, absent labels, what if?"""

from __future__ import annotations

import csv
import io
import json
from functools import partial
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from core import checkpoints, inputs
from core.classroom.world import concepts, sprites
from demos.clip import compare, whatif
from demos.clip.words import data
from demos.kit import files
from tests.demos.clip.asked import EXAMPLES, asked
from tests.pages import run

CAT, TOYS = EXAMPLES["cat_left_of_car"], EXAMPLES["toys"]
LABELS = ["a cat", "a car", "a duck"]


def test_two_pictures_through_the_endpoint(client: Client) -> None:
    answer = client.predict(
        handle_file(CAT["path"]), LABELS, handle_file(TOYS["path"]), api_name="/clip_compare"
    )
    assert set(answer) == {"seconds", "similarity", "first", "second"} and -1 <= answer["similarity"] < 0.99
    for side, row in (("first", CAT), ("second", TOYS)):
        alone = client.predict(handle_file(row["path"]), LABELS, api_name="/clip_classify")["results"]
        assert [one["label"] for one in answer[side]["results"]] == [one["label"] for one in alone]
        assert answer[side]["results"][0]["probability"] == pytest.approx(alone[0]["probability"], abs=1e-4)


def test_a_car_that_is_painted_out_through_the_endpoint(client: Client) -> None:
    car = next(thing["box"] for thing in CAT["objects"] if thing["en"] == "car")
    put = [{"name": "dog", "x": 0.75, "y": 0.56, "size": 0.4}]
    answer = client.predict(
        handle_file(CAT["path"]), LABELS, [car], put, "grey", api_name="/clip_counterfactual"
    )
    assert answer["first"]["results"][0]["label"] == "a car"
    assert answer["second"]["results"][0]["label"] == "a cat"
    changed = inputs.image(files.from_data_uri(answer["picture"]))
    assert changed.size == (CAT["size"], CAT["size"])


@pytest.mark.parametrize(
    ("boxes", "things", "fill", "sentence"),
    [
        (None, None, "around", "Nothing was changed"),
        (None, [{"name": "unicycle of glass", "x": 0, "y": 0, "size": 1}], "around", "unicycle"),
        ([[0, 0, 90, 90]], None, "magic", "magic"),
        ([[0, 0, 320, 320]], None, "around", "whole image"),
        (None, [{"name": "dog"}], "around", "could not be read"),
    ],
)
def test_changes_are_refused_in_one_sentence(
    client: Client, boxes: Any, things: Any, fill: str, sentence: str
) -> None:
    with pytest.raises(AppError, match=sentence):
        client.predict(
            handle_file(CAT["path"]), "a dog", boxes, things, fill, api_name="/clip_counterfactual"
        )


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_both_sides_and_what_moved(lang: str) -> None:
    question = asked("cat_left_of_car", "a cat, a <i>car</i>, a duck")
    slots = run(compare.compare, question, TOYS["path"], compare.SAME, lang)
    assert slots["message"] == "" and slots["sides"].count("<img") == 2
    table = slots["table"]
    assert "<i>car" not in table and table.count("<tr") == 4 and ("▲" in table or "▼" in table)
    assert slots["line"].count("download=") == 2
    for other in (None, CAT["path"]):
        assert run(compare.compare, question, other, compare.SAME, lang)["message"]


def test_an_example_becomes_the_second_image() -> None:
    slots = run(
        compare.with_example, asked("cat_left_of_car", "a cat, a duck"), "toys 171", compare.SAME, "en"
    )
    assert slots["other"] == TOYS["path"] and "cosine" in slots["sides"].lower()
    assert run(compare.with_example, asked(), "no-such-example 1", compare.SAME, "en") == {
        "message": "",
        "bars": [],
    }


def test_the_hint_is_for_whichever_image_is_a_photo() -> None:
    photo = EXAMPLES["rose"]["path"]
    assert "drawings" in run(compare.compare, asked(), photo, compare.SAME, "en")["line"]
    assert "drawings" not in run(compare.compare, asked(), CAT["path"], compare.SAME, "en")["line"]


def test_a_checkpoint_that_is_not_here_is_one_sentence() -> None:
    absent = next(row.name for row in checkpoints.rows("clip") if checkpoints.state(row.name) == "absent")
    assert run(compare.compare, asked(), None, absent, "en")["message"]
    assert absent in [value for _, value in compare.rows()]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_templates_side_by_side(lang: str) -> None:
    slots = run(compare.templates, asked(lang=lang), ["none", "seven"], "a toy {}\n\n <b>{}", lang)
    assert slots["message"] == "" and slots["out"].count('<th scope="col"') == 5 and "<b>" not in slots["out"]
    assert slots["out"].count("✓") == 4
    assert run(compare.templates, asked(), [], "", lang)["out"].count("✓") == 1
    assert run(compare.templates, asked(), [], "no place", lang)["message"]


@pytest.mark.parametrize(("lang", "words"), [("en", "None of these"), ("zh", "都不是")])
def test_labels_that_are_not_there(lang: str, words: str) -> None:
    slots = run(compare.absent, asked("red_envelope", lang=lang), "", lang)
    assert slots["message"] == ""
    assert words in slots["missing"] and words not in slots["present"]
    assert slots["present"].count("<tr") == 7 and slots["missing"].count("<tr") == 5
    own = run(compare.absent, asked("red_envelope", lang=lang), "<b>, a car", lang)
    assert own["missing"].count("<tr") == 3 and "<b>" not in own["missing"]


# --- what if? --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(data()["whatif"]["tries"]))
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_changes_of_one_click_move_the_answer(name: str, lang: str) -> None:
    slots = run(partial(whatif.attempt, name), asked("flock"), "around", lang)
    assert slots["message"] == "" and slots["example"] in EXAMPLES and slots["scene"] == ""
    assert slots["image"] == EXAMPLES[slots["example"]]["path"]
    assert json.loads(slots["surface"])["for"] in slots["image"] and slots["sides"].count("<img") == 2
    link = slots["line"].split('download="clip-what-if.csv" href="data:text/csv;base64,')[1].split('"')[0]
    rows = list(csv.DictReader(io.StringIO(files.from_data_uri(f"x;base64,{link}").decode("utf-8-sig"))))
    assert max(abs(float(row["moved"])) for row in rows) > (0.05 if name == "crown" else 0.4)


def test_things_by_name() -> None:
    drawn = json.dumps({"src": "x", "strokes": [{"r": 0.1, "points": [[0.1, 0.1]]}]})
    slots = run(whatif.put_in, asked("cat_left_of_car", "a cat"), drawn, "around", "狗", "zh")
    value = json.loads(slots["surface"])
    assert slots["message"] == "" and slots["typed"] == "" and len(value["strokes"]) == 1
    assert value["pastes"][0]["name"] == "狗" and value["known"]["狗"]["src"] == whatif.thumbnail("dog")
    refused = run(whatif.put_in, asked(), "{}", "around", "<b>unicycle of glass</b>", "en")
    assert "unicycle" in refused["message"] and "surface" not in refused


def test_the_shelf_names_things_that_the_classroom_draws() -> None:
    for thing in data()["whatif"]["shelf"]:
        concept = concepts.find(thing["en"])
        assert concept is not None and concept.zh == thing["zh"]
        assert sprites.drawing(thing["en"])[..., 3].any()


def test_an_image_made_whole_again_loses_its_old_answer() -> None:
    question = asked("cat_left_of_car", "a cat")
    whole = run(whatif.ask_quietly, question, '{"src": "x", "strokes": []}', "around", "en")
    assert (whole["message"], whole["sides"], whole["table"]) == ("", "", "")
    assert run(whatif.ask_quietly, question, '{"strokes": "x"}', "around", "zh")["message"]
    assert "还没有改动" in run(whatif.ask, question, "{}", "around", "zh")["message"]
