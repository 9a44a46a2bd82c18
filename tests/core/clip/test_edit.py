"""An image changed on purpose: what is painted, what it becomes, what is pasted where, and how answers are paired."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core import inputs
from core.clip import ZeroShot, edit
from core.errors import Refusal

SCENES = Path(__file__).resolve().parents[3] / "assets" / "examples" / "clip"
LABELS = ["a cat", "a car", "a tree", "an airplane"]


def flat(width: int = 40, height: int = 30, colour: tuple[int, int, int] = (200, 100, 50)) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def test_a_mask_is_the_stroke_and_the_box() -> None:
    stroke = edit.Stroke(0.1, np.array([[0.25, 0.5], [0.75, 0.5]]))
    mask = edit.mask_of((100, 60), [stroke])
    rows, columns = np.nonzero(mask)
    # 10 pixels of the longer side to each side of the line.
    assert abs(rows.mean() - 30) < 1 and 18 <= rows.max() - rows.min() <= 22
    assert columns.min() <= 16 and columns.max() >= 84
    box = edit.mask_of((100, 60), [], [[10, 20, 29, 39]])
    assert box.sum() == 20 * 20 and box[20:40, 10:30].all()
    dot = edit.mask_of((100, 60), [edit.Stroke(0.05, np.array([[0.5, 0.5]]))])
    assert 60 < dot.sum() < 110
    assert not edit.mask_of((100, 60), []).any()


@pytest.mark.parametrize("fill", edit.FILLS)
def test_only_what_the_mask_covers_changes(fill: str) -> None:
    generator = np.random.default_rng(0)
    image = Image.fromarray(generator.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    mask = edit.mask_of(image.size, [], [[5, 5, 14, 14]])
    changed = np.asarray(edit.paint_out(image, mask, fill))
    np.testing.assert_array_equal(changed[~mask], np.asarray(image)[~mask])
    assert (changed[mask] != np.asarray(image)[mask]).mean() > 0.9
    np.testing.assert_array_equal(edit.paint_out(image, mask, fill), changed)  # the same every time
    assert edit.paint_out(image, np.zeros_like(mask), fill) is image


def test_the_colours_around_go_in() -> None:
    pixels = np.array(flat())
    pixels[10:20, 15:25] = (0, 255, 0)
    mask = np.zeros(pixels.shape[:2], bool)
    mask[9:21, 14:26] = True
    filled = np.asarray(edit.paint_out(Image.fromarray(pixels), mask))
    np.testing.assert_allclose(filled, np.asarray(flat()), atol=2)
    # Left of the middle the left colour, right of it the right one.
    halves = np.zeros((32, 32, 3), np.uint8)
    halves[:, 16:] = 255
    hole = np.zeros((32, 32), bool)
    hole[12:20, 4:28] = True
    row = np.asarray(edit.paint_out(Image.fromarray(halves), hole))[15, :, 0].astype(int)
    assert row[5] < 80 and row[26] > 175


def test_a_thing_is_pasted_where_it_was_put() -> None:
    sprite = np.zeros((96, 96, 4), np.uint8)
    sprite[24:72, 24:72] = (0, 0, 255, 255)
    shown = np.asarray(edit.paste(flat(80, 60), sprite, edit.Paste("x", 0.5, 0.5, 1.0)))
    blue = (shown == (0, 0, 255)).all(-1)
    rows, columns = np.nonzero(blue)
    assert abs(rows.mean() - 29.5) < 1 and abs(columns.mean() - 39.5) < 1 and abs(blue.sum() - 900) < 130
    # Over the edge it is cut, and an image is never changed in place.
    image = flat()
    edit.paste(image, sprite, edit.Paste("x", 0, 0, 1.0))
    np.testing.assert_array_equal(image, flat())


@pytest.mark.parametrize(
    ("strokes", "pastes", "code"),
    [
        ("x", None, "bad_drawing"),
        ([{"r": 0.1}], None, "bad_drawing"),
        ([{"r": 0.1, "points": [[1, 2, 3]]}], None, "bad_drawing"),
        ([{"r": 0.1, "points": [[0, float("nan")]]}], None, "bad_drawing"),
        ([{"r": 0, "points": [[0, 0]]}], None, "bad_drawing"),
        ([{"r": 0.1, "points": [[9, 0]]}], None, "bad_drawing"),
        (None, [{"name": "dog", "x": 0, "y": 0}], "bad_drawing"),
        (None, [{"name": "dog", "x": 0, "y": 0, "size": -1}], "bad_drawing"),
        (None, [{"name": "dog", "x": 1e308, "y": 0, "size": 1}], "bad_drawing"),
        ([{"r": 0.1, "points": [[0, 0]]}] * 201, None, "too_much_drawn"),
        (None, [{"name": "dog", "x": 0, "y": 0, "size": 1}] * 17, "too_much_drawn"),
    ],
)
def test_what_was_drawn_is_checked(strokes: Any, pastes: Any, code: str) -> None:
    with pytest.raises(Refusal) as refusal:
        edit.check(strokes, pastes)
    assert refusal.value.code == code


def test_refusals_of_painting() -> None:
    mask = np.ones((30, 40), bool)
    for options, code in (((mask, "around"), "nothing_left"), ((mask, "magic"), "unknown_fill")):
        with pytest.raises(Refusal) as refusal:
            edit.paint_out(flat(), *options)
        assert refusal.value.code == code


def test_without_the_car_there_is_no_car() -> None:
    """The miniature's answer comes from the thing: gone with it, untouched when a corner of the background goes."""
    row = next(
        row for row in json.loads((SCENES / "examples.json").read_text("utf-8")) if "cat_left" in row["file"]
    )
    image = inputs.image(SCENES / row["file"])
    car = next(thing["box"] for thing in row["objects"] if thing["en"] == "car")
    model = ZeroShot.load("classroom-rn", "cpu")
    gone = edit.paint_out(image, edit.mask_of(image.size, [], [car]))
    pair = edit.ask_twice((model, model), (image, gone), LABELS)
    assert pair.first.order[0] == 1 and pair.second.order[0] == 0 and pair.moved[1] < -0.5
    corner = edit.paint_out(image, edit.mask_of(image.size, [], [[0, 0, 40, 40]]))
    kept = edit.ask_twice((model, model), (image, corner), LABELS)
    assert abs(kept.moved).max() < 0.1 and kept.similarity is not None and kept.similarity > 0.98
    same = edit.ask_twice((model, model), (image, image), LABELS)
    assert same.similarity == pytest.approx(1, abs=1e-5) and not same.moved.any()
    assert pair.to_json()["second"]["results"][0]["label"] == "a cat"


def test_first_everything_is_painted_out_then_things_are_put_in() -> None:
    image = flat(40, 40)
    drawing = np.full((8, 8, 4), 255, np.uint8)
    pastes = [edit.Paste("star", 0.25, 0.25, 0.25), edit.Paste(edit.PATCH, 0.25, 0.25, 0.5)]
    names: list[str] = []

    def sprite(name: str) -> np.ndarray:
        names.append(name)
        return drawing

    made = np.asarray(edit.changed(image, [], pastes, [[30, 30, 39, 39]], "grey", sprite)).astype(int)
    assert names == ["star"] and (made[10, 10] == 255).all()
    assert (made[3, 3] == edit.GREY).all() and (made[35, 35] == edit.GREY).all()
    assert (made[25, 10] == (200, 100, 50)).all()
