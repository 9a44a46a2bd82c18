"""The rasterizer in plain PyTorch: only the pixels that a stroke can touch, one pass for the whole batch.

A stroke is the set of points within half a width of its curve, so a pixel needs one number of it, its
distance to the curve. The steps, 1 to 3 in `torch_coverage`:

1. every cubic becomes a polyline of K chords; each chord lists the tiles of 4 x 4 pixels around it;
2. in those tiles the nearest chord of every stroke is found (one scatter-min), and pixels well inside or well
   outside the stroke are settled;
3. on the rest, which an edge may cross, Newton's method finds the nearest point of the curve itself, and the
   coverage is the area of the unit pixel between the two half-planes that the edges are there. Where the
   stroke ends or turns sharply, each quarter of a pixel is treated so by itself;
4. the layers of a tile are composited in paint order by scans over its run of (tile, stroke) pairs.

The gradient is analytic and is the derivative of exactly this coverage, with how the edge turns: by the
envelope theorem the nearest point's own movement along the curve matters only for the edge's direction.

Letters: B scenes, S strokes, J cubics of a stroke, M = B S J, K chords of a cubic, L (tile, stroke) pairs,
R rows of 16 samples, E samples on an edge, U tiles that are touched.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from core.drawing.rasterize.torch_coverage import (
    PIXELS,
    TILE,
    Edge,
    Pairs,
    control_gradient,
    coverage,
    nearest,
    pair_up,
)
from core.runtime import one_thread

# Points further out are brought here: far beyond any canvas, and float32 can still square the distance.
FARTHEST = 1e6


def render(
    points: Tensor, widths: Tensor, colors: Tensor, size: tuple[int, int], background: Tensor
) -> Tensor:
    """Strokes to pixels; shapes and ranges as `core.drawing.rasterize.render`, which checks them.

    Args:
        background: [B or 1, 3, H or 1, W or 1], not differentiated.
    """
    image: Tensor = _Render.apply(points, widths, colors, size, background)
    return image


@dataclass
class _Layers:
    """The runs of pairs that share a tile, as needed by scans over each run."""

    tile: Tensor  # [U] the tiles that are touched
    run: Tensor  # [L] row of `tile`
    first: Tensor  # [U] the lowest layer of each run
    above: Tensor  # [L] layers of the same tile painted later
    below: Tensor  # [L] layers of the same tile painted earlier
    depth: int


def _layers(tile: Tensor) -> _Layers:
    tiles, run, counts = torch.unique_consecutive(tile, return_inverse=True, return_counts=True)
    first = counts.cumsum(0) - counts
    below = torch.arange(tile.numel(), device=tile.device) - first.index_select(0, run)
    above = counts.index_select(0, run) - 1 - below
    return _Layers(tiles, run, first, above, below, int(counts.max()))


def _shifted(values: Tensor, steps: int, count: Tensor, fill: float) -> Tensor:
    """Row i + steps of values [L, 16] where `count` layers lie that way, else `fill`."""
    L = values.shape[0]
    rows = torch.arange(steps, L + steps, device=values.device).masked_fill_(count < abs(steps), L)
    return torch.cat([values, values.new_full((1, PIXELS), fill)]).index_select(0, rows)


def _transmittance_above(through: Tensor, layers: _Layers) -> Tensor:
    """What the layers painted later let through, [L, 16]: a product over the rest of the run, by doubling."""
    product = _shifted(through, 1, layers.above, 1)
    step = 1
    while step < layers.depth:
        product = product * _shifted(product, step, layers.above, 1)
        step *= 2
    return product


def _composite_below(through: Tensor, own: Tensor, ground: Tensor, layers: _Layers) -> Tensor:
    """Value below each layer [L, 16]; a layer turns x into through * x + own, and x starts at `ground`."""
    factor, total = through, own
    step = 1
    while step < layers.depth:
        total = torch.addcmul(total, factor, _shifted(total, -step, layers.below, 0))
        factor = factor * _shifted(factor, -step, layers.below, 1)
        step *= 2
    return torch.addcmul(_shifted(total, -1, layers.below, 0), ground, _shifted(factor, -1, layers.below, 1))


class _Canvas:
    """Where the pixels of a tile lie in an image whose sides are padded to whole tiles."""

    def __init__(self, scenes: int, size: tuple[int, int], tile: Tensor) -> None:
        self.scenes, (self.height, self.width) = scenes, size
        self.rows, self.columns = -(-self.height // TILE), -(-self.width // TILE)
        self.padded = scenes, 3, self.rows * TILE, self.columns * TILE
        row = torch.div(tile, self.columns, rounding_mode="trunc")
        self.scene = torch.div(row, self.rows, rounding_mode="trunc")
        stride, plane = self.columns * TILE, self.padded[2] * self.padded[3]
        corner = (row + self.scene * 2 * self.rows) * (TILE * stride) + (tile - row * self.columns) * TILE
        step = torch.arange(TILE, device=tile.device)
        within = (step[:, None] * stride + step).flatten() + (step[:3] * plane)[:, None]  # [3, 16]
        self.place = corner[:, None, None] + within  # [U, 3, 16]

    def take(self, image: Tensor) -> Tensor:
        """The tiles [U, 3, 16] of an image [B, 3, H, W]."""
        across, down = self.padded[3] - self.width, self.padded[2] - self.height
        if across or down:
            image = F.pad(image, (0, across, 0, down))
        return image.reshape(-1).index_select(0, self.place.flatten()).view(self.place.shape)

    def put(self, image: Tensor, tiles: Tensor) -> Tensor:
        """A copy of the image with the tiles replaced."""
        padded = image.new_zeros(self.padded)
        padded[:, :, : self.height, : self.width] = image
        padded.view(-1).index_copy_(0, self.place.flatten(), tiles.flatten())
        return padded[:, :, : self.height, : self.width].contiguous()


@dataclass
class _Record:
    """What the backward pass needs of the forward pass."""

    pairs: Pairs
    edge: Edge
    by_distance: Tensor  # [E] derivatives of a sample's part of the coverage
    by_radius: Tensor  # [E]
    by_angle: Tensor  # [E]
    layers: _Layers
    canvas: _Canvas
    paint: Tensor  # [L, 4]
    covered: Tensor  # [L, 16]
    above: Tensor  # [L, 16] what later layers let through
    ground: Tensor  # [U, 3, 16 or 1] the background


class _Render(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        points: Tensor,
        widths: Tensor,
        colors: Tensor,
        size: tuple[int, int],
        background: Tensor,
    ) -> Tensor:
        differentiable = any(ctx.needs_input_grad[:3])  # type: ignore[attr-defined]
        with (
            one_thread()
        ):  # of operators of microseconds: on busy cores OpenMP's spinning costs a hundredfold
            image, record = _forward(points, widths, colors, size, background, differentiable)
        ctx.record, ctx.shape = record, points.shape  # type: ignore[attr-defined]
        ctx.save_for_backward(widths)
        return image

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        record, shape = ctx.record, ctx.shape  # type: ignore[attr-defined]
        (widths,) = ctx.saved_tensors  # type: ignore[attr-defined]
        with one_thread():
            points_grad, widths_grad, colors_grad = _backward(record, shape, grads[0])
        # A width below zero is drawn as zero.
        return points_grad, widths_grad.masked_fill_(widths < 0, 0), colors_grad, None, None


def _forward(
    points: Tensor,
    widths: Tensor,
    colors: Tensor,
    size: tuple[int, int],
    background: Tensor,
    differentiable: bool,
) -> tuple[Tensor, _Record | None]:
    B = points.shape[0]
    points = points.clamp(-FARTHEST, FARTHEST)
    radius = widths.flatten().clamp(0, FARTHEST) / 2  # [B * S]
    pairs = pair_up(points, radius, *size) if points.numel() else None
    if pairs is None:
        return background.expand(B, 3, *size).clone(), None

    # 3. Coverage of the samples on an edge.
    p0, p1, p2, p3 = points.unfold(2, 4, 3).permute(4, 3, 0, 1, 2).reshape(4, 2, -1)  # [2, M] each
    powers = torch.stack([p0, 3 * (p1 - p0), 3 * (p2 - 2 * p1 + p0), p3 - p0 + 3 * (p1 - p2)])
    edge = nearest(powers.index_select(2, pairs.cubic), pairs.centre, pairs.start)
    part, by_distance, by_radius, by_angle = coverage(edge, radius.index_select(0, pairs.owner), pairs.side)
    covered = pairs.coverage.index_add_(0, pairs.pixel, part).view(-1, PIXELS)  # [L, 16]

    # 4. "Over" in paint order: a layer's weight is its opacity times what later layers let through.
    layers = _layers(pairs.tile)
    paint = colors.reshape(-1, 4).index_select(0, pairs.stroke)  # [L, 4]
    opacity = covered * paint[:, 3:]
    through = 1 - opacity
    above = _transmittance_above(through, layers)
    weight = opacity * above
    canvas = _Canvas(B, size, layers.tile)
    if background[0, 0].numel() == 1:
        ground = background.expand(B, 3, 1, 1).flatten(2).index_select(0, canvas.scene)  # [U, 3, 1]
    else:
        ground = canvas.take(background.expand(B, 3, *size))  # [U, 3, 16]
    total = (through * above).index_select(0, layers.first)  # [U, 16]
    tiles = (ground * total[:, None]).view(-1, 3 * PIXELS)
    tiles.index_add_(0, layers.run, (weight[:, None] * paint[:, :3, None]).view(-1, 3 * PIXELS))
    image = canvas.put(background, tiles)
    if not differentiable:
        return image, None
    return image, _Record(
        pairs, edge, by_distance, by_radius, by_angle, layers, canvas, paint, covered, above, ground
    )


def _backward(record: _Record | None, shape: torch.Size, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    B, S, P, _ = shape
    points_grad, widths_grad = grad.new_zeros(shape), grad.new_zeros(B * S)
    colors_grad = grad.new_zeros(4, B * S)
    if record is not None:
        pairs, layers, paint = record.pairs, record.layers, record.paint

        # Layer i shows weight_i color_i; making it denser replaces what is below it by its own colour.
        upstream = record.canvas.take(grad)  # [U, 3, 16]
        floor = (upstream * record.ground).sum(1).index_select(0, layers.run)  # [L, 16]
        upstream = upstream.index_select(0, layers.run)  # [L, 3, 16]
        own = (upstream * paint[:, :3, None]).sum(1)  # [L, 16]
        opacity = record.covered * paint[:, 3:]
        below = _composite_below(1 - opacity, opacity * own, floor, layers)
        by_opacity = record.above * (own - below)
        by_color = (upstream * (opacity * record.above)[:, None]).sum(2)  # [L, 3]
        by_alpha = (by_opacity * record.covered).sum(1)
        for total, values in zip(colors_grad, (*by_color.T, by_alpha), strict=True):
            total.index_add_(0, pairs.stroke, values)

        by_coverage = (by_opacity * paint[:, 3:]).flatten().index_select(0, pairs.pixel)  # [E]
        widths_grad.index_add_(0, pairs.owner, by_coverage * record.by_radius / 2)
        control = control_gradient(
            record.edge, by_coverage * record.by_distance, by_coverage * record.by_angle
        )  # [4, 2, E]
        cubics = grad.new_zeros(8, B * S * ((P - 1) // 3))
        for total, values in zip(cubics, control.view(8, -1), strict=True):
            total.index_add_(0, pairs.cubic, values)
        cubics = cubics.view(4, 2, B, S, -1).permute(2, 3, 4, 0, 1)  # [B, S, J, 4, 2]
        # Neighbouring cubics share a point: the first three of each, and the last of all.
        points_grad[:, :, :-1] = cubics[:, :, :, :3].reshape(B, S, P - 1, 2)
        points_grad[:, :, 3::3] += cubics[:, :, :, 3]
    return points_grad, widths_grad.view(B, S), colors_grad.T.reshape(B, S, 4)
