"""Every verb answers in pixels of the caller's file, whatever it computes on; long strips keep what towers need."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import inputs
from core.clip import ZeroShot, attention, crops, encoders, relevance
from core.detection import GLIP, ViLD
from core.segmentation import GroupViT
from core.segmentation.lseg import LSeg
from core.segmentation.maskclip import MaskCLIP

EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "examples"
SCENE = EXAMPLES / "glip" / "dog_and_car.webp"
LABELS = ["a dog", "a car"]
SIDE = 2560


@pytest.fixture(scope="module")
def images() -> tuple[inputs.FileImage, inputs.FileImage]:
    """A scene, and the same scene as a file of 2560 pixels, which is computed on at 2048."""
    small = inputs.image(SCENE)
    file = io.BytesIO()
    Image.open(SCENE).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(
        file, "JPEG", quality=95
    )
    large = inputs.image(file.getvalue())
    assert large.size == (2048, 2048) and large.file_size == (SIDE, SIDE)
    return small, large


def near(small: np.ndarray, large: np.ndarray, width: int) -> bool:
    """Whether boxes of both images are the same place, within 5 % of the side."""
    return bool(np.abs(np.asarray(small) * SIDE / width - np.asarray(large)).max() < 0.05 * SIDE)


def test_what_the_tower_saw(images: tuple[inputs.FileImage, inputs.FileImage]) -> None:
    model = ZeroShot.load("classroom-rn")
    small, large = images
    assert model.classify(large, LABELS).crop == (0, 0, SIDE, SIDE)
    assert attention.attend(model, large).crop == (0, 0, SIDE, SIDE)
    assert relevance.locate(model, large, LABELS).to_json()["crop"] == [0, 0, SIDE, SIDE]
    strip = inputs.image(Image.new("RGB", (6000, 1000)))
    assert model.encode(strip).crop == (2500, 0, 3500, 1000) and model.encode(strip).size == (6000, 1000)
    assert float(model.encode(small).image_features @ model.encode(large).image_features) > 0.99


@pytest.mark.parametrize("variant", ["ensemble", "crops"])
def test_boxes_of_vild(images: tuple[inputs.FileImage, inputs.FileImage], variant: str) -> None:
    model = ViLD.load("classroom-vild")
    answers = [model.detect(image, LABELS, variant, proposals=20) for image in images]
    assert answers[1].size == (SIDE, SIDE) and answers[1].to_json()["size"] == [SIDE, SIDE]
    for index in range(2):
        first, second = (answer.boxes[answer.label_indices == index][0] for answer in answers)
        assert near(first, second, images[0].width)
    assert answers[1].proposals.max() > 2048


def test_boxes_of_glip(images: tuple[inputs.FileImage, inputs.FileImage]) -> None:
    model = GLIP.load("classroom-glip")
    for first, second in (
        [model.detect(image, ["a dog"]) for image in images],
        [model.ground(image, "a dog beside a car") for image in images],
    ):
        assert second.size == (SIDE, SIDE) and near(first.boxes[0], second.boxes[0], images[0].width)


@pytest.mark.parametrize("name", ["lseg", "groupvit", "maskclip"])
def test_masks(images: tuple[inputs.FileImage, inputs.FileImage], name: str) -> None:
    kinds = {"lseg": (LSeg, "classroom-lseg"), "groupvit": (GroupViT, "classroom-groupvit")}
    kind, row = kinds.get(name, (MaskCLIP, "classroom-rn"))
    model = kind.load(row)
    small, large = (model.segment(image, LABELS) for image in images)
    assert large.mask.shape == (SIDE, SIDE) and large.size == (SIDE, SIDE)
    assert large.mask.dtype == small.mask.dtype and large.to_json()["size"] == [SIDE, SIDE]
    assert np.abs(np.array(small.shares) - np.array(large.shares)).max() < 0.06
    if name == "groupvit":
        assert large.groups.shape == (SIDE, SIDE) and model.encode(images[1]).group_map(0).shape == (
            SIDE,
            SIDE,
        )


def test_masks_of_a_strip_and_of_its_rotation() -> None:
    model = LSeg.load("classroom-lseg")
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.new("RGB", (6000, 600), "white").save(file, "JPEG", exif=exif)
    answer = model.segment(inputs.image(file.getvalue()), LABELS)
    assert answer.mask.shape == (6000, 600) and answer.size == (600, 6000)


def test_boxes_that_are_sent_in_are_pixels_of_the_file(
    images: tuple[inputs.FileImage, inputs.FileImage],
) -> None:
    model = ZeroShot.load("classroom-rn")
    quarters = [crops.grid(*inputs.size_of(image), 2, 2) for image in images]
    assert quarters[1].max() == SIDE
    sent = crops.check_boxes([[1280, 1280, 2560, 2560]], *inputs.size_of(images[1]))
    assert sent.tolist() == [[1280, 1280, 2560, 2560]]
    small, large = (
        crops.classify_crops(model, image, boxes, LABELS)
        for image, boxes in zip(images, quarters, strict=True)
    )
    lower_right = crops.classify_crops(model, images[1], sent, LABELS)
    np.testing.assert_allclose(lower_right.cosines[0], large.cosines[3], atol=1e-6)
    np.testing.assert_allclose(small.cosines, large.cosines, atol=0.05)
    assert large.to_json()["crops"][3]["box"] == [1280, 1280, 2560, 2560]


def test_crops_are_cut_from_the_file_itself() -> None:
    """A grain that the reduced copy blurs is seen in a crop."""
    grain = (np.indices((2304, 2304)).sum(0) % 2 * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grain).save(file, "PNG")
    image = inputs.image(file.getvalue())
    assert np.asarray(image).std() < 60
    assert np.asarray(inputs.full_size(image)).std() > 120
    model = ZeroShot.load("classroom-rn")
    crop = crops.encode_crops(model, image, np.array([[0, 0, 64, 64]]))[0]
    direct = model.encode(inputs.image(grain[:64, :64])).image_features
    assert float(crop @ direct) > 0.999


@pytest.mark.parametrize(
    ("ratio", "upright", "row"),
    [
        (2, False, "classroom-rn"),
        (2.01, True, "classroom-vit"),
        (3, True, "classroom-rn"),
        (4.7, False, "classroom-rn"),
        (7.3, True, "classroom-vit"),
        (11, True, "classroom-rn"),
        (29, False, "classroom-rn"),
        (60, True, "classroom-rn"),
        (60, False, "classroom-vit"),
    ],
)
def test_strips_are_seen_as_open_clip_sees_them(ratio: float, upright: bool, row: str) -> None:
    """The published transform on the whole file, without our reduction."""
    short = max(600, min(1500, int((8e6 / ratio) ** 0.5)))
    scene = Image.open(SCENE).convert("RGB").resize((short, short), Image.Resampling.BICUBIC)
    strip = Image.new("RGB", (round(ratio * short), short))
    for x in range(0, strip.width, short):
        strip.paste(scene if x // short % 2 else scene.transpose(Image.Transpose.ROTATE_90), (x, 0))
    strip = strip.transpose(Image.Transpose.ROTATE_90) if upright else strip
    model = ZeroShot.load(row)
    with model.use() as encoder:
        assert isinstance(encoder.preprocess, encoders.OpenClipPreprocess)
        direct = encoder.encode_image([strip])[0]
    ours = model.encode(inputs.image(strip)).image_features
    assert float(direct @ ours) > 0.99
