"""The edge detector: where edges are, how thin, and how much ink they spend."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.drawing import canny


def disc(side: int = 96, radius: int = 30) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - side / 2
    grey = np.where(np.hypot(x, y) < radius, 40, 230).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def test_edges_of_a_disc_are_its_circle_and_thin() -> None:
    found = canny.edges(canny.ridges(disc()), 0.3)
    y, x = torch.nonzero(found, as_tuple=True)
    distance = torch.hypot(y - 48.0, x - 48.0)
    assert (distance - 30).abs().max() < 2
    # A circle of radius 30 has 188 pixels around; two would lie side by side where an edge falls between them.
    assert 150 < len(distance) < 420


def test_a_flat_picture_has_no_edges() -> None:
    flat = np.full((40, 50, 3), 90, np.uint8)
    assert not canny.edges(canny.ridges(flat), 0.1).any()
    assert canny.ink(canny.at_ink(flat, 0.2, 3)) == 0


def test_the_lower_threshold_holds_only_beside_the_higher() -> None:
    ridge = torch.zeros(5, 12)
    ridge[2, :6], ridge[2, 3] = 0.3, 0.9
    ridge[4, 8:] = 0.3
    found = canny.edges(ridge, 0.5)
    assert found[2, :6].all() and not found[4].any()


@pytest.mark.parametrize(("amount", "least"), [(0.02, 0.005), (0.05, 0.03), (0.08, 0.05)])
def test_ink_is_spent_up_to_the_amount(amount: float, least: float) -> None:
    # Little ink may stay unspent: all lines of this image meet, and one more pixel brings several with it.
    picture = np.random.default_rng(0).integers(0, 255, (12, 12, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    spent = canny.ink(canny.at_ink(picture, amount, 3))
    assert least < spent <= amount


def test_lines_are_as_wide_as_asked() -> None:
    found = torch.zeros(21, 41, dtype=torch.bool)
    found[10, 5:36] = True
    rows = (canny.drawn(found, 5)[:, 20, 0] == 0).sum()
    assert rows == 5
