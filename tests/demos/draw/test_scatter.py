"""Points of a space as a figure: kinds in the legend, escaped names, lines between pairs, images on a plane."""

from __future__ import annotations

import numpy as np
import pytest

from demos.draw import scatter
from demos.draw.scatter import Kind

LOOKS = {"image": Kind("images", "#000", "circle", 10), "text": Kind("texts", "#fff", "cross", 8, named=True)}
NAMES = ["one", "two", "<b>three</b> and much more than fits"]


@pytest.mark.parametrize("dimensions", [2, 3])
def test_points_lines_and_names(dimensions: int) -> None:
    points = np.arange(3 * dimensions, dtype=float).reshape(3, dimensions)
    kinds, axes = ["image", "image", "text"], [f"axis {k}" for k in range(dimensions)]
    plot = scatter.figure(points, NAMES, kinds, LOOKS, ["data:,", None, None], [(0, 2)], axes)
    line, images, texts = plot.data
    assert line.mode == "lines" and list(line.x) == [points[0, 0], points[2, 0]]
    assert images.name == "images" and images.mode == ("markers" if dimensions == 2 else "markers+text")
    assert "<b>" not in str(texts.hovertext) and len(texts.text[0]) <= scatter.LONGEST
    assert len(plot.layout.images) == (1 if dimensions == 2 else 0)


def test_points_in_one_place_and_kinds_without_points() -> None:
    plot = scatter.figure(np.zeros((2, 2)), NAMES[:2], ["image"] * 2, LOOKS, [None] * 2, [], ["x", "y"])
    assert len(plot.data) == 1 and all(np.isfinite(plot.layout.xaxis.range))
