"""Every download is opened by a reader that others wrote: pycocotools, svgpathtools, svgelements, picosvg, cairosvg; and the
PNG and the SVG of one answer look alike."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cairosvg
import numpy as np
import pytest
import svgelements
import svgpathtools
from picosvg.svg import SVG
from PIL import Image
from pycocotools.coco import COCO

from core import batch
from core import masks as rle
from core.coco import Coco
from core.drawing import film
from core.drawing.strokes import Strokes
from demos.draw import base, box_files, boxes, masks

NAMES = ["sky", "dog", "a <b> & “c”", "红包"]
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"]


# --- COCO ------------------------------------------------------------------------------------------------------


def opened(text: str, folder: Path) -> COCO:
    """A COCO file as pycocotools opens it."""
    path = folder / "coco.json"
    path.write_text(text, encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def is_whole(coco: COCO) -> None:
    """What COCO's own files keep: numbers from 1, known images and categories, sizes, areas and shapes that agree."""
    assert coco.getImgIds() == list(range(1, len(coco.imgs) + 1))
    assert coco.getCatIds() == list(range(1, len(coco.cats) + 1))
    assert coco.getAnnIds() == list(range(1, len(coco.anns) + 1))
    for row in coco.loadAnns(coco.getAnnIds()):
        image = coco.imgs[row["image_id"]]
        assert row["category_id"] in coco.cats and row["iscrowd"] == 0 and image["file_name"]
        left, top, wide, high = row["bbox"]
        assert 0 <= left <= left + wide <= image["width"] and 0 <= top <= top + high <= image["height"]
        mask = coco.annToMask(row)
        assert mask.shape == (image["height"], image["width"])
        # A polygon's edge may take or leave the pixels that it runs through.
        assert abs(int(mask.sum()) - row["area"]) <= 2 * (wide + high) + 2
        assert row["area"] >= 0


MASKS: dict[str, Callable[[], np.ndarray]] = {
    "one rectangle": lambda: np.pad(np.ones((2, 3), int), ((1, 1), (2, 1))),
    "everything": lambda: np.full((5, 7), 3),
    "nothing but the first": lambda: np.zeros((4, 6), int),
    "single pixels": lambda: np.eye(9, dtype=int) * 2,
    "the last pixel": lambda: np.pad(np.full((1, 1), 1), ((11, 0), (7, 0))),
    "one row": lambda: np.arange(40)[None] // 10,
    "one column": lambda: np.arange(40)[:, None] // 10,
    "a checkerboard": lambda: np.indices((33, 50)).sum(0) % 4,
    "noise": lambda: np.random.default_rng(0).integers(0, 4, (61, 47)),
    "a hole": lambda: 1 - np.pad(np.ones((8, 8), int), 6),
    "far apart": lambda: np.where(np.arange(3000)[None] % 2999 == 0, 1, np.zeros((2, 1), int)),
}


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("times", [1, 3])
def test_masks_are_read_by_pycocotools(kind: str, times: int, tmp_path: Path) -> None:
    mask = MASKS[kind]()
    size = mask.shape[1] * times, mask.shape[0] * times
    coco = opened(masks.coco_rle(mask, NAMES, size), tmp_path)
    is_whole(coco)
    full = rle.resized(mask, size)
    assert [coco.cats[i]["name"] for i in coco.getCatIds()] == NAMES
    assert (coco.imgs[1]["width"], coco.imgs[1]["height"]) == size
    assert len(coco.anns) == len(np.unique(mask))
    for row in coco.anns.values():
        own = full == row["category_id"] - 1
        np.testing.assert_array_equal(coco.annToMask(row), own)
        assert row["area"] == own.sum() == coco.annToMask(row).sum()


BOXES: dict[str, list[tuple[float, float, float, float]]] = {
    "plain": [(10, 20, 50, 60), (0, 0, 90, 60)],
    "fractions": [(60.4, 5.333333, 89.99, 30.5), (0.001, 0.001, 0.5, 59.9999)],
    "a point": [(5, 5, 5, 5)],
    "a line": [(3, 7, 80, 7)],
    "the same twice": [(1, 2, 30, 40)] * 2,
    "none": [],
    "many": [(i % 80, i % 50, i % 80 + 9, i % 50 + 9) for i in range(150)],
}


def marks_of(kind: str, scored: bool = True) -> list[boxes.Mark]:
    found = np.array(BOXES[kind], float).reshape(-1, 4)
    groups = [i % len(NAMES) for i in range(len(found))]
    scores = np.linspace(0.9, 0.1, len(found)) if scored else None
    return boxes.marks_of(found, groups, NAMES, scores, COLOURS)


@pytest.mark.parametrize("kind", BOXES)
@pytest.mark.parametrize("scored", [True, False])
def test_boxes_are_read_by_pycocotools(kind: str, scored: bool, tmp_path: Path) -> None:
    marks = marks_of(kind, scored)
    coco = opened(box_files.coco_json(marks, NAMES, (90, 60)), tmp_path)
    is_whole(coco)
    assert len(coco.anns) == len(marks)
    for row, mark in zip(coco.anns.values(), marks, strict=True):
        assert coco.cats[row["category_id"]]["name"] == mark.label and ("score" in row) is scored
        left, top, wide, high = row["bbox"]
        assert (left, top, left + wide, top + high) == pytest.approx(mark.box, abs=0.011)
    if marks and scored:  # the same rows as results of a detector
        with contextlib.redirect_stdout(io.StringIO()):
            assert len(coco.loadRes(list(coco.anns.values())).anns) == len(marks)


def outcome(labels: Sequence[str], mask: np.ndarray | None, found: Sequence[Any] = ()) -> batch.Outcome:
    size = (12, 8) if mask is None else (mask.shape[1], mask.shape[0])
    return batch.Outcome({}, {}, size, found, labels, mask)


def test_many_files_are_one_data_set(tmp_path: Path) -> None:
    rows = [
        batch.Row("a.png", 0, outcome(["dog", "cat"], np.array([[0, 1, -1]]))),
        batch.Row("broken.png", 0),
        batch.Row("红.png", 0, outcome(["cat", "duck"], np.array([[1], [0]]))),
        batch.Row("b.png", 0, outcome([], None, [("dog", 0.5, (1, 2, 5, 7.5)), ("owl", 0.25, (0, 0, 12, 8))])),
        batch.Row("none.png", 0, outcome(["dog"], np.full((2, 2), -1))),
    ]  # fmt: skip
    coco = opened(json.dumps(batch.coco(rows), ensure_ascii=False), tmp_path)
    is_whole(coco)
    assert [coco.imgs[i]["file_name"] for i in coco.getImgIds()] == ["a.png", "红.png", "b.png", "none.png"]
    assert [coco.cats[i]["name"] for i in coco.getCatIds()] == ["dog", "cat", "duck", "owl"]
    assert [len(coco.getAnnIds(imgIds=[i])) for i in coco.getImgIds()] == [2, 2, 2, 0]


def test_a_category_is_added_once() -> None:
    made = Coco(["a", "b"])
    assert [made.category(name) for name in ("b", "c", "a", "c")] == [2, 3, 1, 3]
    assert made.data()["annotations"] == made.data()["images"] == []


def test_label_images_of_many_labels_keep_their_numbers() -> None:
    import zipfile

    labels = [f"label {i}" for i in range(400)]
    mask = np.arange(400).reshape(20, 20)
    with zipfile.ZipFile(io.BytesIO(batch.archive([batch.Row("a.png", 0, outcome(labels, mask))]))) as read:
        stored = Image.open(io.BytesIO(read.read("masks/001_a.png")))
    np.testing.assert_array_equal(np.asarray(stored), mask + 1)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(masks.mask_png(mask, labels)))), mask)


# --- SVG -------------------------------------------------------------------------------------------------------


def strokes(count: int = 8, cubics: int = 1, seed: int = 0, **changed: Any) -> Strokes:
    """Random strokes that stay on the canvas, of all colours and opacities."""
    rng = np.random.default_rng(seed)
    points = (200 * rng.random((count, 3 * cubics + 1, 2)) + 12).astype(np.float32)
    widths = (1 + 6 * rng.random(count)).astype(np.float32)
    return Strokes(points, widths, rng.random((count, 4)).astype(np.float32), **changed)


def black(count: int = 8) -> Strokes:
    made = strokes(count, seed=3)
    return Strokes(made.points, np.full(count, 3, np.float32), np.tile(np.float32([0, 0, 0, 1]), (count, 1)))


DRAWINGS: dict[str, Callable[[], Strokes]] = {
    "colours": strokes,
    "black": black,
    "long paths": lambda: strokes(4, cubics=3),
    "a dark paper": lambda: strokes(background=(0.1, 0.25, 1 / 3)),
    "one stroke": lambda: strokes(1),
    "no stroke": lambda: strokes(0),
    "a dot": lambda: Strokes(np.full((1, 4, 2), 50, np.float32), np.float32([9]), np.float32([[1, 0, 0, 1]])),
    "beyond the canvas": lambda: Strokes(
        np.float32([[[-50, -1e4], [300, 10], [0.1, 1e-7], [500, 224]]]), np.float32([4]), np.float32([[0, 0, 1, 0.5]])
    ),
    "hair": lambda: Strokes(strokes(5).points, np.full(5, 0.01, np.float32), strokes(5).colors),
    "colours out of range": lambda: Strokes(
        strokes(2).points, np.float32([3, 3]), np.float32([[1.2, -0.1, 0.5, 1], [0, 2, 0, 1]])
    ),
}  # fmt: skip


def read(text: str, folder: Path) -> dict[str, int]:
    """How many shapes each reader finds."""
    path = folder / "a.svg"
    path.write_text(text, encoding="utf-8")
    paths, _, _ = svgpathtools.svg2paths2(str(path))
    elements = svgelements.SVG.parse(str(path)).elements()
    shapes = sum(isinstance(one, svgelements.Shape) for one in elements)
    pico = SVG.fromstring(text)
    return {"svgpathtools": len(paths), "svgelements": shapes, "picosvg": len(pico.shapes())}


def raster(text: str, width: int) -> np.ndarray:
    """An SVG in pixels, int [H, W, 3]."""
    data = cairosvg.svg2png(text.encode(), output_width=width)
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def are_alike(one: np.ndarray, other: np.ndarray, share: float = 0.001) -> None:
    """Equal on average to half a level; all pixels but a small share to a few."""
    assert one.shape == other.shape
    away = np.abs(one - other)
    assert away.mean() < 0.5 and (away.max(-1) > 24).mean() <= share, (
        away.mean(),
        (away.max(-1) > 24).mean(),
    )


@pytest.mark.parametrize("kind", DRAWINGS)
def test_drawings_are_read_by_every_program_and_look_like_their_png(kind: str, tmp_path: Path) -> None:
    made = DRAWINGS[kind]()
    text = made.svg()
    found = read(text, tmp_path)
    assert set(found.values()) == {1 + len(made)}, found  # the paper and the strokes
    assert len(SVG.fromstring(text).topicosvg().shapes()) >= 1
    if kind != "hair":  # cairo draws no line thinner than its own
        are_alike(raster(text, 512), pixels(base.png(made.image(512))))


@pytest.mark.parametrize("kind", ["colours", "long paths", "a dark paper"])
def test_the_film_of_a_drawing_ends_as_the_drawing(kind: str, tmp_path: Path) -> None:
    last = DRAWINGS[kind]()
    first = Strokes(last.points[:, ::-1].copy(), last.widths, last.colors, last.background)
    text = film.svg([first, last], 3.0)
    assert set(read(text, tmp_path).values()) == {1 + len(last)}
    np.testing.assert_array_equal(raster(text, 448), raster(last.svg(), 448))


def test_svgpathtools_finds_the_control_points(tmp_path: Path) -> None:
    made = strokes(5, cubics=2)
    (tmp_path / "a.svg").write_text(made.svg())
    paths, attributes, whole = svgpathtools.svg2paths2(str(tmp_path / "a.svg"))
    assert (whole["width"], whole["height"]) == ("224", "224")
    curves = [path for path, values in zip(paths, attributes, strict=True) if "d" in values]
    assert len(curves) == 5
    for path, points in zip(curves, made.points, strict=True):
        ends = [
            path[0].start,
            *(getattr(part, name) for part in path for name in ("control1", "control2", "end")),
        ]
        np.testing.assert_allclose([[end.real, end.imag] for end in ends], points, rtol=1e-6)


def image(width: int = 160, height: int = 120) -> Image.Image:
    """Smooth colours: JPEG keeps them to a level or two."""
    down, across = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([across, down, (across + down) / 2], -1).astype(np.uint8))


PICTURES: dict[str, list[boxes.Mark]] = {
    "solid": [boxes.Mark((20.3, 30.7, 90.2, 100.9), "", None, COLOURS[0])],
    "dashed": [boxes.Mark((20.3, 30.7, 90.2, 100.9), "", None, COLOURS[1], dashed=True)],
    "whole numbers, dashed": [boxes.Mark((10, 10, 150, 110), "", None, COLOURS[2], dashed=True)],
    "both": [
        boxes.Mark((5, 5, 70, 100), "", None, COLOURS[0]),
        boxes.Mark((60, 20, 150, 90), "", None, COLOURS[1], dashed=True),
    ],
    "at the edges": [boxes.Mark((0, 0, 160, 120), "", None, COLOURS[3], dashed=True)],
    "beyond the edges": [boxes.Mark((-20, 40, 400, 300), "", None, COLOURS[3])],
    "narrow": [boxes.Mark((50, 10, 51.5, 100), "", None, COLOURS[0])],
    "small, dashed": [boxes.Mark((50, 10, 58, 17), "", None, COLOURS[0], dashed=True)],
    "a point": [boxes.Mark((50, 50, 50, 50), "", None, COLOURS[0])],
    "none": [],
}


@pytest.mark.parametrize("kind", PICTURES)
def test_boxes_look_alike_in_png_and_svg(kind: str, tmp_path: Path) -> None:
    marks = PICTURES[kind]
    text = box_files.svg(image(), marks)
    found = read(text, tmp_path)
    assert found["svgpathtools"] >= len(marks) and found["picosvg"] == 2 * len(marks)
    away = np.abs(raster(text, 160) - pixels(box_files.annotated_png(image(), marks)))
    assert away.mean() < 2 and (away.max(-1) > 24).mean() < 0.002


def test_a_dash_is_seen_in_both() -> None:
    def drawn(dashed: bool) -> tuple[np.ndarray, np.ndarray]:
        mark = boxes.Mark((20, 60, 140, 110), "a", 0.9, COLOURS[1], kind="novel", dashed=dashed)
        return raster(box_files.svg(image(), [mark]), 160), pixels(box_files.annotated_png(image(), [mark]))

    for solid, dashes in zip(drawn(False), drawn(True), strict=True):
        changed = np.abs(solid - dashes).max(-1) > 60
        assert changed.sum() > 100 and not changed[70:100, 30:130].any()


@pytest.mark.parametrize(
    "words", ["a dog", "红包 & <b>", "“quoted” & 'plain'", "x" * 200, "a\tb", "e\u0301tude"]
)
@pytest.mark.parametrize("box", [(20, 60, 140, 110), (0, 0, 30, 20), (150, 100, 159, 119)])
def test_words_stand_on_the_same_paper(words: str, box: boxes.Box, tmp_path: Path) -> None:
    mark = boxes.Mark(box, words, 0.9, COLOURS[1])
    text = box_files.svg(image(), [mark])
    read(text, tmp_path)
    (one,) = box_files.placed([mark], (160, 120), box_files.Pen.of((160, 120)))
    assert one.words == boxes.caption(mark)[: box_files.MOST_LETTERS] and min(one.chip[:2]) >= 0
    away = np.abs(raster(text, 160) - pixels(box_files.annotated_png(image(), [mark])))
    left, top, _, bottom = (round(side) for side in one.chip)
    away[max(top - 1, 0) : bottom + 1, max(left - 1, 0) :] = (
        0  # letters are another program's, and as wide as it has them
    )
    assert (away.max(-1) > 24).mean() < 0.002


def test_bars_are_read_by_every_program(tmp_path: Path) -> None:
    rows = [
        {"label": label, "probability": share, "cosine": 0.1}
        for label, share in (("a <b> & c", 0.7), ("红包", 0.3), ("x" * 80, 1e-12))
    ]
    text = base.bars_svg(rows, "t & “x”")
    assert set(read(text, tmp_path).values()) == {4} and raster(text, 720).shape[1] == 720
