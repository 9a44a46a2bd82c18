"""A scene made by hand, without augmentation: one to four objects put somewhere on the canvas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from core.classroom.world import sprites
from core.classroom.world.atlas import POSES, Atlas, open_atlas
from core.classroom.world.renderings import RENDERINGS
from core.classroom.world.specs import (
    BACKGROUNDS,
    SIZE_RANGE,
    SLOTS,
    TEXTURE,
    VIVID,
    SceneSettings,
    Spec,
    sample,
)


@dataclass(frozen=True)
class Placed:
    """One object of a scene made by hand: canvas coordinates; depth None: nearer when larger; angle in degrees."""

    concept: int
    x: float = 0.0
    y: float = 0.0
    half: float = 0.6
    depth: float | None = None
    angle: float = 0.0
    flip: bool = False
    pose: str = "standing"
    style: str | None = None


def arrange(
    objects: Sequence[Placed],
    *,
    background: str = "white",
    rendering: str = "colour",
    seed: int = 0,
    atlas: Atlas | None = None,
) -> Spec:
    """A Spec of one scene from one to four objects placed by hand, without augmentation.

    Relations follow from the places: with two objects, the wider gap of left/right and above/below, unless they overlap
    so much that in front/behind is what one sees.
    """
    n = len(objects)
    if not 1 <= n <= SLOTS:
        raise ValueError(f"a scene has 1 to {SLOTS} objects, got {n}")
    atlas = atlas or open_atlas()
    if n == 2:
        objects, relation = _related(objects)
    else:
        relation = 0
    blank = SceneSettings(augment=0.0, kinds=(1, 0, 0, 0), looks=(1, 0, 0, 0, 0, 0), poses=0.0)
    spec = sample(1, seed, atlas, blank)
    g = torch.Generator().manual_seed(seed)
    names = list(BACKGROUNDS)
    for j, placed in enumerate(objects):
        styles = [t for t in range(len(atlas.styles)) if atlas.table[t, placed.concept, 0] >= 0]
        if placed.style in atlas.styles and atlas.styles.index(placed.style) in styles:
            t = atlas.styles.index(placed.style)
        else:
            painted = [t for t in styles if not sprites.STYLES.get(atlas.styles[t], False)] or styles
            t = painted[int(torch.randint(len(painted), (1,), generator=g))]
        pose = (
            POSES.index(placed.pose) if atlas.table[t, placed.concept, POSES.index(placed.pose)] >= 0 else 0
        )
        angle, flip = math.radians(placed.angle), -1.0 if placed.flip else 1.0
        turn = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        spec.concept[0, j], spec.pose[0, j] = placed.concept, pose
        spec.sprite[0, j] = atlas.table[t, placed.concept, pose]
        spec.x[0, j], spec.y[0, j], spec.half[0, j] = placed.x, placed.y, placed.half
        spec.depth[0, j] = placed.depth if placed.depth is not None else max(0.05, 0.92 - 0.8 * placed.half)
        spec.affine[0, j] = torch.diag(torch.tensor([flip, 1.0])) @ turn
    spec.present[0] = torch.arange(SLOTS) < n
    spec.background[0] = names.index(background)
    if background not in VIVID:
        spec.ground[0] = torch.tensor(BACKGROUNDS[background][1:])
    spec.pattern[0, 3] = TEXTURE.get(background, 0.0)
    spec.fill[..., 3] = 0.0
    spec.rendering[0] = RENDERINGS.index(rendering)
    spec.relation[0] = relation
    same = len({o.concept for o in objects}) == 1
    spec.kind[0] = 0 if n == 1 else 2 if same else 1 if n == 2 else 3
    middle = SIZE_RANGE.mean(1)
    spec.size[0] = int((middle - objects[0].half).abs().argmin())
    dark = spec.ground[0].mean() < 0.42
    spec.ink[0] = 0.95 if dark else 0.05
    return spec


def _related(objects: Sequence[Placed]) -> tuple[Sequence[Placed], int]:
    """Order two objects so that the first is left of, above or in front of the second, and say which."""
    a, b = objects
    dx, dy = b.x - a.x, b.y - a.y
    if max(abs(dx), abs(dy)) < 0.6 * min(a.half, b.half) + 0.1:
        depth = [o.depth if o.depth is not None else 0.92 - 0.8 * o.half for o in (a, b)]
        return ((a, b) if depth[0] <= depth[1] else (b, a)), 3
    if abs(dx) >= abs(dy):
        return ((a, b) if dx > 0 else (b, a)), 1
    return ((a, b) if dy > 0 else (b, a)), 2
