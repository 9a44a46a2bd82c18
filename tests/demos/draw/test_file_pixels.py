"""What is drawn of a large file and exported from it is in pixels of that file."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile

import numpy as np
import pytest
from PIL import Image

from core import inputs
from demos.draw import base, box_files, boxes, masks

SIZE = (3000, 1200)
BOX = (1500.0, 300.0, 2700.0, 900.0)


@pytest.fixture(scope="module")
def image() -> inputs.FileImage:
    """A file larger than what is computed on: red in the box, white around it."""
    pixels = Image.new("RGB", SIZE, "white")
    pixels.paste("red", tuple(map(int, BOX)))
    file = io.BytesIO()
    pixels.save(file, "PNG")
    made = inputs.image(file.getvalue())
    assert max(made.size) <= 2048
    return made


@pytest.fixture(scope="module")
def marks() -> list[boxes.Mark]:
    return [boxes.Mark(BOX, "", None, "#0000ff")]


def test_the_overlay_of_a_page(image: inputs.FileImage, marks: list[boxes.Mark]) -> None:
    assert "left:50.00%;top:25.00%;width:40.00%;height:50.00%" in boxes.overlay(image, marks, "en")


def test_the_crop_of_a_box(image: inputs.FileImage) -> None:
    crop = inputs.crop(image, BOX)
    assert crop.getpixel((5, 5)) == crop.getpixel((crop.width - 5, crop.height - 5)) == (255, 0, 0)
    assert abs(crop.width - 1200 * image.width / 3000) <= 1


def test_the_svg_is_as_large_as_the_file(image: inputs.FileImage, marks: list[boxes.Mark]) -> None:
    text = box_files.svg(image, marks)
    assert 'viewBox="0 0 3000 1200"' in text and 'width="3000" height="1200"' in text
    assert 'x="1500.0" y="300.0" width="1200.0" height="600.0"' in text


def test_downloads_of_boxes(image: inputs.FileImage, marks: list[boxes.Mark]) -> None:
    html = box_files.exports(image, marks, [""], "x", "en")
    files = dict(re.findall(r'download="x-([^"]+)" href="data:[^,]+,([^"]+)"', html))
    read = {name: base64.b64decode(data) for name, data in files.items()}
    assert Image.open(io.BytesIO(read["boxes.png"])).size == SIZE
    coco = json.loads(read["coco.json"])
    assert (coco["images"][0]["width"], coco["images"][0]["height"]) == SIZE
    assert coco["annotations"][0]["bbox"] == [1500, 300, 1200, 600]
    with zipfile.ZipFile(io.BytesIO(read["crops.zip"])) as archive:
        crop = Image.open(io.BytesIO(archive.read(archive.namelist()[0])))
    assert crop.size == (1200, 600) and crop.getextrema() == ((255, 255), (0, 0), (0, 0))
    assert b"1500.00,300.00,2700.00,900.00" in read["boxes.csv"]


def test_downloads_of_masks(image: inputs.FileImage) -> None:
    mask = np.zeros(SIZE[::-1], np.uint16)
    mask[300:900, 1500:2700] = 1
    cut = Image.open(io.BytesIO(masks.cutout_png(image, mask, 1)))
    assert cut.size == (1200, 600) and cut.getpixel((0, 0)) == (255, 0, 0, 255)
    assert (
        Image.open(io.BytesIO(masks.overlay_png(image, mask, ["a", "b"], ["", "#00ff00"], 0.5))).width == 3000
    )
    assert Image.open(io.BytesIO(masks.mask_png(mask, ["a", "b"]))).size == SIZE


def test_what_the_tower_saw_is_painted_where_it_was(image: inputs.FileImage) -> None:
    painted = np.asarray(base.heat_overlay(image, np.ones((2, 2)), (900, 0, 2100, 1200)))
    scale = image.width / SIZE[0]
    edges = np.flatnonzero(np.ptp(painted.astype(int)[5], axis=1) > 20)  # pale grey outside, coloured inside
    assert abs(edges[0] - 900 * scale) <= 1 and abs(edges[-1] + 1 - 2100 * scale) <= 1


def test_a_file_that_is_gone_is_enlarged(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("upload") / "a.png"
    Image.new("RGB", SIZE, "red").save(path)
    image = inputs.image(path)
    path.unlink()
    full = inputs.full_size(image)
    assert full.size == inputs.size_of(full) == SIZE and full.getpixel((0, 0)) == (255, 0, 0)
