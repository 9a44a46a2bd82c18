"""Depth images of a point cloud, without a loop over points.

Two ways, both as their authors' code does them:

- `perspective`: PointCLIP (Zhang et al. 2022, https://arxiv.org/abs/2112.02413, section 3.1). A camera at a fixed
  distance; a pixel is the harmonic mean of the depths that fall on it, and 0 where none does.
- `realistic`: PointCLIP V2 (Zhu et al. 2023, https://arxiv.org/abs/2211.11682, section 3.1). Points are quantised into a
  grid of a few layers, a maximum makes it dense, a Gaussian smooths it, and the largest layer value is kept; the
  background is white. The paper speaks of the smallest depth where its code takes the largest coordinate: as here.

Points are y up. After the rotation about z by a quarter turn, x runs down the image and y to its right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from core.errors import Refusal

Angles = tuple[tuple[float, float, float], ...]  # about x, y, z of each view, in units of pi

SIDES: Angles = tuple((x, 0, 1 / 2) for x in (0, 1 / 2, 1, 3 / 2))
ENDS: Angles = ((0, -1 / 2, 1 / 2), (0, 1 / 2, 1 / 2))
CORNERS: Angles = (
    (5 / 4, -1 / 4, 1 / 2),
    (5 / 4, 1 / 4, 1 / 2),
    (7 / 4, -1 / 4, 1 / 2),
    (7 / 4, 1 / 4, 1 / 2),
)
DIAGONALS: Angles = tuple((x, 0, 1 / 2) for x in (1 / 4, 3 / 4, 5 / 4, 7 / 4))
# The views of PointCLIP's zero-shot and few-shot code, and those of V2.
SIX: Angles = SIDES + ENDS
TEN: Angles = SIDES + CORNERS + ENDS
TEN_V2: Angles = DIAGONALS + SIDES + ENDS
TILTS_V2: Angles = ((0, 1 / 9, 0),) * 8 + (
    (0, 1 / 15, 0),
) * 2  # a second rotation, which shows more of the surface
VIEW_SETS = {"6": SIX, "10": TEN, "v2": TEN_V2}

LEAST_DEPTH = 1e-12
POINTS_AT_ONCE = 1 << 21  # points x views that are in memory at a time
MAX_SIDE = 1024
MAX_LAYERS = 64


@dataclass(frozen=True)
class Perspective:
    """Settings of PointCLIP's projection; the defaults are those of its zero-shot code."""

    views: Angles = SIX
    tilts: Angles | None = None
    side: int = 128  # pixels
    distance: float = 1.6  # of the camera from the origin
    spread: tuple[int, int] = (1, 1)  # pixels of a point, down and across: 1 or even


@dataclass(frozen=True)
class Realistic:
    """Settings of V2's projection; the defaults are those of its code."""

    views: Angles = TEN_V2
    tilts: Angles | None = TILTS_V2
    side: int = 112  # pixels
    layers: int = 8
    scale: float = 0.8  # of the object in the image
    depth_bias: float = 0.2
    background: float = 0.0
    pool: tuple[int, int] = (1, 7)  # kernel of the maximum: layers, pixels
    pool_padding: tuple[int, int] = (0, 2)
    blur: tuple[int, int] = (1, 3)  # kernel of the Gaussian: layers, pixels
    blur_padding: tuple[int, int] = (0, 1)
    sigma: tuple[float, float] = (1, 3)  # of the Gaussian: layers, pixels


ZERO_SHOT = Perspective()
FEW_SHOT = Perspective(views=TEN, side=224, distance=1.4)
V2 = Realistic()
Projection = Perspective | Realistic


def rotations(views: Sequence[Sequence[float]]) -> Tensor:
    """Matrices [V, 3, 3] that are multiplied to points from the right: the transpose of Rx Ry Rz.

    Args:
        views: angles about x, y, z in units of pi.
    """
    angles = torch.tensor(views, dtype=torch.float64).mul(math.pi).float()
    (cx, cy, cz), (sx, sy, sz) = angles.cos().T, angles.sin().T
    one, zero = torch.ones_like(cx), torch.zeros_like(cx)

    def matrix(*rows: Tensor) -> Tensor:
        return torch.stack(rows, -1).reshape(-1, 3, 3)

    about_x = matrix(one, zero, zero, zero, cx, -sx, zero, sx, cx)
    about_y = matrix(cy, zero, sy, zero, one, zero, -sy, zero, cy)
    about_z = matrix(cz, -sz, zero, sz, cz, zero, zero, zero, one)
    return (about_x @ about_y @ about_z).transpose(1, 2)


def turn(points: Tensor, settings: Projection) -> Tensor:
    """Points [B, P, 3] as each view has them: [B, V, 3, P]; the same bits for any number of clouds, views and threads."""
    turns = matrices(settings).to(points)
    places = points.transpose(1, 2)[:, None]  # [B, 1, 3, P]
    # Sums in place of a product of matrices, which adds in an order that depends on its size and on the threads.
    total = places[..., 0, None, :] * turns[:, 0, :, None]
    for axis in (1, 2):
        total += places[..., axis, None, :] * turns[:, axis, :, None]
    return total


def matrices(settings: Projection) -> Tensor:
    """Matrices [V, 3, 3] of views and their tilts, multiplied to points from the right."""
    turns = rotations(settings.views)
    return turns if settings.tilts is None else turns @ rotations(settings.tilts)


def cameras(settings: Projection) -> Tensor:
    """Where the cameras stand in the cloud's own axes, [V, 3]: they look at the origin from there."""
    distance = settings.distance if isinstance(settings, Perspective) else 1.5
    return matrices(settings) @ torch.tensor([0.0, 0.0, -distance])


def project(points: Tensor, settings: Projection = ZERO_SHOT) -> Tensor:
    """Depth images [B, V, side, side] of clouds [B, P, 3] of unit radius, on their device, by either way.

    Raises:
        Refusal: "projection_setting" for settings that cannot be.
    """
    check(settings)
    way = _perspective if isinstance(settings, Perspective) else _realistic
    at_once = max(1, POINTS_AT_ONCE // max(points.shape[1], 1))
    if at_once >= len(points) * len(settings.views):
        return way(points, settings)
    rows = []
    for cloud in points:
        views = []
        for start in range(0, len(settings.views), at_once):
            part = slice(start, start + at_once)
            tilts = None if settings.tilts is None else settings.tilts[part]
            views.append(way(cloud[None], _with_views(settings, settings.views[part], tilts)))
        rows.append(torch.cat(views, 1))
    return torch.cat(rows)


def check(settings: Projection) -> None:
    """Refuses settings that cannot be."""
    wrong = None
    if not 8 <= settings.side <= MAX_SIDE:
        wrong = "side"
    elif not settings.views or (settings.tilts is not None and len(settings.tilts) != len(settings.views)):
        wrong = "views"
    elif isinstance(settings, Perspective):
        if not 0 < settings.distance <= 100:
            wrong = "distance"
        elif any(size != 1 and (size % 2 or not 1 <= size <= 16) for size in settings.spread):
            wrong = "spread"
    elif not 3 <= settings.layers <= MAX_LAYERS:
        wrong = "layers"
    elif not 0 < settings.scale <= 1:
        wrong = "scale"
    elif min(settings.sigma) <= 0:
        wrong = "sigma"
    if wrong:
        raise Refusal("projection_setting", name=wrong, value=str(getattr(settings, wrong))[:40])


def _with_views(settings: Projection, views: Angles, tilts: Angles | None) -> Projection:
    return replace(settings, views=views, tilts=tilts)


def _perspective(points: Tensor, settings: Projection) -> Tensor:
    assert isinstance(settings, Perspective)
    # 1. turn the cloud before each camera and step back
    x, y, depth = turn(points, settings).unbind(2)  # [B, V, P] each
    depth = depth + settings.distance
    # 2. the pixel of each point: image plane [-1, 1] -> side pixels, rounded up
    side, (down, across) = settings.side, settings.spread
    nearness = 1 / (depth + LEAST_DEPTH)
    row = (x * nearness + 1) * side / 2
    column = (y * nearness + 1) * side / 2
    steps = [torch.arange(size, device=points.device) - size / 2 for size in (down, across)]
    row = (row[..., None] + steps[0]).ceil()[..., :, None]  # [B, V, P, down, 1]
    column = (column[..., None] + steps[1]).ceil()[..., None, :]  # [B, V, P, 1, across]
    inside = (row >= 0) & (row < side) & (column >= 0) & (column < side) & (depth >= 0)[..., None, None]
    # 3. sums of 1 and of 1/depth over the points of a pixel; points outside go to a pixel that is cut off
    count = len(points) * len(settings.views)
    first = torch.arange(count, device=points.device).reshape(len(points), -1, 1, 1, 1) * side * side
    # Whole numbers before they are added: float32 has no odd ones above 2^24.
    own = (row * side + column).where(inside, 0).long()
    pixel = torch.where(inside, first + own, count * side * side).flatten()
    weights = nearness[..., None, None].expand(inside.shape).flatten()
    sums = torch.bincount(pixel, weights, count * side * side + 1)[:-1]
    hits = torch.bincount(pixel, minlength=count * side * side + 1)[:-1]
    depths = hits / sums.where(hits > 0, 1)
    return depths.to(points.dtype).reshape(len(points), -1, side, side)


def _realistic(points: Tensor, settings: Projection) -> Tensor:
    assert isinstance(settings, Realistic)
    side, layers = settings.side, settings.layers
    # 1. quantise: the box around the turned cloud becomes a grid of layers x side x side
    places = turn(points, settings)  # [B, V, 3, P]
    high, low = places.amax(-1, keepdim=True), places.amin(-1, keepdim=True)
    places = (places - (high + low) / 2) / (high - low).amax(2, keepdim=True) * 2
    x, y, z = places.unbind(2)
    row = ((x * settings.scale + 1) / 2 * side).ceil().clamp(1, side - 2)
    column = ((y * settings.scale + 1) / 2 * side).ceil().clamp(1, side - 2)
    value = ((z + 1) / 2 + settings.depth_bias) / (1 + settings.depth_bias) * (layers - 2)  # [B, V, P]
    layer = value.ceil().clamp(0, layers - 1)
    count = len(points) * len(settings.views)
    first = torch.arange(count, device=points.device).reshape(len(points), -1, 1) * layers
    voxel = ((first + layer.long()) * side * side + (row * side + column).long()).flatten()
    grid = torch.full((count * layers * side * side,), settings.background, device=points.device)
    grid = grid.scatter_reduce(0, voxel, value.clamp(1, layers - 2).flatten(), "amax").to(points.dtype)
    grid = grid.reshape(count, layers, side, side)
    # 2. densify: a maximum over a box is one along each of its sides in turn
    # 3. smooth: so is a Gaussian
    for axis, part in ((-3, 0), (-2, 1), (-1, 1)):
        grid = _largest(grid, axis, settings.pool[part], settings.pool_padding[part])
    for axis, part in ((-3, 0), (-2, 1), (-1, 1)):
        grid = _blurred(grid, axis, settings.blur[part], settings.blur_padding[part], settings.sigma[part])
    # 4. squeeze, and white where nothing is
    image = grid.amax(1)  # [B V, side, side]
    image = 1 - image / image.amax((-2, -1), keepdim=True).clamp_min(LEAST_DEPTH)
    return image.reshape(len(points), -1, *image.shape[-2:])


def _padded(grid: Tensor, axis: int, padding: int, value: float) -> Tensor:
    """The grid with more cells before and behind it along one of its last axes."""
    return F.pad(grid, [0, 0] * (-axis - 1) + [padding, padding], value=value) if padding else grid


def _largest(grid: Tensor, axis: int, size: int, padding: int) -> Tensor:
    """The maximum over windows along an axis: windows of 2, 4, 8, ... cells, then two of them that overlap.

    A pooling layer of torch takes a hundred times as long on images of one channel.
    """
    grid, width = _padded(grid, axis, padding, -math.inf), 1
    while width < size:
        step = min(width, size - width)
        length = grid.shape[axis] - step
        grid = torch.maximum(grid.narrow(axis, 0, length), grid.narrow(axis, step, length))
        width += step
    return grid


def _blurred(grid: Tensor, axis: int, size: int, padding: int, sigma: float) -> Tensor:
    """A Gaussian of sum 1 along an axis."""
    weights = [math.exp(-((at - size // 2) ** 2) / (2 * sigma**2)) for at in range(size)]
    grid = _padded(grid, axis, padding, 0)
    length = grid.shape[axis] - size + 1
    total = grid.narrow(axis, 0, length) * (weights[0] / sum(weights))
    for at in range(1, size):
        total.add_(grid.narrow(axis, at, length), alpha=weights[at] / sum(weights))
    return total


def as_pixels(views: Tensor, side: int) -> Tensor:
    """Depth images [B, V, h, w] as three equal channels of another side: [B V, 3, side, side], as both codes resize them."""
    flat = views.flatten(0, 1)[:, None]
    if flat.shape[-2:] != (side, side):
        flat = F.interpolate(flat, size=(side, side), mode="bilinear", align_corners=True)
    return flat.expand(-1, 3, -1, -1)
