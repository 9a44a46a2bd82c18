"""The sprites on a device: one tensor of premultiplied RGBA in three sizes, and the tables that index it.

Sprite indices run over every (style, concept) that is drawn, then over the poses of the sheep.
S is the number of sprites, C of concepts, T of styles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core.classroom.world import sprites
from core.classroom.world.concepts import by_code, concepts

LEVELS = (96, 48, 24)
POSES = ("standing", "eating", "lying")
SHEEP = "1F411"


class Atlas:
    """Sprites ready to be composed.

    levels: per size c of LEVELS a uint8 tensor [S, 4, c, c], premultiplied. A drawing in one colour keeps its ink in
        channel 3 and, since its colour is free, the area that the ink encloses in channel 0.
    concept, style: [S] indices. mono: [S] drawn in one colour.
    table: [T, C, 3 poses] sprite index, -1 where a style has no drawing.
    box: [S, 4] xyxy, what a drawing covers of its cell [-1, 1] x [-1, 1].
    """

    def __init__(
        self, cells: Mapping[str, Mapping[str, sprites.Sprite]], mono: Mapping[str, bool], device: str = "cpu"
    ) -> None:
        self.styles = tuple(cells)
        stack: list[sprites.Sprite] = []
        concept: list[int] = []
        style: list[int] = []
        table = torch.full((len(cells), len(concepts()), len(POSES)), -1, dtype=torch.long)
        for t, (_, drawings) in enumerate(cells.items()):
            for code, cell in drawings.items():
                poses = [cell]
                if code == SHEEP:
                    poses += [eating(cell), lying(cell)]
                for p, drawing in enumerate(poses):
                    table[t, by_code()[code].index, p] = len(stack)
                    stack.append(drawing)
                    concept.append(by_code()[code].index)
                    style.append(t)
        self.device = torch.device(device)
        self.table = table
        self.concept = torch.tensor(concept)
        self.style = torch.tensor(style)
        self.mono = torch.tensor([mono[name] for name in cells], dtype=torch.bool)[self.style]
        self.levels: dict[int, Tensor] = {}
        rgba = torch.from_numpy(np.stack(stack)).permute(0, 3, 1, 2)
        top = torch.empty(rgba.shape, dtype=torch.uint8)
        for part in torch.arange(len(rgba)).split(256):
            values = rgba[part].float()
            values[:, :3] *= values[:, 3:] / 255
            top[part] = values.round().to(torch.uint8)
        inked = torch.nonzero(self.mono)[:, 0]
        top[inked, 0] = enclosed(top[inked, 3])
        self.levels[LEVELS[0]] = top.to(self.device)
        for size in LEVELS[1:]:
            halves = [F.avg_pool2d(part.float(), 2).round().to(torch.uint8) for part in top.split(256)]
            top = torch.cat(halves)
            self.levels[size] = top.to(self.device)
        self.box = boxes(self.levels[LEVELS[0]]).cpu()

    def __len__(self) -> int:
        return len(self.concept)

    def drawable(self, styles: Sequence[int] | None = None) -> Tensor:
        """[C] bool: concepts that at least one of the styles (all when None) draws."""
        table = self.table if styles is None else self.table[list(styles)]
        return (table[:, :, 0] >= 0).any(0)


@lru_cache(maxsize=4)
def open_atlas(styles: tuple[str, ...] = tuple(sprites.STYLES), device: str = "cpu") -> Atlas:
    """The committed sheets of these styles; kept, so that every page and recipe shares one copy."""
    cells = {}
    for style in styles:
        sheet = sprites.sheet(style)
        cells[style] = {code: sheet[by_code()[code].index] for code in sprites.drawn()[style]}
    return Atlas(cells, sprites.STYLES, device)


def enclosed(ink: Tensor) -> Tensor:
    """The shape that ink outlines, its holes filled: uint8 [N, c, c] -> uint8 [N, c, c].

    The outside floods in from the border at half resolution, one pixel a step, until nothing changes.
    """
    wall = F.max_pool2d(ink[:, None].float(), 2)[:, 0] > 90
    outside = torch.zeros_like(wall)
    outside[:, [0, -1]] = True
    outside[:, :, [0, -1]] = True
    while True:
        # A 3 x 3 neighbourhood by shifts: on a CPU many times faster than a pooling window.
        grown = outside.clone()
        grown[:, 1:] |= outside[:, :-1]
        grown[:, :-1] |= outside[:, 1:]
        rows = grown.clone()
        grown[:, :, 1:] |= rows[:, :, :-1]
        grown[:, :, :-1] |= rows[:, :, 1:]
        grown &= ~wall
        if not (grown & ~outside).any():
            break
        outside |= grown
    inside = F.interpolate((~outside)[:, None].float(), scale_factor=2, mode="bilinear", align_corners=False)
    return (inside[:, 0] * 255).round().to(torch.uint8)


def boxes(drawings: Tensor) -> Tensor:
    """What is drawn of each cell [-1, 1] x [-1, 1], xyxy: uint8 [N, 4, c, c] -> float [N, 4]. Blank cells count whole."""
    side = drawings.shape[-1]
    ink = torch.maximum(drawings[:, 0], drawings[:, 3])
    columns, rows = ink.amax(1) > 0, ink.amax(2) > 0  # [N, c]
    first = torch.stack([columns, rows], 1).byte().argmax(2)
    last = side - torch.stack([columns, rows], 1).flip(2).byte().argmax(2)
    return torch.cat([first, last], 1) * (2 / side) - 1


def eating(cell: sprites.Sprite) -> sprites.Sprite:
    """The sheep with its head (on the left in every sheet) bent down to a tuft of grass."""
    size = len(cell)
    x = (np.arange(size) + 0.5) / size
    bend = np.clip((0.52 - x) / 0.3, 0, 1)
    drop = (0.34 * size * bend * bend * (3 - 2 * bend)).round().astype(int)
    bent = np.zeros_like(cell)
    for column, down in enumerate(drop):
        bent[down:, column] = cell[: size - down, column]
    return _grass(bent)


def lying(cell: sprites.Sprite) -> sprites.Sprite:
    """The sheep on the ground: its legs folded to a sliver, the body flattened and widened."""
    rows = np.flatnonzero(cell[..., 3].max(1) > 60)
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    knee = top + round(0.74 * (bottom - top))
    height = round(0.62 * (bottom - top))
    sliver = max(2, round(0.05 * (bottom - top)))
    sources = np.concatenate(
        [np.linspace(top, knee - 1, height - sliver), np.linspace(knee, bottom - 1, sliver)]
    ).round()
    flat = np.zeros_like(cell)
    start = bottom - height
    flat[start:bottom] = cell[sources.astype(int)]
    return flat


def _grass(cell: sprites.Sprite) -> sprites.Sprite:
    """A tuft under the muzzle: green, or in ink where the drawing has one colour."""
    size = len(cell)
    mono = not cell[..., :3][cell[..., 3] > 60].any()
    colour = (0, 0, 0) if mono else (58, 150, 60)
    rows = np.arange(size)[:, None]
    columns = np.arange(size)[None]
    out = cell.copy()
    for root, lean in ((4, -0.3), (10, 0.1), (16, -0.1), (22, 0.35), (28, 0.1), (34, 0.4)):
        up = (size - 5) - rows
        blade = (up >= 0) & (up < 20) & (np.abs(columns - root - lean * up) < 1.8 * (1 - up / 22))
        out[blade] = (*colour, 255)
    return out
