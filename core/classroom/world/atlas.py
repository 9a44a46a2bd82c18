"""The sprites on a device: premultiplied RGBA in three sizes, and the tables that index them.

Sprite indices run over every (style, concept) that is drawn, then over the poses of the sheep.
S is the number of sprites, C of concepts, T of styles.
"""

from __future__ import annotations

import zlib
from collections.abc import ItemsView, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core import runtime
from core.classroom.world import sprites
from core.classroom.world.concepts import by_code, concepts

LEVELS = (96, 48, 24)
POSES = ("standing", "eating", "lying")
SHEEP = "1F411"
PART = 256  # sprites that are made at a time
ROUND = 0.12  # drawings that differ less from themselves when turned do not show that they turn


class Packed:
    """Sprites uint8 [S, 4, c, c] of which each is deflated: a small part of the memory, for 0.1 ms a sprite that is taken."""

    def __init__(self, count: int, size: int) -> None:
        self.size = size
        self.cells = [b""] * count

    def __setitem__(self, rows: slice, sprites: Tensor) -> None:
        self.cells[rows] = [zlib.compress(sprite.numpy().tobytes(), 1) for sprite in sprites]

    def __getitem__(self, rows: Tensor) -> Tensor:
        made = torch.empty((len(rows), 4, self.size, self.size), dtype=torch.uint8)
        for cell, row in zip(made.numpy(), rows.tolist(), strict=True):
            cell.reshape(-1)[:] = np.frombuffer(zlib.decompress(self.cells[row]), np.uint8)
        return made

    @property
    def nbytes(self) -> int:
        """Bytes of the sprites as they are kept."""
        return sum(map(len, self.cells))


class Atlas:
    """Sprites ready to be composed.

    levels: per size c of LEVELS uint8 [S, 4, c, c], premultiplied: a tensor, or `Packed` for the largest size on a CPU, where
        only the large objects of a scene need it. A drawing in one colour keeps its ink in channel 3 and, since its colour is
        free, the area that the ink encloses in channel 0.
    concept, style: [S] indices. mono: [S] drawn in one colour.
    table: [T, C, 3 poses] sprite index, -1 where a style has no drawing.
    box: [S, 4] xyxy, what a drawing covers of its cell [-1, 1] x [-1, 1].
    """

    def __init__(
        self, cells: Mapping[str, Mapping[str, sprites.Sprite]], mono: Mapping[str, bool], device: str = "cpu"
    ) -> None:
        self.styles = tuple(cells)
        concept: list[int] = []
        style: list[int] = []
        table = torch.full((len(cells), len(concepts()), len(POSES)), -1, dtype=torch.long)
        for t, drawings in enumerate(cells.values()):
            for code in drawings:
                for p in range(len(POSES) if code == SHEEP else 1):
                    table[t, by_code()[code].index, p] = len(concept)
                    concept.append(by_code()[code].index)
                    style.append(t)
        self.device = torch.device(device)
        self.table = table
        self.concept = torch.tensor(concept)
        self.style = torch.tensor(style)
        self.mono = torch.tensor([mono[name] for name in cells], dtype=torch.bool)[self.style]
        self.box = torch.empty(len(concept), 4)
        self.levels: dict[int, Tensor | Packed] = {
            size: torch.empty((len(concept), 4, size, size), dtype=torch.uint8, device=self.device)
            for size in LEVELS[1:]
        }
        if self.device.type == "cpu":
            self.levels[LEVELS[0]] = Packed(len(concept), LEVELS[0])
        else:
            shape = (len(concept), 4, LEVELS[0], LEVELS[0])
            self.levels[LEVELS[0]] = torch.empty(shape, dtype=torch.uint8, device=self.device)
        # A few at a time: all of them in floats would take several times the memory of the atlas.
        start = 0
        for part in _parts(cells, PART):
            self._put(start, part)
            start += len(part)

    def _put(self, start: int, drawings: Sequence[sprites.Sprite]) -> None:
        """Puts sprites at `start` and behind it, in every size."""
        rows = slice(start, start + len(drawings))
        values = torch.from_numpy(np.stack(drawings)).permute(0, 3, 1, 2).float()
        values[:, :3] *= values[:, 3:] / 255
        level = values.round().to(torch.uint8)
        inked = self.mono[rows]
        level[inked, 0] = enclosed(level[inked, 3])
        self.box[rows] = boxes(level)
        self.levels[LEVELS[0]][rows] = level.to(self.device)
        for size in LEVELS[1:]:
            level = F.avg_pool2d(level.float(), 2).round().to(torch.uint8)
            self.levels[size][rows] = level.to(self.device)

    def __len__(self) -> int:
        return len(self.concept)

    @property
    def nbytes(self) -> int:
        """Bytes of the sprites."""
        return sum(level.nbytes for level in self.levels.values())

    @cached_property
    def is_round(self) -> Tensor:
        """[S] bool: drawings that look the same when they are turned by a quarter or a half."""
        cells = self.levels[LEVELS[-1]][torch.arange(len(self), device=self.device)].cpu().float() / 255
        mass = cells.mean((1, 2, 3)).clamp(min=1e-3)
        turned = [(cells - cells.rot90(k, (2, 3))).abs().mean((1, 2, 3)) / mass for k in (1, 2)]
        return torch.minimum(*turned) < ROUND

    def drawable(self, styles: Sequence[int] | None = None) -> Tensor:
        """[C] bool: concepts that at least one of the styles (all when None) draws."""
        table = self.table if styles is None else self.table[list(styles)]
        return (table[:, :, 0] >= 0).any(0)


def load_atlas(styles: tuple[str, ...] = tuple(sprites.STYLES), device: str = "cpu") -> Atlas:
    """The committed sheets of these styles: an atlas of the caller's own."""
    return Atlas({style: _Sheet(style) for style in styles}, sprites.STYLES, device)


def open_atlas(styles: tuple[str, ...] = tuple(sprites.STYLES), device: str = "cpu") -> Atlas:
    """The same, kept in the pool of models, so that every page and recipe shares one copy."""
    with runtime.POOL.use(
        ("sprites", styles, device),
        lambda: load_atlas(styles, device),
        size_bytes=lambda atlas: atlas.nbytes,
    ) as atlas:
        return atlas


class _Sheet(Mapping[str, sprites.Sprite]):
    """code -> sprite of a committed sheet, which is read when its sprites are asked for, and not kept."""

    def __init__(self, style: str) -> None:
        self.style = style

    def __getitem__(self, code: str) -> sprites.Sprite:
        return sprites.sheet(self.style)[by_code()[code].index]

    def __iter__(self) -> Iterator[str]:
        return iter(sprites.drawn()[self.style])

    def __len__(self) -> int:
        return len(sprites.drawn()[self.style])

    def items(self) -> ItemsView[str, sprites.Sprite]:
        sheet = sprites.sheet(self.style)
        return {code: sheet[by_code()[code].index] for code in self}.items()


def _parts(cells: Mapping[str, Mapping[str, sprites.Sprite]], count: int) -> Iterator[list[sprites.Sprite]]:
    """Every sprite with its poses, in the order of the atlas, `count` or a few more at a time."""
    part: list[sprites.Sprite] = []
    for drawings in cells.values():
        for code, cell in drawings.items():
            part += [cell, eating(cell), lying(cell)] if code == SHEEP else [cell]
            if len(part) >= count:
                yield part
                part = []
    if part:
        yield part


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
