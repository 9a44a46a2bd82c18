"""*Compare* and *What if?* through their endpoints and handlers."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from core import checkpoints, inputs
from demos.clip import answer as handlers
from demos.clip import compare as clip_compare
from demos.clip import whatif as clip_whatif
from demos.kit import shell

EXAMPLES = handlers.examples()
CAT, TOYS = EXAMPLES["cat_left_of_car"], EXAMPLES["toys"]
LABELS = ["a cat", "a car", "a duck"]


@pytest.fixture(scope="module")
def client(server: str) -> Client:
    return Client(server, verbose=False)


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
    changed = inputs.image(shell.from_data_uri(answer["picture"]))
    assert changed.size == (CAT["size"], CAT["size"])


@pytest.mark.parametrize(
    ("boxes", "things", "fill", "sentence"),
    [
        (None, None, "around", "Nothing was changed"),
        (None, [{"name": "unicycle of glass", "x": 0, "y": 0, "size": 1}], "around", "unicycle"),
        ([[0, 0, 90, 90]], None, "magic", "magic"),
        ([[0, 0, 320, 320]], None, "around", "whole picture"),
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
    ask = shell.guarded(clip_compare.compare, 3)
    message, sides, table, line = ask(CAT["path"], TOYS["path"], "a cat, a <i>car</i>, a duck", "", "", lang)
    assert message == "" and sides.count("<img") == 2 and "<i>car" not in table and table.count("<tr") == 4
    assert ("▲" in table or "▼" in table) and "ms" in line
    for other in (None, CAT["path"]):
        message, *_ = ask(CAT["path"], other, "a cat", "", "", lang)
        assert 'role="alert"' in message


def test_a_checkpoint_that_is_not_here_is_one_sentence() -> None:
    absent = next(row.name for row in checkpoints.rows("clip") if checkpoints.state(row.name) == "absent")
    message, *_ = shell.guarded(clip_compare.compare, 3)(CAT["path"], None, "a cat", absent, "", "en")
    assert 'role="alert"' in message and "logged" not in message
    assert absent in [value for _, value in clip_compare.rows()]


@pytest.mark.parametrize("name", list(clip_whatif.settings()["tries"]))
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_changes_of_one_click_move_the_answer(name: str, lang: str) -> None:
    path, labels, value, example = clip_whatif.attempt(name, lang)
    assert example in EXAMPLES and json.loads(value)["for"] in path
    ask = shell.guarded(clip_whatif.ask, 3)
    message, sides, _, line = ask(path, value, labels, "around", "", lang)
    assert message == "" and sides.count("<img") == 2 and "ms" in line
    links = line.split('download="clip-what-if.csv" href="data:text/csv;base64,')[1].split('"')[0]
    rows = list(csv.DictReader(io.StringIO(shell.from_data_uri(f"x;base64,{links}").decode("utf-8-sig"))))
    assert max(abs(float(row["moved"])) for row in rows) > (0.05 if name == "crown" else 0.4)


def test_things_by_name() -> None:
    message, value, typed = shell.guarded(clip_whatif.put_in, 2)(
        json.dumps({"src": "x", "strokes": [{"r": 0.1, "points": [[0.1, 0.1]]}]}), "狗", "zh"
    )
    drawn = json.loads(value)
    assert message == "" and typed == "" and len(drawn["strokes"]) == 1
    assert drawn["pastes"][0]["name"] == "狗" and drawn["known"]["狗"]["src"] == clip_whatif.thumbnail("dog")
    message, *_ = shell.guarded(clip_whatif.put_in, 2)("{}", "<b>unicycle of glass</b>", "en")
    assert 'role="alert"' in message and "<b>unicycle" not in message


def test_the_shelf_names_things_that_the_classroom_draws() -> None:
    for thing in clip_whatif.settings()["shelf"]:
        assert clip_whatif.find(thing["en"]).zh == thing["zh"]
        assert clip_whatif.sprite(thing["en"])[..., 3].any()


def test_a_picture_made_whole_again_loses_its_old_answer() -> None:
    quiet = shell.guarded(clip_whatif.ask_quietly, 3)
    assert quiet(CAT["path"], '{"src": "x", "strokes": []}', "a cat", "around", "", "en") == ("", "", "", "")
    message, *_ = quiet(CAT["path"], '{"strokes": "x"}', "a cat", "around", "", "zh")
    assert 'role="alert"' in message
    message, *_ = shell.guarded(clip_whatif.ask, 3)(CAT["path"], "{}", "a cat", "around", "", "zh")
    assert "还没有改动" in message
