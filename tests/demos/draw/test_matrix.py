"""The matrix of a batch and its curves as plain values: colours, marks, escaped words, files."""

from __future__ import annotations

import csv
import io
import re

import numpy as np
import pytest
from PIL import Image

from core.clip.contrastive import Batch, contrast
from demos.draw import charts as curves
from demos.draw import matrix

HOSTILE = "<img src=x onerror=alert(1)>"


def batch(captions: list[str], order: list[int] | None = None, scale: float = 8.0) -> Batch:
    """A batch whose image k has the direction k, and caption k the direction of its place in `order`."""
    n = len(captions)
    made = contrast(np.eye(n), np.eye(n)[order or range(n)], scale, captions)
    return Batch("classroom-rn", tuple(captions), made, scale, "softmax", "cpu", 0.01)


RIGHT = batch(["a dog", "a cat", "a car"])
SWAPPED = batch(["a cat", "a dog", "a car"], [1, 0, 2])


@pytest.mark.parametrize("view", matrix.VIEWS)
@pytest.mark.parametrize("made", [RIGHT, SWAPPED, batch(["one", "two"], scale=1000.0)])
def test_every_view_is_numbers_and_shares_of_one_shape(view: str, made: Batch) -> None:
    n = len(made.captions)
    shown, share = matrix.values(made.contrast, view), matrix.shares(made.contrast, view)
    assert shown.shape == share.shape == (n, n)
    assert np.isfinite(shown).all() and share.min() >= 0 and share.max() <= 1 + 1e-9
    assert matrix.paint(share, view).shape == (n, n, 3)
    assert all(len(matrix.cell_text(float(value), view)) <= 7 for value in shown.flat)


def test_views_are_what_they_say() -> None:
    made = RIGHT.contrast
    assert np.allclose(matrix.values(made, "rows").sum(1), 1)
    assert np.allclose(matrix.values(made, "columns").sum(0), 1)
    # No gradient is the middle of its scale: what is pulled lies below it, what is pushed above.
    share = matrix.shares(SWAPPED.contrast, "gradient")
    assert share[0, 0] < 0.5 < share[0, 1] and share[2, 0] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("value", "view", "text"),
    [
        (0.004, "rows", "0"), (0.005, "rows", "0%"), (0.996, "columns", "100%"), (-0.04, "logits", "0"),
        (-6.66, "logits", "-6.7"), (-0.0004, "gradient", "0"), (0.0125, "gradient", "+0.013"),
    ],
)  # fmt: skip
def test_numbers_of_cells_are_short(value: float, view: str, text: str) -> None:
    assert matrix.cell_text(value, view) == text


def test_who_wins_follows_the_view() -> None:
    assert matrix.right(RIGHT.contrast, "rows").tolist() == [True] * 3
    assert matrix.right(SWAPPED.contrast, "rows").tolist() == [False, False, True]
    # Two images for one caption: either of them is correct for it.
    same = batch(["a dog", "a dog", "a car"], [0, 0, 2])
    for view in ("rows", "columns"):
        assert matrix.right(same.contrast, view).tolist() == [True] * 3


@pytest.mark.parametrize(
    "colour",
    [
        [0, 0, 0],
        [0, 82, 140],
        [190, 70, 0],
        [246, 244, 240],
        [253, 231, 55],
        [141, 137, 118],
        [123, 122, 115],
    ],
)
def test_numbers_can_be_read_on_their_colour(colour: list[int]) -> None:
    def luminance(rgb: np.ndarray) -> float:
        linear = np.where(rgb / 255 <= 0.03928, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    ink = np.full(3, 255.0 if matrix.ink(np.array(colour)) == "#fff" else 0.0)
    low, high = sorted([luminance(ink), luminance(np.array(colour, float))])
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_captions_are_shortened_and_chinese_counts_double() -> None:
    assert matrix.short("a cat") == ["a cat"] and matrix.short("") == [""]
    english, chinese = matrix.short("a very long caption " * 9), matrix.short("很长的描述" * 9)
    assert len(english) == len(chinese) == 2
    assert max(map(len, english)) <= 18 and max(map(len, chinese)) <= 9


def test_the_figure_marks_pairs_and_who_won() -> None:
    plot = matrix.figure(SWAPPED, ["data:image/png;base64,"] * 3, "rows", "en")
    assert [shape.line.dash for shape in plot.layout.shapes] == ["dot", "dot", "solid"]
    assert len(plot.layout.images) == 3 and len(plot.layout.annotations) == 9
    assert plot.layout.xaxis.ticktext == ("1 a cat", "2 a dog", "3 a car")
    assert "image 1 × caption 2" in plot.data[0].hovertext[0][1]


def test_what_was_typed_is_escaped_everywhere() -> None:
    made = batch([HOSTILE, "=1+1", "x"])
    plot = matrix.figure(made, [""] * 3, "rows", "en")
    svg = curves.live_matrix(np.eye(2), ["", ""], [HOSTILE, "b"], "en")
    for text in (plot.to_json(), matrix.loss_card(made, None, "en"), svg):
        assert "<img" not in text.replace("\\u003c", "<")
    cells = list(csv.DictReader(io.StringIO(matrix.to_csv(made))))
    assert cells[1]["text"] == "'=1+1"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_card_says_loss_before_and_least(lang: str) -> None:
    card = matrix.loss_card(SWAPPED, RIGHT.contrast.loss, lang)
    assert f"{SWAPPED.contrast.loss:.3f}" in card and f"{RIGHT.contrast.loss:.3f}</small>" in card
    assert "<small>" not in matrix.loss_card(RIGHT, RIGHT.contrast.loss, lang)
    same = batch(["a dog", "a dog", "a car"], [0, 0, 2])
    assert f"{same.contrast.least:.3f}" in matrix.loss_card(same, None, lang)
    assert "many" not in card and "many" in matrix.loss_card(batch([f"c{k}" for k in range(9)]), None, lang)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_line_of_code_has_its_shape_and_numbers(lang: str) -> None:
    table = matrix.code_table(RIGHT.contrast.lines, lang)
    assert table.count("<tr>") == 10
    assert (
        table.count("[3, 3]") == 5 and f"<b>{RIGHT.contrast.loss:.4f}</b>" in table and "[0, 1, 2]" in table
    )


def test_the_csv_is_the_matrix() -> None:
    rows = list(csv.DictReader(io.StringIO(matrix.to_csv(SWAPPED))))
    assert [(row["picture"], row["caption"]) for row in rows[:4]] == [
        ("1", "1"),
        ("1", "2"),
        ("1", "3"),
        ("2", "1"),
    ]
    logits = np.array([float(row["logit"]) for row in rows]).reshape(3, 3)
    assert np.allclose(logits, SWAPPED.contrast.logits, atol=1e-6)
    assert float(rows[0]["p_sigmoid"]) == pytest.approx(
        SWAPPED.contrast.sigmoid.probabilities[0, 0], abs=1e-6
    )


@pytest.mark.parametrize("view", matrix.VIEWS)
def test_the_picture_file_has_the_colours_of_the_view(view: str) -> None:
    data = matrix.to_png(SWAPPED, [Image.new("RGB", (40, 30), "red")] * 3, view, "title")
    picture = Image.open(io.BytesIO(data))
    colour = matrix.paint(matrix.shares(SWAPPED.contrast, view), view)
    # Near the lower right corner of the cell of image 1 and caption 3, where no number and no outline is.
    assert picture.getpixel((16 + 3 * 76 + 68, 60 + 66)) == tuple(colour[0, 2].tolist())


# --- curves -------------------------------------------------------------------------------------------------


def points(svg: str, kind: str) -> list[tuple[float, float]]:
    """The points of a curve of one kind."""
    found = re.search(rf'class="{kind}" points="([^"]*)"', svg)
    assert found
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in found[1].split())]


def test_a_curve_runs_left_to_right_and_up_is_more() -> None:
    ticks = [(0.0, "0"), (10.0, "10")]
    svg = curves.curve([[(0, 0), (5, 2), (10, 4)], [(0, 1), (10, 1)]], "t", ("a", "b"), "x", ticks, top=4)
    (x0, y0), (x1, y1), (x2, y2) = points(svg, "main")
    assert x0 < x1 < x2 and y0 > y1 > y2 and x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert svg.count("<circle") == 1 and f'cx="{x2:.1f}" cy="{y2:.1f}"' in svg
    # What is above the top is cut off there; a curve without points has no spot.
    high = curves.curve([[(0, 99)]], "t", ("a",), "x", ticks, top=4)
    assert points(high, "main")[0][1] == pytest.approx(y2)
    assert "<circle" not in curves.curve([[], [(0, 1), (10, 1)]], "t", ("a", "b"), "x", ticks)


@pytest.mark.parametrize("made", [RIGHT, SWAPPED])
def test_the_temperature_curve_goes_through_the_loss_that_is_shown(made: Batch) -> None:
    svg = curves.temperature_figure(made, "en")
    spot = re.search(r'<circle class="main" cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert spot
    x, y = map(float, spot.groups())
    drawn = np.array(points(svg, "main"))
    assert np.interp(x, drawn[:, 0], drawn[:, 1]) == pytest.approx(y, abs=1.5)
    # Guessing is inside the image, below what is cut off.
    assert 34 < points(svg, "guess")[0][1] < 190


def test_the_live_matrix_counts_its_diagonal() -> None:
    shares = np.array([[0.9, 0.1, 0], [0.6, 0.4, 0], [0, 0, 1]])
    svg = curves.live_matrix(shares, ["data:,"] * 3, ["a", "b", "c"], "en")
    assert svg.count("2 of 3 images") == 2 and svg.count("pair lost") == 1 and svg.count('class="pair"') == 2
    assert "2 张选对" in curves.live_matrix(shares, ["data:,"] * 3, ["a", "b", "c"], "zh")
