"""Scores of images of any size from a network that wants one: sliding windows, mirror images, several scales.

As LSeg evaluates (Li et al. 2022, section 5.1, after the released multi-scale evaluator): each scale resizes the
image to a long side, covers it with overlapping windows whose scores are averaged, adds the scores of its mirror
image, and the scores of all scales are added up at the picture's own size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

ADE_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
PAD = -1.0  # black after normalising with mean 0.5 and deviation 0.5


@dataclass(frozen=True)
class Sliding:
    """base: the long side at scale 1. crop: the side of a window. Pixels."""

    base: int = 520
    crop: int = 480
    scales: tuple[float, ...] = ADE_SCALES
    flip: bool = True

    @property
    def stride(self) -> int:
        """Windows overlap by a third."""
        return int(self.crop * (2 / 3))


def resized(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, corners on corners."""
    return F.interpolate(x, (height, width), mode="bilinear", align_corners=True)


def scaled_size(height: int, width: int, long_side: int) -> tuple[int, int]:
    """Height and width with this long side, the other one in proportion, halves rounded up."""
    if height > width:
        return long_side, int(width * long_side / height + 0.5)
    return int(height * long_side / width + 0.5), long_side


def padded(x: Tensor, side: int) -> Tensor:
    """At least `side` high and wide, filled up below and to the right."""
    return F.pad(x, (0, max(0, side - x.shape[-1]), 0, max(0, side - x.shape[-2])), value=PAD)


@dataclass(frozen=True)
class Scale:
    """One scale of a picture: its size there, and the corners of the windows that cover it."""

    height: int
    width: int
    corners: tuple[tuple[int, int], ...]  # top, left


def plan(height: int, width: int, settings: Sliding) -> list[Scale]:
    """What `multi_scale` goes through for an image of this size."""
    scales = []
    for scale in settings.scales:
        tall, wide = scaled_size(height, width, math.ceil(settings.base * scale))
        rows, columns = (_starts(max(side, settings.crop), settings) for side in (tall, wide))
        scales.append(Scale(tall, wide, tuple((top, left) for top in rows for left in columns)))
    return scales


def passes(height: int, width: int, settings: Sliding) -> int:
    """How often the network will run."""
    return sum(len(scale.corners) for scale in plan(height, width, settings)) * (2 if settings.flip else 1)


def _starts(length: int, settings: Sliding) -> range:
    count = math.ceil((length - settings.crop) / settings.stride) + 1
    return range(0, count * settings.stride, settings.stride)


@torch.no_grad()
def multi_scale(
    network: Callable[[Tensor], Tensor], picture: Tensor, settings: Sliding
) -> Generator[int, None, Tensor]:
    """Scores [1, N, H, W] of a normalised image [1, 3, H, W], summed over scales; yields the passes done so far.

    Args:
        network: windows [1, 3, crop, crop] -> scores [1, N, crop, crop].
        picture: mean 0.5 and deviation 0.5 taken out.
        settings: sizes and scales.
    """
    height, width = picture.shape[-2:]
    total: Tensor | None = None
    done = 0
    for scale in plan(height, width, settings):
        x = padded(resized(picture, scale.height, scale.width), settings.crop)
        tall, wide = x.shape[-2:]
        scores: Tensor | None = None
        times = x.new_zeros(1, 1, tall, wide)
        for top, left in scale.corners:
            bottom, right = min(top + settings.crop, tall), min(left + settings.crop, wide)
            window = padded(x[..., top:bottom, left:right], settings.crop)
            seen = network(window)
            done += 1
            yield done
            if settings.flip:
                seen = seen + network(window.flip(-1)).flip(-1)
                done += 1
                yield done
            if scores is None:
                scores = x.new_zeros(1, seen.shape[1], tall, wide)
            scores[..., top:bottom, left:right] += seen[..., : bottom - top, : right - left]
            times[..., top:bottom, left:right] += 1
        assert scores is not None
        scores = resized((scores / times)[..., : scale.height, : scale.width], height, width)
        total = scores if total is None else total + scores
    assert total is not None
    return total
