"""What is behind the objects: plain colours, patterns and places, and the grain of paper and film."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from core.classroom.world.specs import BACKGROUNDS, NOISE_PLANES, PATTERNS, PLACES, Spec

_PERIOD = 128  # pixels: texture keeps its grain up to this size, larger canvases repeat it
_FLAT = 2 * len(PATTERNS)


@cache
def _noise_planes(device: torch.device) -> Tensor:
    """[NOISE_PLANES, 256, 256] textures in [0, 1], from grain to clouds, the same on every machine; each is there two
    by two times, so that a window of one period never has to wrap."""
    g = torch.Generator().manual_seed(7)
    planes = []
    for i in range(NOISE_PLANES):
        cells = (128, 64, 32, 16)[i % 4]
        plane = torch.rand(1, 1, cells, cells, generator=g)
        edge = _PERIOD // cells
        plane = F.interpolate(F.pad(plane, (1, 1, 1, 1), mode="circular"), scale_factor=edge, mode="bilinear")
        planes.append(plane[0, 0, edge : edge + _PERIOD, edge : edge + _PERIOD])
    return torch.stack(planes).repeat(1, 2, 2).to(device)


def windows(canvas: Tensor, side: int) -> Tensor:
    """[..., H, W] -> a view [..., H - side + 1, W - side + 1, side, side] of every square of this side.

    Indexed with one place for each image, it reads or writes a different crop of each at once.
    """
    return canvas.unfold(-2, side, 1).unfold(-2, side, 1)


def texture(shift: Tensor, size: int, device: torch.device) -> Tensor:
    """[B, H, W] in [0, 1]; shift [B, 3]: which noise plane, and where it begins."""
    plane, top, left = shift.to(device).unbind(1)
    grain = windows(_noise_planes(device), min(size, _PERIOD))[plane, top, left]
    if size > _PERIOD:
        times = -(-size // _PERIOD)
        grain = grain.repeat(1, times, times)[:, :size, :size]
    return grain


def arrangement(spec: Spec) -> Tensor:
    """[B] what the grounds of a batch are best sorted by: scenes of one number are painted in one go."""
    pattern = torch.tensor([PATTERNS.index(name) for name, _, _ in BACKGROUNDS.values()])[spec.background]
    rough = spec.pattern[:, 3] > 0
    return torch.where(spec.rendering < 2, 2 * pattern + rough, _FLAT + spec.rendering)


def grounds(spec: Spec, size: int, device: torch.device) -> Tensor:
    """[B, 3, H, W] before any object, for scenes sorted by `arrangement`."""
    canvas = torch.empty(len(spec), 3, size, size, device=device)
    natural = torch.tensor([name in PLACES for name in BACKGROUNDS])[spec.background].to(device)
    colours, pattern = spec.ground.to(device), spec.pattern.to(device)
    kinds, lengths = arrangement(spec).unique_consecutive(return_counts=True)
    end = 0
    for kind, length in zip(kinds.tolist(), lengths.tolist(), strict=True):
        start, end = end, end + length
        part = canvas[start:end]
        first, second = colours[start:end, :, :, None, None].unbind(1)  # [b, 3, 1, 1]
        if kind >= _FLAT:  # edges, outlines and depth are drawn of things, not of what is behind them
            part.copy_(colours[start:end].mean(1)[:, :, None, None].expand_as(part))
            continue
        name, rough = PATTERNS[kind // 2], kind % 2
        if name == "plain":
            part.copy_(first.expand_as(part))
        else:
            mix = _mix(name, pattern[start:end], natural[start:end], size)[:, None]
            # Where the mix is the same along each row, colours are mixed once a row and then spread.
            part.copy_(torch.lerp(first, second, mix).expand_as(part))
        if rough:
            grain = texture(spec.texture[start:end], size, device).sub_(0.5)
            part.add_(grain.mul_(2 * pattern[start:end, 3, None, None])[:, None]).clamp_(0, 1)
    return canvas


def _mix(name: str, pattern: Tensor, natural: Tensor, size: int) -> Tensor:
    """[B, H, W or 1] in [0, 1]: how much of the second colour, by Spec.pattern [B, 4]."""
    axis = (torch.arange(size, device=pattern.device) + 0.5) * (2 / size) - 1
    y, x = axis[:, None], axis[None, :]
    angle, frequency, horizon = (pattern[:, i, None, None] for i in range(3))
    if name == "horizon":
        return torch.sigmoid((y - horizon) * 30)
    along = x * angle.cos() + y * angle.sin()
    if name == "gradient":
        return torch.where(natural[:, None, None], (y + 1) / 2, (along / 1.42 + 1) / 2)
    across = y * angle.cos() - x * angle.sin()
    if name == "stripes":
        return ((along * frequency).sin() > 0).float()
    if name == "checks":
        return ((along * frequency / 1.5).sin() * (across * frequency / 1.5).sin() > 0).float()
    return ((along * frequency).cos() + (across * frequency).cos() > 1.0).float()
