"""An edge detector that knows nothing of meaning (Canny 1986): what a sketch is compared with.

Gradient, thinning across edges, two thresholds of which the lower holds where the higher was reached nearby; the
lines are drawn as wide as strokes, and the threshold is chosen so that both drawings spend the same ink.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SIGMA = 1.4
LOW = 0.4  # of the high threshold
LUMA = (0.2125, 0.7154, 0.0721)
# Neighbours (row, column) along the four directions that a gradient is rounded to, from the right counter-clockwise.
ALONG = ((0, 1), (1, 1), (1, 0), (1, -1))
HALVINGS = 12


def ridges(picture: np.ndarray) -> Tensor:
    """The strength of edges where they are thinned to one pixel, elsewhere 0.

    Args:
        picture: uint8 [H, W, 3].

    Returns:
        float32 [H, W] in 0..1, 1 the strongest edge; all zero for a flat image.
    """
    # Not while this module loads: two threads that enter torchvision by different doors wait for each other.
    from torchvision.transforms.functional import gaussian_blur

    grey = torch.from_numpy(picture.astype(np.float32) / 255) @ torch.tensor(LUMA)  # [H, W]
    reach = 2 * round(3 * SIGMA) + 1
    smooth = gaussian_blur(grey[None, None], [reach, reach], [SIGMA, SIGMA])
    padded = F.pad(smooth, (1, 1, 1, 1), "replicate")
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    dx, dy = F.conv2d(padded, torch.stack([kernel, kernel.T])[:, None])[0]  # [H, W] each
    strength = torch.hypot(dx, dy)
    angle = (torch.atan2(dy, dx) * 4 / torch.pi).round().long() % 4
    around = F.pad(strength, (1, 1, 1, 1))
    H, W = strength.shape
    sides = torch.stack(
        [
            torch.maximum(
                around[1 + r : 1 + r + H, 1 + c : 1 + c + W], around[1 - r : 1 - r + H, 1 - c : 1 - c + W]
            )
            for r, c in ALONG
        ]
    )  # [4, H, W]
    thin = torch.where(strength >= sides.gather(0, angle[None])[0], strength, 0.0)
    # Differences of rounding are no edges.
    return thin / thin.max() if thin.max() > 1e-4 else torch.zeros_like(thin)


def edges(ridge: Tensor, high: float, low: float | None = None) -> Tensor:
    """bool [H, W]: ridges above the high threshold, and those above the lower one that hang on to them."""
    # With a margin of one pixel, in which nothing is an edge: the eight neighbours of a place are at fixed distances.
    weak, lines = (np.pad(ridge.numpy() > least, 1) for least in (LOW * high if low is None else low, high))
    around = np.array([row * weak.shape[1] + column for row in (-1, 0, 1) for column in (-1, 0, 1)])
    free, reached = weak.ravel() & ~lines.ravel(), lines.ravel()
    ends = np.flatnonzero(reached)
    while len(ends):  # only where lines still grow
        near = (ends[:, None] + around).ravel()
        ends = np.unique(near[free[near]])
        free[ends], reached[ends] = False, True
    return torch.from_numpy(reached.reshape(weak.shape)[1:-1, 1:-1].copy())


def drawn(found: Tensor, width: float) -> np.ndarray:
    """Edges as black lines of that width on white: uint8 [H, W, 3]."""
    reach = int(width / 2)
    near = torch.arange(-reach, reach + 1)
    disc = (near[:, None] ** 2 + near**2 <= (width / 2) ** 2).float()
    thick = F.conv2d(found[None, None].float(), disc[None, None], padding=reach)[0, 0] > 0
    grey = np.where(thick.numpy(), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def ink(picture: np.ndarray) -> float:
    """How much of a white sheet is black, in 0..1, of uint8 [H, W, 3]."""
    return float(1 - picture.mean() / 255)


def at_ink(picture: np.ndarray, amount: float, width: float) -> np.ndarray:
    """The edge drawing of an image that spends at most this much ink, less only by a line that no longer fits.

    Args:
        picture: uint8 [H, W, 3].
        amount: of ink, as `ink` measures it.
        width: of the lines in pixels.

    Returns:
        uint8 [H, W, 3]; all edges where even these need less.
    """
    ridge = ridges(picture)

    def fits(high: float, low: float) -> bool:
        return ink(drawn(edges(ridge, high, low), width)) <= amount

    high = _least(lambda value: fits(value, LOW * value), 0.0, 1.0)
    # One more strong pixel may bring a long line with it: part of that line still fits.
    more = high - 2.0**-HALVINGS
    low = _least(lambda value: fits(more, value), LOW * more, more)
    best = edges(ridge, more, low) if fits(more, low) else edges(ridge, high)
    return drawn(best, width)


def _least(fits: Callable[[float], bool], low: float, high: float) -> float:
    """The least value in a range from which on a condition holds; it is taken to hold at the upper end."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high
