"""The objects of scenes, drawn: each cut out of its canvas, because most cover only a part of it."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from core.classroom.world import renderings, sprites
from core.classroom.world.atlas import LEVELS, Atlas, Packed
from core.classroom.world.grounds import windows
from core.classroom.world.specs import Spec, nearness

# Channels of a sprite.
ALL, OPACITY, INKED = slice(None), slice(3, None), slice(None, None, 3)


@dataclass(frozen=True)
class Cutouts:
    """N objects of N scenes that fit into squares of one side s, and where on their canvases these are.

    All have one rank from the eye. Indices are on the CPU. patch is premultiplied colour and opacity, or opacity alone
    where the scenes want no more.
    """

    rank: int
    owner: Tensor  # [N] scene
    slot: Tensor  # [N]
    top: Tensor  # [N] pixels
    left: Tensor  # [N]
    patch: Tensor  # [N, 4 or 1, s, s]
    shape: Tensor  # [N, s, s], see `Scenes`

    def crops(self, canvas: Tensor) -> tuple[Tensor, tuple[Tensor, slice, Tensor, Tensor]]:
        """Of canvases [B, C, H, W] a view and an index into it: these objects' squares [N, C, s, s]."""
        owner, top, left = (index.to(canvas.device) for index in (self.owner, self.top, self.left))
        return windows(canvas, self.shape.shape[-1]), (owner, slice(None), top, left)


@dataclass(frozen=True)
class _Things:
    """The rows of a Spec that drawing needs, [M, ...] over the objects that are there."""

    sprite: Tensor
    x: Tensor
    y: Tensor
    half: Tensor
    affine: Tensor
    warp: Tensor
    colour: Tensor
    ink: Tensor
    fill: Tensor
    outline: Tensor

    def take(self, rows: Tensor, device: torch.device) -> _Things:
        return _Things(**{f.name: getattr(self, f.name)[rows].to(device) for f in fields(self)})


def draw(spec: Spec, uncoloured: Tensor, atlas: Atlas, size: int) -> list[Cutouts]:
    """Every present object of the scenes as on a canvas of size x size, those of about one size together.

    uncoloured [B] bool: scenes that want the opacity of their objects only.
    """
    owner, slot = torch.nonzero(spec.present, as_tuple=True)
    rank = nearness(spec)[owner, slot]
    things = _Things(**{f.name: getattr(spec, f.name)[owner, slot] for f in fields(_Things)})
    cell_half = things.half * (sprites.CELL / sprites.INNER)
    level = torch.full((len(owner),), len(LEVELS) - 1)
    for i in range(len(LEVELS) - 2, -1, -1):
        level = torch.where(cell_half * size * 1.6 > LEVELS[i], i, level)
    linear = things.affine / cell_half[:, None, None]
    centre = torch.stack([things.x, things.y], -1)
    theta = torch.cat([linear, -(linear @ centre[..., None])], -1)  # canvas -> drawing
    low, high = _extent(things, cell_half, centre, level, atlas, size)
    side = (high - low).amax(1)
    # On a CPU, few at a time: its caches then hold all of a group.
    most = 64 if atlas.device.type == "cpu" else 4096
    sort = (uncoloured[owner] * spec.present.shape[1] + rank) * len(LEVELS) + level
    order = (sort * (size + 1) + side).argsort()
    # In a group, drawings in one colour come first, then painted ones without an outline, then those with one.
    kind = torch.where(atlas.mono[things.sprite], 0, 1 + (things.outline > 0).long())
    cutouts = []
    for of_one_sort in order.split(sort.bincount().tolist()):
        for rows in of_one_sort.split(most):
            if not len(rows):
                continue
            first, s = int(rows[0]), int(side[rows[-1]])
            rows = rows[kind[rows].argsort(stable=True)]
            left, top = low[rows].clamp(max=size - s).unbind(1)
            counts = kind[rows].bincount(minlength=3).tolist()
            grid = _grid(theta[rows], things.warp[rows], top, left, s, size, atlas.device)
            looks = things.take(rows, atlas.device)
            drawings = atlas.levels[LEVELS[int(level[first])]]
            paint = _opacity if uncoloured[owner[first]] else _painted
            patch, shape = paint(looks, grid, drawings, counts)
            cutouts.append(Cutouts(int(rank[first]), owner[rows], slot[rows], top, left, patch, shape))
    return cutouts


def _extent(
    things: _Things, cell_half: Tensor, centre: Tensor, level: Tensor, atlas: Atlas, size: int
) -> tuple[Tensor, Tensor]:
    """First and last + 1 pixel (x, y) [M, 2] of all that an object may touch, a pixel of outline included."""
    box = atlas.box[things.sprite]  # [M, 4] in drawing units
    cell = torch.tensor(LEVELS)[level][:, None]
    # Coarser levels spread the border over one of their pixels, interpolation over half a pixel more.
    reach = (box[:, 2:] - box[:, :2]) / 2 + 3 / cell + things.warp.abs().amax((2, 3))
    (a, b), (c, d) = (row.unbind(-1) for row in things.affine.unbind(-2))
    back = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    back = back * (cell_half / (a * d - b * c))[:, None, None]  # drawing -> canvas
    middle = centre + (back @ ((box[:, 2:] + box[:, :2]) / 2)[..., None])[..., 0]
    half = (back.abs() @ reach[..., None])[..., 0]
    low = ((middle - half + 1) * (size / 2) - 0.5).floor() - 1
    high = ((middle + half + 1) * (size / 2) - 0.5).ceil() + 1
    return low.clamp(0, size - 1).long(), high.clamp(0, size - 1).long() + 1


def _grid(
    theta: Tensor, warp: Tensor, top: Tensor, left: Tensor, side: int, size: int, device: torch.device
) -> Tensor:
    """[N, 2, s, s] where each pixel of the crops looks into its drawing."""
    theta, top, left = theta.to(device), top.to(device), left.to(device)
    step = torch.arange(side, device=device)
    axis = (torch.arange(size, device=device) + 0.5) * (2 / size) - 1
    x, y = axis[left[:, None] + step][:, None, None], axis[top[:, None] + step][:, None, :, None]
    along, down, shift = theta[..., None, None].unbind(2)  # [N, 2, 1, 1] each
    grid = torch.addcmul(along * x, down, y).add_(shift)
    bent = torch.nonzero(warp.flatten(1).any(1))[:, 0].to(device)
    if len(bent):
        bend = F.interpolate(warp.to(device)[bent], size=(size, size), mode="bilinear", align_corners=True)
        if side < size:
            bend = windows(bend, side)[torch.arange(len(bent), device=device), :, top[bent], left[bent]]
        grid[bent] = grid.index_select(0, bent).add_(bend)
    return grid


def _look_up(drawings: Tensor | Packed, channels: slice, sprite: Tensor, grid: Tensor) -> Tensor:
    """Some channels C of drawings uint8 [S, 4, c, c] where grid [N, 2, s, s] looks -> [N, C, s, s] in [0, 1]."""
    cells = drawings[sprite] if isinstance(drawings, Packed) else drawings.index_select(0, sprite)
    cells = cells[:, channels].float().div_(255)
    return F.grid_sample(cells, grid.permute(0, 2, 3, 1), padding_mode="zeros", align_corners=False)


def _painted(
    things: _Things, grid: Tensor, drawings: Tensor | Packed, counts: list[int]
) -> tuple[Tensor, Tensor]:
    """Patches [N, 4, s, s] and shapes [N, s, s] of drawings [S, 4, c, c]; counts: in one colour, painted, outlined."""
    n, _, s, _ = grid.shape
    inked, lined = counts[0], counts[0] + counts[1]
    patch = torch.empty(n, 4, s, s, device=grid.device)
    shape = torch.empty(n, s, s, device=grid.device)
    if inked:
        fill, ink = things.fill[:inked, :, None, None], things.ink[:inked, :, None, None]
        enclosed, lines = _look_up(drawings, INKED, things.sprite[:inked], grid[:inked]).split(1, 1)
        whole = torch.maximum(enclosed, lines)
        inside = (whole - lines).mul_(fill[:, 3:])
        torch.mul(ink, lines, out=patch[:inked, :3]).add_(fill[:, :3] * inside)
        torch.add(lines, inside, out=patch[:inked, 3:])
        shape[:inked] = whole[:, 0]
    if inked < n:
        seen = _look_up(drawings, ALL, things.sprite[inked:], grid[inked:])
        mixed = torch.bmm(things.colour[inked:], seen.flatten(2)).clamp_(min=0).view(-1, 3, s, s)
        torch.minimum(mixed, seen[:, 3:], out=patch[inked:, :3])
        patch[inked:, 3:] = seen[:, 3:]
    if lined < n:
        strength = things.outline[lined:, None, None, None]
        colour, opacity = patch[lined:].split([3, 1], 1)
        ring = renderings.grown(opacity)
        inner = renderings.edges(torch.add(colour, 1 - opacity, alpha=0.5)).mul_(3).sub_(0.4).clamp_(0, 1)
        colour.mul_(1 - strength * torch.maximum(inner, ring - opacity))
        opacity.copy_(torch.maximum(opacity, ring.mul_(strength)))
    shape[inked:] = patch[inked:, 3]
    return patch, shape


def _opacity(
    things: _Things, grid: Tensor, drawings: Tensor | Packed, counts: list[int]
) -> tuple[Tensor, Tensor]:
    """The opacity [N, 1, s, s] alone of what `_painted` draws, and the shapes."""
    inked, lined = counts[0], counts[0] + counts[1]
    if inked:
        enclosed, lines = _look_up(drawings, INKED, things.sprite[:inked], grid[:inked]).split(1, 1)
        whole = torch.maximum(enclosed, lines)
        filled = lines + (whole - lines).mul_(things.fill[:inked, 3:, None, None])
    seen = _look_up(drawings, OPACITY, things.sprite[inked:], grid[inked:])
    strength = things.outline[lined:, None, None, None]
    seen[lined - inked :] = torch.maximum(
        seen[lined - inked :], renderings.grown(seen[lined - inked :]) * strength
    )
    if not inked:
        return seen, seen[:, 0]
    return torch.cat([filled, seen]), torch.cat([whole, seen])[:, 0]
