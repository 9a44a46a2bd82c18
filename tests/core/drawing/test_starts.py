"""Where strokes begin: spread over what is salient, along the edges of the image."""

from __future__ import annotations

import numpy as np
import pytest

from core.drawing import contours, saliency
from core.drawing.guides import _tables


def ring(side: int = 224, radius: float = 70) -> np.ndarray:
    """A distribution on a thin ring, ten times as likely on its left half."""
    y, x = np.mgrid[:side, :side] - side / 2
    on = np.abs(np.hypot(x, y) - radius) < 1
    weight = on * np.where(x < 0, 10.0, 1.0)
    return weight / weight.sum()


def test_spread_starts_leave_no_part_of_the_ring_alone() -> None:
    distribution = ring()
    drawn = saliency.draw(distribution, 12, 0)
    moved = saliency.spread(distribution, drawn)
    assert moved.shape == (12, 2) and len(np.unique(moved, axis=0)) == 12
    column, row = moved.astype(int).T
    assert (distribution[row, column] > 0).all()

    def farthest(points: np.ndarray) -> float:
        y, x = np.nonzero(distribution)
        places = np.stack([x, y], axis=1)
        return float(np.linalg.norm(places[:, None] - points, axis=2).min(1).max())

    assert farthest(moved) < 0.6 * farthest(drawn)
    # What is likelier still gets more of them.
    assert (column < 112).sum() > (column >= 112).sum()


def test_spread_holds_for_one_place_and_for_more_strokes_than_places() -> None:
    point = np.zeros((10, 10))
    point[3, 7] = 1
    moved = saliency.spread(point, saliency.draw(point, 5, 0))
    assert np.array_equal(moved, np.tile([7.0, 3.0], (5, 1)))


def test_directions_run_along_a_circle_and_strokes_follow_it() -> None:
    y, x = np.mgrid[:224, :224] - 111.5
    picture = np.repeat(np.where(np.hypot(x, y) < 60, 30, 230).astype(np.uint8)[..., None], 3, 2)
    tangent = contours.tangents(picture)
    assert np.allclose(np.linalg.norm(tangent, axis=0), 1, atol=1e-5)
    angle = np.linspace(0, 2 * np.pi, 9)[:-1]
    starts = 111.5 + 60 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = contours.trace(tangent, starts.round(), 25)
    ends = points[:, [0, 3]] - 112
    assert np.abs(np.hypot(ends[..., 0], ends[..., 1]) - 60).max() < 8
    # 25 pixels each way of a circle of radius 60: the chord is 2 * 60 * sin(25 / 60).
    assert np.linalg.norm(points[:, 0] - points[:, 3], axis=1) == pytest.approx(48.6, abs=5)


def test_a_flat_picture_has_directions_too() -> None:
    tangent = contours.tangents(np.full((224, 224, 3), 90, np.uint8))
    assert np.isfinite(contours.trace(tangent, np.array([[0.0, 0.0], [223.0, 223.0]]), 18)).all()


def test_every_guide_says_how_strokes_begin() -> None:
    tables = _tables()
    assert all({"lay", "reach", "stages", "steps"} <= set(tables[kind]) for kind in ("resnet", "vit"))
    assert {table.get("lay", "walk") for table in tables.values()} == {"walk", "edge"}
