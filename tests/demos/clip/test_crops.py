"""The *Crops* tab through its endpoint and handlers: boxes, grids, both lessons, refusals in one sentence."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from core import checkpoints, inputs
from core.clip import crops
from demos.clip import answer as handlers
from demos.clip import crops as clip_crops
from demos.clip import draw as clip_draw
from demos.kit import shell

TOYS = handlers.examples()["toys"]
LABELS = ["a duck", "a teddy bear", "a balloon"]


@pytest.fixture(scope="module")
def client(server: str) -> Client:
    return Client(server, verbose=False)


def ask(
    path: str | None = TOYS["path"], drawn: str = "", rows: float = 2, columns: float = 2, labels: str = "dog, cat",
    lang: str = "en",
) -> tuple[Any, ...]:  # fmt: skip
    """The page's own call: (message, surface, table, line)."""
    return shell.guarded(clip_crops.classify, 3)(path, drawn, rows, columns, labels, "", lang)


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
    drawn = json.dumps({"src": "picture", "boxes": [[0, 0, 0.5, 0.5]]})
    message, surface, table, line = ask(drawn=drawn, labels="<b>dog</b>, cat")
    value = json.loads(surface)
    assert message == "" and value["boxes"] == [[0, 0, 0.5, 0.5]] and len(value["captions"]) == 1
    assert table.count("<tr>") == 3 and "<b>dog" not in table and "ms" in line
    message, surface, *_ = ask(drawn="", rows=3, columns=2)
    assert len(json.loads(surface)["boxes"]) == 6


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(
    "drawn",
    ["no json", "[1]", '{"boxes": "x"}', '{"boxes": [[0, 0, 0, 0]]}', '{"boxes": [[0, 0, 1e999, 1]]}'],
)
def test_bad_drawings_are_refused_in_one_sentence(drawn: str, lang: str) -> None:
    message, *_ = ask(drawn=drawn, lang=lang)
    assert 'role="alert"' in message and "logged" not in message and "已经记录" not in message


def test_the_table_as_csv_holds_every_part_and_label() -> None:
    image = inputs.image(TOYS["path"])
    result = crops.classify_crops(
        handlers.model(None), image, crops.grid(*image.size, 1, 2), ["=1+1", "duck"]
    )
    rows = list(csv.DictReader(io.StringIO(clip_draw.crops_csv(result))))
    assert [row["part"] for row in rows] == ["whole"] * 2 + ["1"] * 2 + ["2"] * 2
    assert {row["label"] for row in rows} == {"'=1+1", "duck"}


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_flock_is_one_click(lang: str) -> None:
    path, labels, rows, columns, drawn, example = clip_crops.flock(lang)
    message, surface, table, _ = ask(path, drawn, rows, columns, labels, lang)
    assert message == "" and len(json.loads(surface)["captions"]) == 4 and example == "flock"
    assert table.count("<tr>") == 6


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_two_languages_say_what_the_run_showed(lang: str) -> None:
    message, body, line = shell.guarded(clip_crops.languages, 2)(TOYS["path"], "", 1, 2, "toys", "", lang)
    assert message == "" and "ms" in line
    # One row for the head, the whole picture and each part; one verdict that counts the ticks of the table.
    ticks = body.count("✓")
    wanted = f"{ticks} of 3 answers agree" if lang == "en" else f"3 个回答中有 {ticks} 个一致"
    assert wanted in body
    here = checkpoints.state(clip_crops.ENGLISH_ONLY) == "cached"
    assert ("atlas-hint" in body) == (not here)


def test_an_english_only_row_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence follows the row's languages: the miniature's numbers under a row that says English only."""
    import dataclasses

    image = inputs.image(TOYS["path"])
    boxes = crops.grid(*image.size, 1, 2)
    model = handlers.model(None)
    english, chinese = (
        crops.classify_crops(model, image, boxes, inputs.labels(TOYS["labels"][code]))
        for code in ("en", "zh")
    )
    row = dataclasses.replace(checkpoints.row(model.checkpoint), languages=("en",))
    monkeypatch.setattr(clip_draw.checkpoints, "row", lambda name: row)
    assert "English captions only" in clip_draw.language_table(english, chinese, "en")
    assert "只学过英文" in clip_draw.language_table(english, chinese, "zh")
