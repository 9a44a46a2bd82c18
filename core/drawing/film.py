"""Many moments of a drawing in pixels, for films: one batch instead of one picture after another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from core import runtime
from core.drawing.optimise import Scenes
from core.drawing.rasterize import render
from core.drawing.strokes import CANVAS, Strokes

# Pictures that are rendered together.
AT_ONCE = 8


def pixels(moments: Sequence[Strokes], side: int) -> np.ndarray:
    """Drawings on one background as uint8 [F, side, side, 3]."""
    scale = side / CANVAS
    found = []
    for first in range(0, len(moments), AT_ONCE):
        scenes = Scenes.stack(moments[first : first + AT_ONCE], "cpu")
        with runtime.semaphore("cpu"), torch.no_grad():
            images = render(
                scenes.points * scale, scenes.widths * scale, scenes.colors, side, moments[0].background
            )
        found.append((images.permute(0, 2, 3, 1).clamp(0, 1) * 255).round().byte().numpy())
    return np.concatenate(found)
