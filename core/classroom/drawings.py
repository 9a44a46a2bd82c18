"""The objects of scenes, drawn: each cut out of its canvas, because most cover only a part of it."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from core.classroom import renderings, sprites
from core.classroom.atlas import LEVELS, Atlas
from core.classroom.grounds import windows
from core.classroom.specs import Spec, nearness


@dataclass(frozen=True)
class Cutouts:
    """N objects that fit into squares of one side s, and where on their canvases these are; indices on the CPU."""

    owner: Tensor  # [N] scene
    slot: Tensor  # [N]
    rank: Tensor  # [N] from the eye
    top: Tensor  # [N] pixels
    left: Tensor  # [N]
    patch: Tensor  # [N, 4, s, s] premultiplied colour and opacity
    shape: Tensor  # [N, s, s], see `Scenes`

    @property
    def side(self) -> int:
        return self.shape.shape[-1]

    def places(self, rows: Tensor | slice, device: torch.device) -> tuple[Tensor, slice, Tensor, Tensor]:
        """Index into `windows` of canvases [B, C, H, W]: the crops of these rows."""
        owner, top, left = (index[rows].to(device) for index in (self.owner, self.top, self.left))
        return owner, slice(None), top, left


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


def draw(spec: Spec, atlas: Atlas, size: int) -> list[Cutouts]:
    """Every present object of the scenes as on a canvas of size x size, those of about one size together."""
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
    group = 32 if atlas.device.type == "cpu" else 4096
    # In a group, drawings in one colour come first, then painted ones without an outline, then those with one.
    kind = torch.where(atlas.mono[things.sprite], 0, 1 + (things.outline > 0).long())
    cutouts = []
    order = side.argsort()
    for i, cell in enumerate(LEVELS):
        for rows in order[level[order] == i].split(group):
            if not len(rows):
                continue
            s = int(side[rows[-1]])
            rows = rows[kind[rows].argsort(stable=True)]
            left, top = low[rows].clamp(max=size - s).unbind(1)
            counts = kind[rows].bincount(minlength=3).tolist()
            grid = _grid(theta[rows], things.warp[rows], top, left, s, size, atlas.device)
            patch, shape = _painted(things.take(rows, atlas.device), grid, atlas.levels[cell], counts)
            cutouts.append(Cutouts(owner[rows], slot[rows], rank[rows], top, left, patch, shape))
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


def _painted(things: _Things, grid: Tensor, drawings: Tensor, counts: list[int]) -> tuple[Tensor, Tensor]:
    """Patches [N, 4, s, s] and shapes [N, s, s] of drawings [S, 4, c, c]; counts: in one colour, painted, outlined."""
    n, _, s, _ = grid.shape
    inked, painted, _ = counts
    patch = torch.empty(n, 4, s, s, device=grid.device)
    shape = torch.empty(n, s, s, device=grid.device)
    places = grid.permute(0, 2, 3, 1)

    def look(rows: slice, channels: slice) -> Tensor:
        cells = drawings[:, channels].index_select(0, things.sprite[rows]).float().div_(255)
        return F.grid_sample(cells, places[rows], padding_mode="zeros", align_corners=False)

    if inked:
        rows = slice(0, inked)
        fill, ink = things.fill[rows, :, None, None], things.ink[rows, :, None, None]
        enclosed, lines = look(rows, slice(0, 4, 3)).split(1, 1)
        whole = torch.maximum(enclosed, lines)
        inside = (whole - lines).mul_(fill[:, 3:])
        torch.mul(ink, lines, out=patch[rows, :3]).add_(fill[:, :3] * inside)
        torch.add(lines, inside, out=patch[rows, 3:])
        shape[rows] = whole[:, 0]
    if inked < n:
        rows = slice(inked, n)
        seen = look(rows, slice(0, 4))
        mixed = torch.bmm(things.colour[rows], seen.flatten(2)).clamp_(min=0).view(-1, 3, s, s)
        torch.minimum(mixed, seen[:, 3:], out=patch[rows, :3])
        patch[rows, 3:] = seen[:, 3:]
    lined = slice(inked + painted, n)
    if inked + painted < n:
        strength = things.outline[lined, None, None, None]
        colour, opacity = patch[lined].split([3, 1], 1)
        ring = renderings.grown(opacity)
        inner = (renderings.edges(torch.add(colour, 1 - opacity, alpha=0.5)) * 3 - 0.4).clamp_(0, 1)
        colour.mul_(1 - strength * torch.maximum(inner, ring - opacity))
        opacity.copy_(torch.maximum(opacity, strength * ring))
    shape[inked:] = patch[inked:, 3]
    return patch, shape
