"""Boxes as YOLO and Pascal VOC files: what a reader finds there is what the COCO data set holds."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from core import coco


@pytest.fixture
def data() -> dict[str, Any]:
    made = coco.Coco(["dog", '红包 "a: b"'])
    made.image("days/a.jpg", (200, 100))
    made.box(1, (20, 10, 60, 50), 0.9)
    made.box(2, (0, 0, 200, 100))
    made.image("days/b.png", (10, 10))
    made.image("days/b.jpg", (10, 10))
    made.box(made.category("<&>\x01"), (1, 1, 3, 4))
    made.image("../../c.png", (5, 5))
    return made.data()


def test_yolo_has_a_line_for_each_box(data: dict[str, Any]) -> None:
    files = coco.yolo(data)
    assert sorted(files) == [
        "data.yaml", "labels/c.txt", "labels/days/a.txt", "labels/days/b.jpg.txt", "labels/days/b.png.txt",
    ]  # fmt: skip
    names = yaml.safe_load(files["data.yaml"])["names"]
    assert names == {at: category["name"] for at, category in enumerate(data["categories"])}
    first, second = files["labels/days/a.txt"].splitlines()
    number, *shares = first.split()
    middle_x, middle_y, wide, high = map(float, shares)
    assert names[int(number)] == "dog" and (middle_x * 200, middle_y * 100) == (40, 30)
    assert (wide * 200, high * 100) == pytest.approx((40, 40))
    assert second.split() == ["1", "0.500000", "0.500000", "1.000000", "1.000000"]
    assert files["labels/days/b.png.txt"] == files["labels/c.txt"] == ""


def test_voc_has_a_file_for_each_image(data: dict[str, Any]) -> None:
    files = coco.voc(data)
    assert sorted(files) == ["c.xml", "days/a.xml", "days/b.jpg.xml", "days/b.png.xml"]
    root = ElementTree.fromstring(files["days/a.xml"])
    assert root.findtext("filename") == "days/a.jpg"
    assert [root.findtext(f"size/{side}") for side in ("width", "height", "depth")] == ["200", "100", "3"]
    things = root.findall("object")
    assert [thing.findtext("name") for thing in things] == ["dog", '红包 "a: b"']
    corners = [things[0].findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
    assert corners == ["21", "11", "60", "50"]  # pixels are counted from 1, both ends included
    assert ElementTree.fromstring(files["days/b.jpg.xml"]).findtext("object/name") == "<&>"
    assert ElementTree.fromstring(files["c.xml"]).find("object") is None
