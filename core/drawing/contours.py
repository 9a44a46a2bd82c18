"""Contours of a picture: Canny edges, their direction, and a drawing of them with the ink of a sketch.

Canny (1986): colour gradients of a smoothed picture, thinned to ridges, kept where they are strong or hang
together with strong ones. As a drawing it is what a sketch of CLIP's has to beat: it knows no objects, so
what it leaves out when ink is scarce is what has little contrast, not what matters little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.drawing.strokes import CANVAS

SIGMA = 1.5
# A weak edge has this share of a strong one's gradient.
WEAK = 0.4
# Chances to halve the interval of thresholds when ink is matched.
HALVINGS = 12


@dataclass(frozen=True)
class Contours:
    """Ridges of the gradient of a picture."""

    strength: np.ndarray  # [H, W] of the gradient on ridges, else 0; 1 is the strongest
    tangent: np.ndarray  # [2, H, W] unit vectors (x, y) along the edge, of either sign; also beside ridges


def _blur(maps: Tensor, sigma: float) -> Tensor:
    """Gaussian of maps [N, H, W], the border repeated."""
    reach = int(3 * sigma + 0.5)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    x = F.pad(maps[:, None], (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(x, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))[:, 0]


def find(picture: np.ndarray, sigma: float = SIGMA) -> Contours:
    """The contours of a picture, uint8 [H, W, 3]."""
    smooth = _blur(torch.from_numpy(picture.copy()).permute(2, 0, 1) / 255, sigma)
    padded = F.pad(smooth[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    dx = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2  # [3, H, W]
    dy = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    # The direction in which the colours change most (Di Zenzo 1986), steadied by the neighbourhood.
    xx, yy, xy = ((a * b).sum(0) for a, b in ((dx, dx), (dy, dy), (dx, dy)))
    own_angle = torch.atan2(2 * xy, xx - yy) / 2
    size = ((xx + yy + ((xx - yy) ** 2 + 4 * xy**2).sqrt()) / 2).sqrt()
    wide = _blur(torch.stack([xx, yy, xy]), 2 * sigma)
    angle = torch.atan2(2 * wide[2], wide[0] - wide[1]) / 2
    # Ridges: no neighbour across the edge is stronger. Neighbours are interpolated, one pixel away.
    nx, ny = own_angle.cos(), own_angle.sin()
    ridge = (size >= _shifted(size, nx, ny)) & (size > _shifted(size, -nx, -ny))
    strength = torch.where(ridge, size, 0) / size.max().clamp_min(1e-6)
    # Rounding in a flat picture is no contour.
    strength = strength * (size.max() > 1e-3)
    tangent = torch.stack([-angle.sin(), angle.cos()])
    return Contours(strength.numpy(), tangent.numpy())


def _shifted(values: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Values [H, W] at each pixel plus (x, y), interpolated."""
    H, W = values.shape
    row, column = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    grid = torch.stack([(column + x + 0.5) * 2 / W - 1, (row + y + 0.5) * 2 / H - 1], dim=-1)
    return F.grid_sample(values[None, None], grid[None], padding_mode="border", align_corners=False)[0, 0]


def edges(contours: Contours, threshold: float) -> np.ndarray:
    """Canny's edges, bool [H, W]: ridges above the threshold and weaker ones that hang together with them."""
    strength = torch.from_numpy(contours.strength)
    kept, weak = strength >= threshold, strength >= WEAK * threshold
    while True:
        grown = (F.max_pool2d(kept[None].float(), 3, 1, 1)[0] > 0) & weak
        if torch.equal(grown, kept):
            return kept.numpy()
        kept = grown


def inked(edge: np.ndarray, width: float) -> np.ndarray:
    """Edges drawn with a round pen: uint8 [H, W, 3], black on white."""
    reach = int(width / 2 + 1)
    away = torch.arange(-reach, reach + 1).float()
    pen = (width / 2 + 0.5 - (away[:, None] ** 2 + away**2).sqrt()).clamp(0, 1)
    # The darkest of the pen's marks, not their sum.
    windows = F.unfold(torch.from_numpy(edge)[None, None].float(), len(pen), padding=reach)
    ink = (windows[0] * pen.flatten()[:, None]).amax(0).view(edge.shape)
    return np.repeat((255 * (1 - ink)).round().byte().numpy()[..., None], 3, 2)


def ink(picture: np.ndarray) -> float:
    """How much of a drawing on white is ink: the mean darkness of uint8 [H, W, 3], in 0..1."""
    return float(1 - picture.mean() / 255)


def at_equal_ink(picture: np.ndarray, wanted: float, width: float = 3.0) -> np.ndarray:
    """Canny's drawing of a picture with as much ink as a sketch.

    Args:
        picture: uint8 [224, 224, 3].
        wanted: of `ink`; a picture with fewer edges gets all that it has.
        width: of the pen, in pixels.

    Returns:
        uint8 [224, 224, 3].
    """
    contours = find(picture)
    low, high = 0.01, 1.0  # more ink, less ink
    drawing = inked(edges(contours, low), width)
    if ink(drawing) <= wanted:
        return drawing
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        tried = inked(edges(contours, middle), width)
        if ink(tried) > wanted:
            low = middle
        else:
            high, drawing = middle, tried
    return drawing if ink(drawing) <= wanted else inked(edges(contours, high), width)


def trace(contours: Contours, starts: np.ndarray, reach: float, steps: int = 24) -> np.ndarray:
    """Strokes along the contours through given points.

    Args:
        starts: [S, 2] pixels (x, y).
        reach: how far each way, in pixels.

    Returns:
        [S, 4, 2] control points of cubics that pass through four places of the walked line.
    """
    field = torch.from_numpy(contours.tangent)[None]  # [1, 2, H, W]
    begin = torch.from_numpy(starts.astype(np.float32)) + 0.5
    places = [_walk(field, begin, sign, reach / steps, steps) for sign in (-1.0, 1.0)]
    line = torch.cat([places[0].flip(0), begin[None], places[1]])  # [2 steps + 1, S, 2]
    a, b, c, d = (line[round(share * 2 * steps)] for share in (0, 1 / 3, 2 / 3, 1))
    # The cubic through a, b, c, d at the parameters 0, 1/3, 2/3, 1.
    p1 = (-5 * a + 18 * b - 9 * c + 2 * d) / 6
    p2 = (2 * a - 9 * b + 18 * c - 5 * d) / 6
    return torch.stack([a, p1, p2, d], dim=1).numpy()


def _walk(field: Tensor, begin: Tensor, sign: float, step: float, steps: int) -> Tensor:
    """Places [steps, S, 2] along a field of directions without sign, as straight on as possible."""
    here, ahead, places = begin, None, []
    for _ in range(steps):
        grid = here[None, None] * 2 / CANVAS - 1
        # Nearest, because directions of opposite sign would cancel when interpolated.
        found = F.grid_sample(field, grid, mode="nearest", padding_mode="border", align_corners=False)
        way = found[0, :, 0].T  # [S, 2]
        way = sign * way if ahead is None else way * torch.where((way * ahead).sum(1) < 0, -1, 1)[:, None]
        here = here + step * way
        ahead = way
        places.append(here)
    return torch.stack(places)
