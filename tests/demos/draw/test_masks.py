"""Masks as overlays, label maps, cut-outs and run lengths."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from core import masks as rle
from demos.draw import masks as draw
from demos.kit.files import downloads

NAMES = ["dog", "<b>tree</b>", "车 & co"]
HEIGHT, WIDTH = 60, 90


@pytest.fixture
def mask() -> np.ndarray:
    """A dog on the left third, a tree on the rest, no car."""
    found = np.ones((HEIGHT, WIDTH), np.uint16)
    found[:, :30] = 0
    return found


@pytest.fixture
def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))


def embedded(page: str, kind: str) -> np.ndarray:
    """The pixels of one of the overlay's embedded images."""
    found = re.search(rf'class="atlas-seg-{kind}"[^>]*src="data:image/\w+;base64,([^"]+)"', page)
    assert found
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1]))))


def test_an_overlay_carries_the_map_that_its_pointer_reads(image: Image.Image, mask: np.ndarray) -> None:
    sure = np.full((6, 9), 0.5)
    page = draw.overlay(image, mask, NAMES, draw.palette(3), 0.6, "en", sure)
    pointed = embedded(page, "map").astype(int)
    np.testing.assert_array_equal(pointed[..., 0] + 256 * pointed[..., 1], mask)
    np.testing.assert_allclose(pointed[..., 2] / 255, 0.5, atol=0.01)
    coloured = embedded(page, "mask")
    assert tuple(coloured[0, 0]) == (0, 0x72, 0xB2, 255) and coloured.shape == (HEIGHT, WIDTH, 4)
    assert embedded(draw.overlay(image, mask, NAMES, draw.palette(3), 0.6, "en"), "map")[..., 2].max() == 0


def test_a_thousand_labels_are_still_told_apart_by_the_pointer(image: Image.Image) -> None:
    mask = (np.arange(HEIGHT * WIDTH) % 1000).reshape(HEIGHT, WIDTH).astype(np.uint16)
    names = [f"thing {i}" for i in range(1000)]
    pointed = embedded(draw.overlay(image, mask, names, draw.palette(1000), 0.6, "en"), "map").astype(int)
    np.testing.assert_array_equal(pointed[..., 0] + 256 * pointed[..., 1], mask)
    stored = Image.open(io.BytesIO(draw.mask_png(mask, names)))
    np.testing.assert_array_equal(np.asarray(stored), mask)


def test_the_legend_lists_shares_and_says_what_is_nowhere(image: Image.Image, mask: np.ndarray) -> None:
    page = draw.overlay(image, mask, NAMES, draw.palette(3), 0.6, "en")
    assert "<b>tree" not in page and "&lt;b&gt;tree&lt;/b&gt;" in page and "车 &amp; co" in page
    legend = page[page.index("<ul") :]
    assert legend.index("66.7%") < legend.index("33.3%") < legend.index("none")
    assert legend.count('class="absent"') == 1
    assert "未出现" in draw.overlay(image, mask, NAMES, draw.palette(3), 0.6, "zh")


def test_a_background_without_colour_paints_nothing(image: Image.Image, mask: np.ndarray) -> None:
    page = draw.overlay(image, mask, NAMES, ["", "#ff0000", "#00ff00"], 0.6, "en")
    coloured = embedded(page, "mask")
    assert coloured[0, 0, 3] == 0 and tuple(coloured[0, -1]) == (255, 0, 0, 255)
    assert 'atlas-seg-name" data-label="0"' not in page and 'atlas-seg-name" data-label="1"' in page


def test_names_stand_where_a_region_is_widest() -> None:
    mask = np.zeros((100, 100), int)
    mask[20:60, 70:95] = 1
    mask[50:55, 10:95] = 1  # a thin tail
    (x, y), (x0, _) = draw.widest(mask, [1, 0])
    assert 0.75 <= x <= 0.9 and 0.3 <= y <= 0.5
    assert x0 < 0.5
    ring = np.ones((90, 90), int)
    ring[20:70, 20:70] = 0
    x, y = draw.widest(ring, [1])[0]
    assert ring[int(90 * y), int(90 * x)] == 1  # the middle of a ring is not on it


def test_colours_differ_and_the_first_eight_are_okabe_and_itos() -> None:
    for count in (1, 8, 9, 40, 100):
        found = draw.palette(count)
        assert len(set(found)) == count
        assert all(re.fullmatch(r"#[0-9A-Fa-f]{6}", colour) for colour in found)
    assert draw.palette(0) == []


def test_a_label_map_holds_indices_and_names(mask: np.ndarray) -> None:
    stored = Image.open(io.BytesIO(draw.mask_png(mask, NAMES)))
    assert stored.mode == "P"
    np.testing.assert_array_equal(np.asarray(stored), mask)
    assert json.loads(stored.info["labels"]) == NAMES


def test_a_cutout_is_the_label_alone(image: Image.Image, mask: np.ndarray) -> None:
    mask[10:, :30] = 1
    cut = Image.open(io.BytesIO(draw.cutout_png(image, mask, 0)))
    assert cut.mode == "RGBA" and cut.size == (30, 10)
    np.testing.assert_array_equal(np.asarray(cut)[..., :3], np.asarray(image)[:10, :30])
    rest = np.asarray(Image.open(io.BytesIO(draw.cutout_png(image, mask, 1))))
    assert rest.shape == (HEIGHT, WIDTH, 4) and rest[0, 0, 3] == 0 and rest[20, 0, 3] == 255
    assert np.asarray(Image.open(io.BytesIO(draw.cutout_png(image, mask, 2)))).max() == 0


def test_run_lengths_give_the_mask_back_at_the_pictures_size(mask: np.ndarray) -> None:
    told = json.loads(draw.coco_rle(mask, NAMES, (2 * WIDTH, 2 * HEIGHT)))
    assert [row["label"] for row in told["annotations"]] == NAMES[:2]
    assert [row["name"] for row in told["categories"]] == NAMES
    for row in told["annotations"]:
        assert row["segmentation"]["size"] == [2 * HEIGHT, 2 * WIDTH]
        back = rle.decode(row["segmentation"]["counts"], 2 * HEIGHT, 2 * WIDTH)
        np.testing.assert_array_equal(back, np.kron(mask == row["category_id"] - 1, np.ones((2, 2))) > 0)
        assert row["area"] == back.sum()
    assert told["annotations"][0]["bbox"] == [0, 0, 60, 2 * HEIGHT]


def test_a_written_overlay_names_what_it_shows(image: Image.Image, mask: np.ndarray) -> None:
    plain = Image.open(io.BytesIO(draw.overlay_png(image, mask, NAMES, draw.palette(3), 0)))
    np.testing.assert_array_equal(np.asarray(plain)[:HEIGHT], np.asarray(image))
    assert plain.height > HEIGHT + 2 * 15
    full = np.asarray(Image.open(io.BytesIO(draw.overlay_png(image, mask, NAMES, draw.palette(3), 1))))
    assert (full[:HEIGHT, :30] == (0, 0x72, 0xB2)).all()


def test_heat_maps_share_one_scale(image: Image.Image) -> None:
    scores = np.stack([np.full((4, 6), 0.9), np.full((4, 6), 0.1)])
    page = draw.heat_maps(image, scores, NAMES[:2], "en")
    assert page.count("<figure>") == 2 and "highest 90.0%" in page and "highest 10.0%" in page
    assert "&lt;b&gt;tree" in page and "sum to 1" in page
    assert "do not sum" in draw.heat_maps(image, scores, NAMES[:2], "en", sums=False)


def test_links_carry_their_data() -> None:
    page = downloads([("dog.png", "image/png", b"abc", "Cut-out of <dog>")])
    assert (
        "&lt;dog&gt;" in page and base64.b64encode(b"abc").decode() in page and 'download="dog.png"' in page
    )
