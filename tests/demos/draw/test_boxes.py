"""Boxes as overlays, annotated images, SVG, COCO JSON, CSV and crops."""

from __future__ import annotations

import io
import json
import re
import zipfile
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from demos.draw import box_files
from demos.draw import boxes as draw
from demos.kit import components
from demos.kit.html import Markup

NAMES = ["dog", "<b>tree</b>", "车 & co"]
COLOURS = ["#0072b2", "#d55e00", "#009e73"]
BOXES = np.array([[10, 20, 50, 60], [0, 0, 90, 60], [60.4, 5, 95, 30]], float)


@pytest.fixture
def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8))


@pytest.fixture
def marks() -> list[draw.Mark]:
    return draw.marks_of(BOXES, [0, 1, 2], NAMES, [0.91, 0.5, 0.123], COLOURS)


def test_an_overlay_has_a_button_for_each_box_the_largest_below(
    image: Image.Image, marks: list[draw.Mark]
) -> None:
    page = draw.overlay(
        image, marks, "en", picks="inspect", entries=[draw.Entry(NAMES[1], COLOURS[1], 1, "x<")]
    )
    assert re.findall(r'<button[^>]*data-pick="(\d)"', page) == [
        "1",
        "0",
        "2",
    ]  # by area, the whole image first
    assert 'data-picks="inspect"' in page and "dog 0.91" in page
    assert "<b>tree" not in page and "&lt;b&gt;tree&lt;/b&gt; 0.50" in page and "x&lt;" in page
    assert "left:11.11%;top:33.33%;width:44.44%;height:66.67%" in page
    assert "width:32.89%" in page  # what leaves the image is cut off at its edge
    chosen = draw.overlay(image, marks, "zh", picks="inspect", chosen=2)
    assert chosen.count('aria-pressed="true"') == 1 and "带方框" in chosen


def test_an_image_without_clicks_has_no_buttons(image: Image.Image, marks: list[draw.Mark]) -> None:
    page = draw.overlay(image, marks, "en", above=Markup('<p data-group="1">tree</p>'))
    assert "<button" not in page and 'role="img"' in page and page.count('data-group="1"') == 3
    assert "without a box" in draw.overlay(image, [], "en")


def test_chips_of_boxes_at_one_place_do_not_cover_each_other() -> None:
    same = draw.marks_of(np.array([[30, 30, 60, 60]] * 3, float), [0, 0, 0], NAMES, [0.9, 0.8, 0.7], COLOURS)
    assert len(set(draw.chip_places(same, (100, 100)))) == 3
    corner = draw.marks_of(np.array([[0, 0, 30, 30]], float), [0], NAMES, None, COLOURS)
    assert draw.chip_places(corner, (100, 100)) == ["inside"]
    right = draw.marks_of(np.array([[95, 50, 100, 60]], float), [0], NAMES, [0.5], COLOURS)
    assert draw.chip_places(right, (100, 100))[0].endswith("-end")


def test_the_downloads_hold_the_boxes(image: Image.Image, marks: list[draw.Mark]) -> None:
    stored = json.loads(box_files.coco_json(marks, NAMES, image.size, "a.png"))
    assert stored["annotations"][0]["bbox"] == [10, 20, 40, 40]
    assert [row["category_id"] for row in stored["annotations"]] == [1, 2, 3]
    assert stored["images"][0] == {"id": 1, "file_name": "a.png", "width": 90, "height": 60}
    rows = box_files.to_csv(
        [draw.Mark((1, 2, 3, 4), "=cmd", None, "#000000", kind="novel"), *marks]
    ).splitlines()
    assert rows[1] == "'=cmd,novel,,1.00,2.00,3.00,4.00" and rows[2].startswith("dog,,0.910000,10.00")
    archive = zipfile.ZipFile(io.BytesIO(box_files.crops_zip(image, marks)))
    assert archive.namelist() == ["01_dog.png", "02_b_tree_b.png", "03_车_co.png"]
    first = np.asarray(Image.open(io.BytesIO(archive.read("01_dog.png"))))
    np.testing.assert_array_equal(first, np.asarray(image)[20:60, 10:50])
    assert box_files.crops_zip(image, marks) == box_files.crops_zip(image, marks)


def test_overlaps_are_those_of_boxes() -> None:
    boxes = np.array([[0, 0, 2, 2], [4, 4, 4, 4]], float)
    others = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]], float)
    np.testing.assert_allclose(draw.overlaps(boxes, others), [[1.0, 1 / 3, 0.0], [0.0, 0.0, 0.0]])
    assert draw.overlaps(boxes[:0], others).shape == (0, 3)


def test_coco_tools_read_it(image: Image.Image, marks: list[draw.Mark]) -> None:
    coco = pytest.importorskip("pycocotools.coco").COCO()
    coco.dataset = json.loads(box_files.coco_json(marks, NAMES, image.size))
    coco.createIndex()
    assert len(coco.getAnnIds(catIds=[2])) == 1 and coco.loadCats([3])[0]["name"] == NAMES[2]


def test_drawn_images_show_their_boxes(marks: list[draw.Mark]) -> None:
    plain = Image.new("RGB", (90, 60), "black")
    drawn = np.asarray(Image.open(io.BytesIO(box_files.annotated_png(plain, marks))))
    assert drawn.shape == (60, 90, 3) and (drawn == [0x00, 0x72, 0xB2]).all(-1).any()
    root = ElementTree.fromstring(box_files.svg(plain, marks))
    words = [node.text for node in root.iter() if node.tag.endswith("text")]
    assert sorted(words, key=str) == sorted(map(draw.caption, marks))
    nothing = draw.Mark((0, 0, 0, 0), "", None, "#000000")  # neither size nor name
    assert box_files.annotated_png(plain, [nothing]) and "<text" not in box_files.svg(plain, [nothing])
    links = box_files.exports(plain, marks, NAMES, "vild", "zh")
    assert links.count('download="vild-') == 7
    assert "vild-yolo.zip" in links and "vild-voc.xml" in links


@pytest.mark.parametrize(("value", "found"), [("2 171", 2), ("3 171", None), ("", None), (None, None),
                                              ("-1 5", None), ("x", None), ("٣ 1", None), ("9" * 99, None)])  # fmt: skip
def test_a_pick_is_one_of_the_boxes(value: str | None, found: int | None) -> None:
    assert components.read_pick(value, 3) == found
