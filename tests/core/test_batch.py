"""A verb over many files: rows, refusals, stopping, and the files that others read."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO

from core import batch, inputs
from core.batch import Outcome
from core.errors import Refusal
from core.runtime import Cancel

RED, GREEN = (255, 0, 0), (0, 255, 0)


def image(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (40, 30)) -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


def verb(given: Any) -> Outcome:
    """Says the colour of the middle, a box of the left half and a mask of the upper half."""
    pixels = np.asarray(given)
    high, wide = pixels.shape[:2]
    if pixels[high // 2, wide // 2].tolist() == [0, 0, 255]:
        raise Refusal("no_image")
    name = "red" if pixels[high // 2, wide // 2, 0] > 128 else "green"
    mask = np.full((high, wide), -1)
    mask[: high // 2] = 0
    return Outcome(
        {"label": name, "probability": 0.5}, {"results": [name]}, (wide, high),
        [(name, 0.75, (0, 0, wide / 2, high))], [name], mask,
    )  # fmt: skip


@pytest.fixture
def rows(tmp_path: Path) -> list[batch.Row]:
    paths = [image(tmp_path / "a.png", RED), image(tmp_path / "b.png", GREEN, (10, 20))]
    (tmp_path / "c.png").write_bytes(b"no image")
    paths += [tmp_path / "c.png", image(tmp_path / "d.png", (0, 0, 255))]
    return [step.row for step in batch.run(inputs.files_of(paths), verb)]


def test_each_file_is_a_row_and_a_broken_one_says_why(rows: list[batch.Row]) -> None:
    assert [row.file for row in rows] == ["a.png", "b.png", "c.png", "d.png"]
    assert [row.refusal is None for row in rows] == [True, True, False, False]
    assert [row.outcome.cells["label"] for row in rows if row.outcome] == ["red", "green"]


def test_steps_count_and_stop(tmp_path: Path) -> None:
    paths = [image(tmp_path / f"{i}.png", RED) for i in range(4)]
    cancel, steps = Cancel(), []
    for step in batch.run(inputs.files_of(paths), verb, cancel):
        steps.append(step)
        if step.done == 2:
            cancel.set()
    assert [(step.done, step.total) for step in steps] == [(1, 4), (2, 4)]
    assert all(step.seconds_left >= 0 for step in steps)


def test_the_table_is_read_by_a_spreadsheet(rows: list[batch.Row]) -> None:
    read = list(csv.DictReader(io.StringIO(batch.table(rows))))
    assert [row["label"] for row in read] == ["red", "green", "", ""]
    assert read[0]["refused"] == "" and read[2]["refused"] and read[0]["file"] == "a.png"


def test_a_name_that_is_a_formula_is_text_in_the_table() -> None:
    row = batch.Row("=cmd|' /C calc'!A0", 0.1, Outcome({"label": "-1+1", "probability": 0.5}, {}, (1, 1)))
    read = next(csv.DictReader(io.StringIO(batch.table([row]))))
    assert read["file"].startswith("'=") and read["label"] == "'-1+1" and float(read["probability"]) == 0.5


def test_json_lines_hold_the_whole_answers(rows: list[batch.Row]) -> None:
    read = [json.loads(line) for line in batch.json_lines(rows, "zh").splitlines()]
    assert read[0]["results"] == ["red"] and read[0]["file"] == "a.png"
    assert any("\u4e00" <= sign <= "\u9fff" for sign in read[2]["refused"])
    assert batch.json_lines([]) == ""


def test_the_coco_file_is_read_by_pycocotools(rows: list[batch.Row], tmp_path: Path) -> None:
    data = batch.coco(rows)
    (tmp_path / "coco.json").write_text(json.dumps(data))
    read = COCO(str(tmp_path / "coco.json"))
    assert sorted(read.getImgIds()) == [1, 2] and sorted(read.getCatIds()) == [1, 2]
    boxes = read.loadAnns(read.getAnnIds(imgIds=[2]))
    assert boxes[0]["bbox"] == [0, 0, 5, 20] and boxes[0]["area"] == 100 and boxes[0]["score"] == 0.75
    assert read.annToMask(boxes[0]).shape == (20, 10)
    mask = coco_masks.decode(
        {**boxes[1]["segmentation"], "counts": boxes[1]["segmentation"]["counts"].encode()}
    )
    assert mask[:10].all() and not mask[10:].any() and boxes[1]["area"] == mask.sum()


def test_a_verb_without_boxes_and_masks_has_no_coco_file() -> None:
    row = batch.Row("a", 0.1, Outcome({"label": "x"}, {}, (1, 1)))
    assert batch.coco([row]) is None
    assert "coco.json" not in zipfile.ZipFile(io.BytesIO(batch.archive([row]))).namelist()


def test_the_archive_holds_table_lines_and_masks(rows: list[batch.Row]) -> None:
    read = zipfile.ZipFile(io.BytesIO(batch.archive(rows)))
    assert {"table.csv", "rows.jsonl", "coco.json", "labels.json"} <= set(read.namelist())
    names = json.loads(read.read("labels.json"))
    assert names == {"masks/001_a.png": ["red"], "masks/002_b.png": ["green"]}
    mask = np.asarray(Image.open(io.BytesIO(read.read("masks/001_a.png"))))
    assert mask.shape == (30, 40) and mask[0, 0] == 1 and mask[-1, 0] == 0
