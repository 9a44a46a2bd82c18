"""Files that cameras turned, and files in every form: answers are in pixels of the image as people see it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_masks

from core import inputs
from demos.clip.crops import clip_crops
from demos.clip.inside import clip_attention, clip_inside
from demos.clip.whatif import clip_counterfactual
from demos.glip.answer import glip_ground
from demos.groupvit.answer import groupvit_segment
from demos.lseg.answer import lseg_segment
from demos.vild.answer import vild_detect

SCENE = Path(__file__).resolve().parents[2] / "assets" / "examples" / "glip" / "dog_and_car.webp"
LABELS = ["a dog", "a car"]
SIZE = WIDTH, HEIGHT = 2700, 1800  # larger than what is computed on
LEVELS, PLACE, SHARE = 3, 5, 0.02  # by which two answers may differ: of brightness, pixels, probabilities
# EXIF orientation -> what a camera did to the pixels.
TURNS: dict[int, Image.Transpose | None] = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@cache
def upright() -> Image.Image:
    """The scene at the right of a white image."""
    image = Image.new("RGB", SIZE, "white")
    image.paste(Image.open(SCENE).convert("RGB").resize((HEIGHT, HEIGHT)), (WIDTH - HEIGHT, 0))
    return image


@cache
def turned(orientation: int, kind: str = "PNG") -> bytes:
    """The image as a camera stores it, with its orientation beside the pixels."""
    how = TURNS[orientation]
    image = upright() if how is None else upright().transpose(how)
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    lossless: dict[str, Any] = {"PNG": {"compress_level": 1}, "WEBP": {"lossless": True, "quality": 0}}
    image.save(file, kind, exif=exif, **lossless.get(kind, {"quality": 95}))
    return file.getvalue()


@cache
def plain_image() -> inputs.FileImage:
    """The image of a file that is upright already."""
    return inputs.image(turned(1))


def near(one: Any, other: Any, most: float) -> bool:
    """Whether two images or lists of numbers differ by less."""
    return bool(np.abs(np.asarray(one, float) - np.asarray(other, float)).max() < most)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", TURNS)
def test_every_orientation_is_the_same_image(orientation: int, kind: str) -> None:
    image, plain = inputs.image(turned(orientation, kind)), plain_image()
    assert image.file_size == SIZE and image.size == plain.size and max(image.size) <= inputs.images.MAX_SIDE
    # It is made smaller before it is turned, and rounded all the same as what is upright in the file.
    assert np.array_equal(np.asarray(image), np.asarray(plain))
    # What is read again from the file for crops and overlays is upright too.
    assert np.array_equal(np.asarray(inputs.full_size(image)), np.asarray(upright()))
    box = (WIDTH - HEIGHT, 0, WIDTH - HEIGHT / 2, HEIGHT / 2)
    assert near(inputs.crop(image, box), inputs.crop(plain, box), LEVELS)


@pytest.mark.parametrize("orientation", [3, 6, 7])
def test_a_camera_jpeg_is_upright(orientation: int) -> None:
    image = inputs.image(turned(orientation, "JPEG"))
    assert image.file_size == SIZE
    assert near(inputs.full_size(image).resize((27, 18)), upright().resize((27, 18)), 8)


# --- endpoints -----------------------------------------------------------------------------------------------


def sent(orientation: int) -> dict[str, str]:
    """The file as an endpoint's caller sends it."""
    data = base64.b64encode(turned(orientation)).decode()
    return {"path": f"data:image/png;base64,{data}"}


def boxes(answer: dict[str, Any]) -> list[list[float]]:
    """The boxes of an answer, in its order, each inside the image."""
    found = [row["box"] for row in answer["results"]]
    assert found and answer["size"] == list(SIZE)
    assert all(0 <= x0 < x1 <= WIDTH and 0 <= y0 < y1 <= HEIGHT for x0, y0, x1, y1 in found)
    # Nothing is on the white side.
    assert found[0][0] > WIDTH - HEIGHT - 90
    return found


def vild(image: Any) -> Any:
    return boxes(vild_detect(image, LABELS, proposals=20))


def vild_coco(image: Any) -> Any:
    answer = vild_detect(image, LABELS, proposals=20, coco=True)
    (entry,) = answer["images"]
    assert (entry["width"], entry["height"]) == SIZE
    return [row["bbox"] for row in answer["annotations"]]


def glip(image: Any) -> Any:
    return boxes(glip_ground(image, labels=["a dog"]))


def lseg(image: Any) -> Any:
    answer = lseg_segment(image, LABELS, masks=True)
    assert (answer["images"][0]["width"], answer["images"][0]["height"]) == SIZE
    masks = [coco_masks.decode(as_bytes(row["segmentation"])) for row in answer["annotations"]]
    assert masks and all(mask.shape == (HEIGHT, WIDTH) for mask in masks)
    assert sum(int(mask.sum()) for mask in masks) == WIDTH * HEIGHT
    return [coco_masks.toBbox(as_bytes(row["segmentation"])).tolist() for row in answer["annotations"]]


def as_bytes(segmentation: dict[str, Any]) -> dict[str, Any]:
    """Run lengths as pycocotools takes them."""
    if isinstance(segmentation["counts"], list):
        height, width = segmentation["size"]
        return coco_masks.frPyObjects(segmentation, height, width)
    return {**segmentation, "counts": segmentation["counts"].encode()}


def groupvit(image: Any) -> Any:
    answer = groupvit_segment(image, LABELS)
    return [row["share"] for row in answer["results"]]


def crops(image: Any) -> Any:
    answer = clip_crops(image, LABELS, boxes=[[WIDTH - HEIGHT, 0, WIDTH, HEIGHT], [0, 0, 800, 1800]])
    return [[result["probability"] for result in part["results"]] for part in answer["crops"]]


def counterfactual(image: Any) -> Any:
    answer = clip_counterfactual(image, LABELS, boxes=[[WIDTH - HEIGHT, 900, 1800, 1800]])
    return sorted(row["probability"] for row in answer["second"]["results"])


def attention(image: Any) -> Any:
    return clip_attention(image)["crop"]


def inside(image: Any) -> Any:
    return clip_inside(image, LABELS)["crop"]


ASKS: dict[str, Callable[[Any], Any]] = {
    one.__name__: one
    for one in (vild, vild_coco, glip, lseg, groupvit, crops, counterfactual, attention, inside)
}
plain_answer = cache(lambda name: ASKS[name](sent(1)))


@pytest.mark.parametrize("orientation", [3, 5, 6, 8])
@pytest.mark.parametrize("name", ASKS)
def test_an_endpoint_answers_in_pixels_of_the_upright_file(name: str, orientation: int) -> None:
    plain = np.asarray(plain_answer(name))
    assert near(ASKS[name](sent(orientation)), plain, PLACE if plain.max() > 1 else SHARE)


@pytest.mark.parametrize("endpoint", [clip_crops, clip_counterfactual], ids=["crops", "counterfactual"])
def test_a_box_outside_the_upright_file_is_refused(endpoint: Callable[..., Any]) -> None:
    """Inside the stored pixels of a file that lies on its side, but not inside the image."""
    with pytest.raises(Exception, match=r"2700|1800|box"):
        endpoint(sent(6), LABELS, boxes=[[100, 1900, 1700, 2600]])
