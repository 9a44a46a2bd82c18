"""Which way the edges of an image run, and strokes that follow them.

Strokes of CLIPasso begin as a short random walk; where they begin along an edge instead, a run starts nearer to
its end. Directions are those of the structure tensor over the three colours (Di Zenzo 1986).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.drawing.strokes import CANVAS

# Of the image, and of the directions, which the neighbourhood steadies.
SIGMA, WIDE = 1.5, 3.0


def tangents(picture: np.ndarray) -> np.ndarray:
    """Unit vectors (x, y) along the edges of an image uint8 [H, W, 3], of either sign: float32 [2, H, W]."""
    smooth = _blur(torch.from_numpy(picture.copy()).permute(2, 0, 1) / 255, SIGMA)
    padded = F.pad(smooth[None], (1, 1, 1, 1), mode="replicate")[0]
    dx = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2  # [3, H, W]
    dy = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    tensor = torch.stack([(a * b).sum(0) for a, b in ((dx, dx), (dy, dy), (dx, dy))])
    xx, yy, xy = _blur(tensor, WIDE)
    across = torch.atan2(2 * xy, xx - yy) / 2
    return torch.stack([-across.sin(), across.cos()]).numpy()


def _blur(maps: Tensor, sigma: float) -> Tensor:
    reach = 2 * round(3 * sigma) + 1
    # Not while this module loads: two threads that enter torchvision by different doors wait for each other.
    from torchvision.transforms.functional import gaussian_blur

    return gaussian_blur(maps, [reach, reach], [sigma, sigma])


def trace(tangent: np.ndarray, starts: np.ndarray, reach: float, steps: int = 24) -> np.ndarray:
    """Strokes along the edges through given points.

    Args:
        tangent: of `tangents`, on the canvas.
        starts: [S, 2] pixels (x, y).
        reach: how far each way, in pixels.

    Returns:
        float32 [S, 4, 2], control points of cubics that pass through four places of the walked line.
    """
    field = torch.from_numpy(tangent)[None]  # [1, 2, H, W]
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
