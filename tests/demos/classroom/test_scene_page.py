"""The Classroom page and the Report card as pure functions: what is drawn is what is known, and nothing typed is HTML."""

from __future__ import annotations

import base64
import csv
import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core import masks as rle
from core.classroom import report
from core.classroom.world import description
from core.errors import Refusal
from demos.classroom import answer as handlers
from demos.draw import base as draw
from demos.draw import scene as draw_scene
from demos.kit import scenes_link
from demos.report import page as card_page
from tests.demos.draw.test_base import Tags

SIZE = 40


def thing(
    code: str, en: str, zh: str, box: tuple[int, int, int, int], depth: float, **more: Any
) -> dict[str, Any]:
    """An object that fills its box; `seen` cuts its visible box short on the right."""
    left, top, right, bottom = box
    seen = more.pop("seen", right)
    masks = {}
    for name, edge in (("mask", right), ("visible_mask", seen)):
        mask = np.zeros((SIZE, SIZE), bool)
        mask[top:bottom, left:edge] = True
        masks[name] = {"size": [SIZE, SIZE], "counts": rle.encode(mask)}
    return {
        "code": code, "en": en, "zh": zh, "pose": "standing", "style": "noto", "x": 0.0, "y": 0.0, "half": 0.4,
        "depth": depth, "box": [*box], "visible_box": [left, top, seen, bottom],
        "area": (right - left) * (bottom - top), "visible_area": (seen - left) * (bottom - top), **masks, **more,
    }  # fmt: skip


def known(*things: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "scene": "text", "size": SIZE, "objects": [*things],
        "captions": {"en": ["a dog & a <b>sheep</b>", "second"], "zh": ["狗和羊", "第二句"]},
        "swapped": {"en": "a sheep and a dog", "zh": "羊和狗"}, **more,
    }  # fmt: skip


DOG = thing("1F415", "dog", "狗", (2, 4, 20, 30), 0.2)
SHEEP = thing("1F411", "sheep", "羊", (15, 6, 35, 28), 0.7, seen=28, pose="lying")
PICTURE = np.full((SIZE, SIZE, 3), 200, np.uint8)


# --- a scene as images and HTML ----------------------------------------------------------------------------


def test_masks_are_coloured_where_they_are_and_edges_are_darker() -> None:
    shown = draw_scene.mask_image(PICTURE, known(DOG), "mask").astype(int)
    assert shown.shape == (SIZE, SIZE, 3)
    assert np.ptp(shown[0, 0]) == 0  # outside: grey
    inside, border = shown[15, 10], shown[4, 10]
    assert np.ptp(inside) > 20 and border.sum() < inside.sum()


def test_the_edge_of_a_mask_is_its_rim() -> None:
    mask = np.zeros((12, 12), bool)
    mask[2:10, 3:11] = True
    rim = draw_scene.edge(mask, 2)
    assert rim.sum() == 8 * 8 - 4 * 4 and not rim[4:8, 5:9].any() and not (rim & ~mask).any()
    assert draw_scene.edge(np.ones((5, 5), bool), 1).sum() == 16


def test_depth_is_yellow_near_and_dark_far() -> None:
    shown = draw_scene.depth_image(known(DOG, SHEEP)).astype(int)
    near, middle, far = shown[10, 5], shown[10, 25], shown[0, 0]
    assert near.sum() > middle.sum() > far.sum() and near[2] < near[0]


def test_boxes_whole_and_seen_are_where_the_objects_are() -> None:
    svg = draw_scene.box_image(PICTURE, known(SHEEP), "en")
    places = re.findall(r'<rect x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)" fill="none"', svg)
    assert {tuple(map(int, place)) for place in places} == {(15, 6, 20, 22), (15, 6, 13, 22)}
    assert svg.count("stroke-dasharray") == 1 and ">1</text>" in svg
    hidden = {**SHEEP, "visible_box": [0, 0, 0, 0], "visible_area": 0}
    assert draw_scene.box_image(PICTURE, known(hidden), "zh").count('fill="none"') == 2


@pytest.mark.parametrize(("lang", "first", "depth"), [("en", "English", "Depth"), ("zh", "中文", "深度")])
def test_the_stage_has_all_views_and_the_captions_of_both_languages(
    lang: str, first: str, depth: str
) -> None:
    body = draw_scene.stage(PICTURE, known(DOG, SHEEP), lang)
    tags, words = Tags(body), " ".join(Tags(body).words)
    assert "b" in tags.names and "<b>sheep" not in body and "&lt;b&gt;sheep" in body
    assert [*re.findall(r'data-view="(\w+)"', body)] == ["picture", "boxes", "visible", "whole", "depth"]
    assert words.index(first) == min(
        words.index(name) for name in re.findall("English|Chinese|英文|中文", words)
    )
    assert all(text in words for text in ("second", "第二句", "羊和狗", "a sheep and a dog", depth))
    assert tags.names.count("s") == 3  # a false caption in each language, and what the line means
    for data in re.findall(r"data:image/jpeg;base64,([^\"]+)", body):
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == (SIZE, SIZE)


def test_nothing_is_false_where_nothing_was_swapped() -> None:
    body = draw_scene.captions(known(DOG, swapped=None), "en")
    assert "<s>" not in body and "swapped" not in body


def test_the_legend_says_how_much_is_seen_and_how_a_sheep_stands() -> None:
    english, chinese = (draw_scene.legend(known(DOG, SHEEP), lang) for lang in ("en", "zh"))
    assert "distance 0.20, 100% seen" in english and "distance 0.70, 65% seen" in english
    assert "sheep (lying)" in english and "dog (" not in english and "羊 (躺卧)" in chinese
    gone = {**DOG, "area": 0, "visible_area": 0}
    assert "0% seen" in draw_scene.legend(known(gone), "en")


def test_the_table_has_a_line_an_object() -> None:
    lines = [*csv.DictReader(io.StringIO(draw_scene.to_csv(known(DOG, SHEEP))))]
    assert [line["zh"] for line in lines] == ["狗", "羊"]
    assert (lines[1]["right"], lines[1]["seen_right"], lines[1]["visible_area"]) == ("35", "28", "286")
    assert Image.open(io.BytesIO(draw.png(PICTURE))).format == "PNG"


# --- links ---------------------------------------------------------------------------------------------------


def test_links_carry_the_scene_and_escape_it() -> None:
    body = scenes_link.links('1F415_x"&<é', "zh")
    assert "%22%26%3C%C3%A9" in body and '"&<' not in body and "在其他页面打开" in body


def test_an_address_without_a_scene_opens_nothing_and_a_wrong_one_is_refused() -> None:
    assert scenes_link.opened({}, "en") is None and scenes_link.opened({"scene": ""}, "en") is None
    with pytest.raises(Refusal):
        scenes_link.opened({"scene": "<script>"}, "en")


# --- where objects stand -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("name", description.ARRANGEMENTS)
def test_an_arrangement_is_recognised(name: str, count: int) -> None:
    made = description.objects_of(["dog", "cat", "car", "tree"][:count], name)
    found = description.arranged(made)
    assert found is not None and description.stand(count, found) == description.stand(count, name)
    moved = (*made[:-1], description.objects_of([{"concept": "dog", "x": 0.77}], "left")[0])
    assert description.arranged(moved) is None


def test_one_more_object_stands_away_from_the_others() -> None:
    placed: list[Any] = []
    for _ in range(4):
        x, y, half, depth = description.spot(placed)
        assert all(abs(x - o.x) > 0.5 or abs(y - o.y) > 0.5 for o in placed)
        one = {"concept": "dog", "x": x, "y": y, "half": half, "depth": depth}
        placed += description.objects_of([one], "left")
    assert len({(o.x, o.y) for o in placed}) == 4


def test_the_controls_of_a_recorded_scene_are_those_of_its_text() -> None:
    for row in handlers.examples().values():
        scene = description.parse(row["scene"])
        shown = handlers.controls(
            scene, range(len(scene.objects)), description.arranged(scene.objects) or "free"
        )
        assert handlers.recorded_controls(row["truth"]) == shown


@pytest.mark.parametrize(("value", "number"), [("7", 7), (7.0, 7), (None, 0)])
def test_a_seed_is_a_whole_number(value: Any, number: int) -> None:
    assert handlers.whole(value) == number


@pytest.mark.parametrize("value", ["", "x", float("nan"), float("inf"), []], ids=str)
def test_what_is_no_number_is_no_seed(value: Any) -> None:
    with pytest.raises(Refusal):
        handlers.whole(value)


# --- the report card -----------------------------------------------------------------------------------------


def row(measure: str, split: str, value: float, **fields: Any) -> dict[str, Any]:
    return {
        "paper": "clip", "measure": measure, "split": split, "language": "en", "value": value, "unit": "share",
        "checkpoint": "mini", "published": None, "command": "python -m core.classroom evaluate clip", "seed": 0,
        "commit": "abc1234", "minutes": 12.5, "hardware": "2 <cores>", **fields,
    }  # fmt: skip


ROWS = [
    row("zero-shot top-1", "colour", 0.95),
    row("zero-shot top-1", "grey", 0.5),
    row("zero-shot top-1", "line", 0.61, language="zh"),
    row("zero-shot top-1", "line", 0.59),
    row("count 2, 3 or 4", "flocks", 0.8),
    row("speed", "all", 1234.5678, unit="scenes/s", paper="other-paper", hardware=None, minutes=None),
    row("confusion", "cat > dog", 3.0, unit="times"),
    row("count 2, 3 or 4", "flocks", 0.85, checkpoint="second", commit="fff0000"),
]


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.744, "share", "74.4%"),
        (5e-5, "share", "0.005%"),
        (0.0, "share", "0.0%"),
        (12.3456, "scenes/s", "12.35 scenes/s"),
        ("<b>", "share", "&lt;b&gt;"),
    ],
)
def test_values_are_shown_with_their_unit(value: Any, unit: str, shown: str) -> None:
    assert card_page.number(value, unit) == shown
    assert "是" in card_page.number(1.0, "yes/no") and "否" in card_page.number(0.0, "yes/no")


def test_goals_count_where_every_column_reaches_them() -> None:
    clip, other = report.cards(ROWS)
    reached = {(line.measure, *line.splits.values()): line.reached for line in clip.lines}
    assert reached["zero-shot top-1", "colour"] and not reached["zero-shot top-1", "grey"]
    assert not reached["zero-shot top-1", "line", "line"]  # 0.61 of 0.60 in Chinese, 0.59 in English
    assert clip.marked == (1, 3) and other.marked == (0, 0)
    assert [(r["checkpoint"], r["commit"]) for r in clip.training] == [
        ("mini", "abc1234"),
        ("second", "fff0000"),
    ]


def test_a_card_shows_its_rows_and_nothing_typed_is_html() -> None:
    page = card_page.whole(report.cards(ROWS), ROWS)
    tags, words = Tags(page), " ".join(Tags(page).words)
    assert "cores" not in tags.names and "2 <cores>" in words
    assert tags.names.count("section") == 2 and tags.names.count("figure") == 2
    assert all(
        text in words for text in ("1 of 3 goals", "1235 scenes/s", "cat → dog ×3", "12.5 minutes", "fff0000")
    )
    assert "as recorded (7)" in words and "as recorded (1)" in words
    # One measure with three splits stands under its name; the others share a line with theirs.
    assert page.count('<tr class="measure">') == 1


def test_the_chart_has_a_bar_a_value_and_a_tick_a_goal() -> None:
    clip, other = report.cards(ROWS)
    chart = card_page.chart(clip)
    assert re.findall(r"<b>(\d+%)</b>", chart) == ["95%", "50%", "59%", "61%"]
    assert re.findall(r'<u style="--at:([\d.]+)">', chart) == ["0.92", "0.7", "0.6"]
    assert card_page.chart(other) == ""


def test_cells_that_a_spreadsheet_would_run_are_disarmed() -> None:
    text = card_page.to_csv([row("=1+1", "@x", 0.5), row("a", "b", -0.5)])
    lines = [*csv.DictReader(io.StringIO(text))]
    assert lines[0]["measure"] == "'=1+1" and lines[0]["split"] == "'@x" and lines[1]["value"] == "-0.5"
    assert draw.to_json(ROWS)
