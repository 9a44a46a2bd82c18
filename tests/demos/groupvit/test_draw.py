"""What the GroupViT page draws: the chart and its line, the table, the row of images, true names; all pure."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from core.segmentation.groupvit import EncodedImage, Grouping
from core.segmentation.oracle import right_names
from demos.groupvit import draw as views

LABELS = ("dog", "<b>cat</b>")
SCORES = np.array([[0.7, 0.1], [0.05, 0.4], [0.2, 0.1]], np.float32)


def grouping(line: float = 0.5, asked: float = 0.5) -> Grouping:
    """Two groups that own half an image each, and one that owns nothing."""
    groups = np.repeat(np.array([[0, 0, 1, 1]], np.uint8), 4, axis=0)
    named = np.where(SCORES.max(1) < line, -1, SCORES.argmax(1)).astype(np.int16)
    stages = (np.zeros((5, 2, 2), np.float32), np.zeros((3, 2, 2), np.float32))
    return Grouping(
        "classroom-groupvit", LABELS, named[groups], groups, named, SCORES, SCORES - 0.5, np.zeros(2), stages, asked,
        line, np.zeros((2, 4)), (4, 4), "cpu", 0.1, {"encode_image": 1.0, "encode_text": 1.0, "segment": 1.0},
    )  # fmt: skip


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_chart_cuts_groups_at_the_line(lang: str) -> None:
    shown = views.chart(grouping(), lang)
    # Best first, only groups that own a pixel, the one under the line struck out.
    assert re.findall(r'width:([\d.]+)%"></span>', shown) == ["70.0", "40.0"]
    assert "--line:50.0%" in shown and shown.count('class="ground"') == 1
    assert "<s>&lt;b&gt;cat" in shown and "<b>cat" not in shown and "50.0%" in shown
    assert any("\u4e00" <= sign <= "\u9fff" for sign in shown) == (lang == "zh")


def test_the_chart_says_when_the_line_is_lower_than_asked() -> None:
    assert "No group reaches 0.95" in views.chart(grouping(line=0.7, asked=0.95), "en")
    assert "No group reaches" not in views.chart(grouping(), "en")
    assert "Nothing is background" in views.chart(grouping(line=0.0, asked=0.0), "en")


def test_the_table_is_the_scores() -> None:
    shown = views.group_table(grouping(), "en")
    cells = re.findall(r"<td[^>]*>(?:✓ )?([\d.]+)<small>([+-][\d.]+)</small>", shown)
    assert cells == [("0.700", "+0.200"), ("0.100", "-0.400"), ("0.050", "-0.450"), ("0.400", "-0.100")]
    assert shown.count('class="best"') == 2 and "<b>cat" not in shown
    rows = list(csv.DictReader(io.StringIO(views.table_csv(grouping()))))
    assert len(rows) == 6 and [row["named"] for row in rows] == ["1", "0", "0", "0", "0", "0"]
    assert [float(row["share"]) for row in rows[::2]] == [0.5, 0.5, 0]


def test_many_labels_are_cut_from_the_table_not_from_the_csv() -> None:
    labels = tuple(f"label {i}" for i in range(30))
    scores = np.random.default_rng(0).random((3, 30)).astype(np.float32)
    many = replace(
        grouping(), labels=labels, scores=scores, group_cosines=scores, group_labels=scores.argmax(1)
    )
    assert views.group_table(many, "en").count('scope="col"') == 1 + views.MAX_COLUMNS
    assert "6 more" in views.group_table(many, "en")
    assert len(views.table_csv(many).splitlines()) == 1 + 3 * 30


def test_downloads_hold_the_mask() -> None:
    image = Image.new("RGB", (4, 4), "white")
    links = re.findall(
        r'download="([^"]+)" href="data:[^;]+;base64,([^"]+)"', views.files(image, grouping(), "en")
    )
    found = {name: base64.b64decode(data) for name, data in links}
    assert set(found) == {
        "groupvit.png",
        "groupvit-labels.png",
        "groupvit-coco.json",
        "groupvit.json",
        "groupvit.csv",
    }
    mask = np.asarray(Image.open(io.BytesIO(found["groupvit-labels.png"])))
    np.testing.assert_array_equal(mask, np.repeat([[0, 0, 2, 2]], 4, axis=0))
    coco = json.loads(found["groupvit-coco.json"])
    assert {row["label"]: row["area"] for row in coco["annotations"]} == {"dog": 8, "background": 8}


def test_a_row_carries_both_maps_of_each_picture() -> None:
    first = np.zeros((64, 2, 2), np.float32)
    for place, group in enumerate((3, 3, 40, 63)):
        first[group, place // 2, place % 2] = 1
    last = np.stack([first[:10].sum(0), first[10:].sum(0)])
    encoded = EncodedImage("row", "digest", (8, 8), (first, last), np.zeros((2, 4)), np.zeros(4), 1.0)
    made = views.row_image(Image.new("RGB", (8, 8)), encoded, "a <i>picture</i>")
    assert made.groups == ((3, 40, 63), (0, 1))
    maps = np.asarray(Image.open(io.BytesIO(base64.b64decode(made.maps.partition(",")[2]))))
    assert {*maps[..., 0].ravel().tolist()} == {3, 40, 63} and maps[0, 0].tolist() == [3, 0, 0]
    shown = views.group_row([made, made], (64, 2), "en")
    assert shown.count('class="gv-picture"') == 2 and "<i>picture" not in shown
    assert re.findall(r'data-group="(\d+)"', shown) == ["3", "40", "63", "0", "1"]
    assert "group 40, in 2 images" in shown and "64 groups" in shown
    assert len(json.loads(re.search(r'data-colours="([^"]+)"', shown)[1].replace("&#34;", '"'))) == 64  # type: ignore[index]


def test_right_names_stand_beside_the_models_own() -> None:
    found = grouping(0.0, 0.0)
    truth = np.repeat(np.array([[1, 1, -1, -1]], np.int16), 4, axis=0)
    row = views.Renamed(np.zeros((4, 4, 3), np.uint8), truth, found, right_names(found, truth))
    assert (row.right.own, row.right.right) == (0.0, 1.0)
    table, score = views.renamed_table([row], "en"), views.before_after([row], "en")
    assert (
        "mIoU 0.00" in table and "mIoU 1.00" in table and table.count("<img") == 4 and "<b>cat" not in table
    )
    assert "<b>0.00</b>" in score and "<b>1.00</b>" in score and "+1.00" in score
    # Groups that follow no outline are mostly background, and truly named so.
    nothing = np.where(np.arange(16).reshape(4, 4) % 5 == 0, truth * 0, -1)
    worse = views.Renamed(row.image, nothing, found, right_names(found, nothing))
    assert worse.right.right == 0 < worse.right.own
    assert "do not help" in views.before_after([worse], "en")


def test_a_crowd_says_who_shares() -> None:
    text = views.crowd(grouping(), {"dog": 0, "<cat>": 1, "car": 0}, "en")
    assert "3 groups at most" in text
    assert "3 things are in 2 groups. Things with a group of their own: <strong>1</strong>." in text
    assert "dog, car" in text and "&lt;cat&gt;" in text
    assert "of their own" not in views.crowd(grouping(), {}, "en")
