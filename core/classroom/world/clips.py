"""Clips: scenes in which one thing moves, drawn on the fly, with exact boxes in every frame.

The thing of slot 0 moves, that of slot 1, where there is one, stays. A path is a row of numbers, so that all frames of all clips
are one formula of time and one call of `scenes.render`; no Python loop runs over clips or frames. Opposite motions are each
other played backwards: the frames of a move to the left, in any other order, are those of a move to the right, so that only
their order tells the two apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from torch import Tensor

from core.classroom.world.atlas import Atlas
from core.classroom.world.grounds import windows
from core.classroom.world.motions import MOTIONS, WITH_OTHER, ClipWriter
from core.classroom.world.scenes import Scenes, bounds, render, unhidden
from core.classroom.world.specs import KINDS, SceneSettings, Spec, nearness, sample

CAMERAS = ("still", "left", "right", "up", "down")
CAMERA_WAY = 0.3  # of the camera in a clip, in half canvases: less than any thing moves
MARGIN = 1.2  # what is drawn for a moving camera, in canvases
SPINS = ("clockwise", "counterclockwise")


@dataclass(frozen=True)
class ClipSettings:
    """What `sample_clips` may draw.

    motions: of MOTIONS, all when empty; one that is named twice is drawn twice as often. company: share of clips with a
        second thing, where the motion does not need one.
    camera: share of clips with a moving camera. concepts: indices allowed, all when empty. looks, augment: as in SceneSettings.
    """

    motions: tuple[str, ...] = ()
    company: float = 0.4
    camera: float = 0.25
    concepts: tuple[int, ...] = ()
    looks: tuple[float, ...] = (1.0, 0, 0, 0, 0, 0)
    augment: float = 0.3


@dataclass(frozen=True)
class Path:
    """Where the moving things of B clips are at a time t of 0 .. 1; all [B], in units of the canvas and radians.

    A thing goes from (x0, y0) to (x1, y1), from size half0 to half1 and from angle0 to angle1 (clockwise), swings, hops and
    circles on the way, and is there from `begin` to `end`. `drop` 1: it waits, falls ever faster and lies.
    """

    x0: Tensor
    x1: Tensor
    y0: Tensor
    y1: Tensor
    half0: Tensor
    half1: Tensor
    angle0: Tensor
    angle1: Tensor
    swing: Tensor  # how far to both sides
    swings: Tensor  # how often
    hop: Tensor  # how high
    hops: Tensor  # how often
    radius: Tensor  # of the circle around (x, y)
    phase: Tensor  # where on the circle it begins
    turn: Tensor  # how far around
    begin: Tensor
    end: Tensor
    drop: Tensor

    def at(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """x, y, half, angle and presence at times [T]: [B, T] each."""
        p = Path(**{f.name: getattr(self, f.name)[:, None] for f in fields(self)})
        share = torch.where(p.drop > 0, ((t - 0.15) / 0.6).clamp(0, 1) ** 2, t.expand(len(self.x0), -1))
        around = p.phase + p.turn * t
        bow = (p.hops * t) % 1.0
        x = p.x0 + (p.x1 - p.x0) * share + p.swing * (2 * math.pi * p.swings * t).sin()
        y = p.y0 + (p.y1 - p.y0) * share - p.hop * 4 * bow * (1 - bow)
        half = p.half0 * (p.half1 / p.half0) ** share
        angle = p.angle0 + (p.angle1 - p.angle0) * share
        return (
            x + p.radius * around.cos(),
            y + p.radius * around.sin(),
            half,
            angle,
            (t >= p.begin) & (t < p.end),
        )


@dataclass(frozen=True)
class ClipSpec:
    """B clips, before any pixel."""

    scene: Spec  # what is in them; the places of slot 0 are those of its path
    motion: Tensor  # [B] index into MOTIONS
    camera: Tensor  # [B] index into CAMERAS
    path: Path

    def __len__(self) -> int:
        return len(self.motion)

    def take(self, index: Tensor | slice | Sequence[int]) -> ClipSpec:
        """The clips at these positions."""
        where = torch.tensor(index) if isinstance(index, (list, tuple)) else index
        path = Path(**{f.name: getattr(self.path, f.name)[where] for f in fields(Path)})
        return ClipSpec(self.scene.take(where), self.motion[where], self.camera[where], path)

    def writer(self) -> ClipWriter:
        """What writes their captions."""
        return ClipWriter(self.scene, self.motion.tolist())

    def at(self, moments: Tensor) -> Spec:
        """The scenes [B * T] at times [T] of 0 .. 1, the frames of a clip side by side."""
        count = len(moments)
        rows = torch.arange(len(self)).repeat_interleave(count)
        scene = self.scene.take(rows)
        x, y, half, angle, present = (value.flatten() for value in self.path.at(moments))
        cos, sin = angle.cos(), angle.sin()
        turn = torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], -2)
        scene.x[:, 0], scene.y[:, 0], scene.half[:, 0] = x, y, half
        scene.present[:, 0] &= present
        scene.affine[:, 0] = scene.affine[:, 0] @ turn
        return scene

    def pan(self, moments: Tensor) -> Tensor:
        """Where the camera looks at times [T]: [B, T, 2] of x and y in units of the canvas."""
        ways = torch.tensor([[0.0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]])[self.camera]
        return CAMERA_WAY * ways[:, None] * (moments - 0.5)[None, :, None]


def sample_clips(count: int, seed: int, atlas: Atlas, settings: ClipSettings | None = None) -> ClipSpec:
    """Draw `count` clips. The same seed, settings and atlas give the same clips on every device."""
    s = settings or ClipSettings()
    g = torch.Generator().manual_seed(seed)
    b = count

    def u(low: float, high: float) -> Tensor:
        return torch.rand(b, generator=g) * (high - low) + low

    scene = sample(
        b,
        int(torch.randint(2**62, (1,), generator=g)),
        atlas,
        SceneSettings(
            kinds=(0, 1, 0, 0), looks=s.looks, augment=s.augment, poses=0.0, concepts=s.concepts, pairs="any"
        ),
    )

    # 1. How: any motion, but what looks the same when turned does not turn.
    names = s.motions or MOTIONS
    allowed = torch.tensor([float(names.count(name)) for name in MOTIONS])
    spins = torch.tensor([name in SPINS for name in MOTIONS])
    weights = torch.where(spins & atlas.is_round[scene.sprite[:, :1]], 0.0, allowed)
    weights = torch.where(weights.sum(1, keepdim=True) > 0, weights, allowed)
    motion = torch.multinomial(weights, 1, generator=g)[:, 0]

    def has(*wanted: str) -> Tensor:
        return (motion[:, None] == torch.tensor([MOTIONS.index(name) for name in wanted])).any(1)

    # 2. Where: first a thing that stays, then its path, motion by motion; `back` of two opposite motions runs from end to start.
    back = has("left", "up", "shrink", "counterclockwise")
    x, y, half = u(-0.3, 0.3), u(-0.3, 0.3), u(0.34, 0.5)
    x0, x1, y0, y1, half0, half1 = x, x, y, y, half, half
    angle0, angle1 = torch.zeros(b), torch.zeros(b)
    begin, end = torch.full((b,), -1.0), torch.full((b,), 2.0)

    small, start, stop = u(0.2, 0.34), u(-0.75, -0.5), u(0.5, 0.75)
    crossing, climbing, passing = has("left", "right"), has("up", "down"), has("behind")
    passing_back = passing & (u(0, 1) < 0.5)
    half0, half1 = (
        torch.where(crossing | climbing, small, half0),
        torch.where(crossing | climbing, small, half1),
    )
    x0, x1 = torch.where(crossing, start, x0), torch.where(crossing, stop, x1)
    y0, y1 = torch.where(climbing, start, y0), torch.where(climbing, stop, y1)

    little, margin = u(0.16, 0.24), u(0.66, 0.78)
    x0, x1 = torch.where(passing, -margin, x0), torch.where(passing, margin, x1)
    half0, half1 = torch.where(passing, little, half0), torch.where(passing, little, half1)

    swelling = has("grow", "shrink")
    half0, half1 = torch.where(swelling, u(0.16, 0.24), half0), torch.where(swelling, u(0.58, 0.76), half1)

    spinning = has(*SPINS)
    whole = u(1.1, 1.7) * math.pi
    angle0, angle1 = torch.where(spinning, -whole / 2, angle0), torch.where(spinning, whole / 2, angle1)

    falling, side = has("fall"), torch.where(u(0, 1) < 0.5, -1.0, 1.0)
    half0, half1 = torch.where(falling, small, half0), torch.where(falling, small, half1)
    y0, y1 = torch.where(falling, -u(0.5, 0.7), y0), torch.where(falling, u(0.55, 0.7), y1)
    angle1 = torch.where(falling, side * u(0.35, 0.75) * math.pi, angle1)

    jumping = has("jump")
    half0, half1 = torch.where(jumping, small, half0), torch.where(jumping, small, half1)
    ground = u(0.45, 0.6)
    y0, y1 = torch.where(jumping, ground, y0), torch.where(jumping, ground, y1)

    circling = has("orbit")
    centre_x, centre_y = u(-0.1, 0.1), u(-0.1, 0.1)
    x0, x1 = torch.where(circling, centre_x, x0), torch.where(circling, centre_x, x1)
    y0, y1 = torch.where(circling, centre_y, y0), torch.where(circling, centre_y, y1)
    half0, half1 = torch.where(circling, little, half0), torch.where(circling, little, half1)

    switch = u(0.35, 0.65)
    begin, end = torch.where(has("appear"), switch, begin), torch.where(has("vanish"), 1 - switch, end)

    def swapped(first: Tensor, second: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        return torch.where(rows, second, first), torch.where(rows, first, second)

    x0, x1 = swapped(x0, x1, back & crossing | passing_back)
    y0, y1 = swapped(y0, y1, back & climbing)
    half0, half1 = swapped(half0, half1, back & swelling)
    angle0, angle1 = swapped(angle0, angle1, back & spinning)
    zero = torch.zeros(b)
    path = Path(
        x0, x1, y0, y1, half0, half1, angle0, angle1,
        swing=torch.where(has("shake"), u(0.08, 0.14), zero),
        swings=u(2.3, 3.2),
        hop=torch.where(jumping, u(0.6, 0.9), zero),
        hops=torch.where(u(0, 1) < 0.5, 1.0, 2.0),
        radius=torch.where(circling, u(0.56, 0.66), zero),
        phase=u(0, 2 * math.pi),
        turn=side * u(1.7, 2.2) * math.pi,
        begin=begin, end=end,
        drop=falling.float(),
    )  # fmt: skip

    # 3. The other thing: in the middle of a circle, before what passes behind it, else anywhere and behind what moves.
    is_needed = has(*WITH_OTHER)
    company = is_needed | (u(0, 1) < s.company)
    other_half = torch.where(passing, u(0.36, 0.48), torch.where(circling, u(0.26, 0.36), u(0.2, 0.34)))
    other_x = torch.where(circling, centre_x, torch.where(passing, u(-0.1, 0.1), u(-0.62, 0.62)))
    other_y = torch.where(circling, centre_y, torch.where(passing, y, u(-0.62, 0.62)))
    scene.present[:, 0], scene.present[:, 1], scene.present[:, 2:] = True, company, False
    scene.x[:, 0], scene.y[:, 0], scene.half[:, 0] = x0, y0, half0
    scene.x[:, 1], scene.y[:, 1], scene.half[:, 1] = other_x, other_y, other_half
    scene.depth[:, 0] = torch.where(passing, 0.75, 0.3)
    scene.depth[:, 1] = torch.where(passing, 0.3, 0.75)
    scene.fill[:, 1, 3] = torch.where(passing, 1.0, scene.fill[:, 1, 3])  # nothing is seen through it
    scene.relation[:] = 0
    scene.kind[:] = torch.where(company, KINDS.index("pair"), KINDS.index("single"))

    moving = u(0, 1) < s.camera
    camera = torch.where(moving, torch.randint(1, len(CAMERAS), (b,), generator=g), 0)
    return ClipSpec(scene, motion, camera, path)


@dataclass(frozen=True)
class _Part:
    """Some clips, drawn: by a still camera, or on a larger canvas of which a moving one sees a part."""

    rows: Tensor  # [b] positions among all clips
    scenes: Scenes  # b * T
    corners: Tensor | None  # [b * T, 2] left and top pixel of what the camera sees

    def seen(self, canvas: Tensor, size: int) -> Tensor:
        """[b * T, C, H, W] of canvases of the scenes."""
        if self.corners is None:
            return canvas
        left, top = self.corners.to(canvas.device).unbind(1)
        return windows(canvas, size)[torch.arange(len(canvas), device=canvas.device), :, top, left]


@dataclass
class Clips:
    """Drawn clips: frames [B, T, 3, H, W] in [0, 1], and where everything is in them."""

    spec: ClipSpec
    moments: Tensor  # [T] in 0 .. 1
    picture: Tensor
    parts: list[_Part]

    def __len__(self) -> int:
        return len(self.spec)

    @cached_property
    def shape(self) -> Tensor:
        """[B, T, K, H, W] in [0, 1], amodal: what each thing would cover alone."""
        return _gathered(self.parts, [part.scenes.shape for part in self.parts], self.picture)

    @property
    def amodal(self) -> Tensor:
        """[B, T, K, H, W] bool: where each thing is in the frame, hidden or not."""
        return self.shape > 0.5

    @property
    def visible(self) -> Tensor:
        """[B, T, K, H, W] bool: where each thing is seen; disjoint."""
        count = len(self.moments)
        order = nearness(self.spec.scene).repeat_interleave(count, 0)
        seen = unhidden(self.amodal.flatten(0, 1), order)
        return seen.unflatten(0, (-1, count))

    def boxes(self, visible: bool = False) -> Tensor:
        """[B, T, K, 4] xyxy pixels of what lies in the frame, right and bottom exclusive; zeros where there is nothing."""
        return bounds(self.visible if visible else self.amodal)


def times(count: int) -> Tensor:
    """The times [T] of as many frames, the first at 0 and the last at 1."""
    return torch.linspace(0, 1, count)


def render_clips(spec: ClipSpec, atlas: Atlas, moments: Tensor, size: int = 64) -> Clips:
    """Draw clips on the atlas's device.

    Args:
        moments: times [T] of 0 .. 1 of the frames, `times(T)`.
        size: pixels of a side.

    Returns:
        Frames [B, T, 3, size, size] float32 in [0, 1]; boxes and masks follow when asked for.
    """
    is_moving = spec.camera > 0
    parts = []
    for rows in (torch.nonzero(~is_moving)[:, 0], torch.nonzero(is_moving)[:, 0]):
        if not len(rows):
            continue
        some = spec.take(rows)
        scene = some.at(moments)
        if not is_moving[rows[0]]:
            parts.append(_Part(rows, render(scene, atlas, size), None))
            continue
        large = 2 * round(size * MARGIN / 2)
        # From the middle of the larger canvas by what the camera has moved, in whole pixels.
        pixels = (some.pan(moments).flatten(0, 1) * size / 2).round().long()
        corners = (pixels + (large - size) // 2).clamp(0, large - size)
        parts.append(_Part(rows, render(_on_larger(scene, size / large), atlas, large), corners))
    shape = (len(spec), len(moments), 3, size, size)
    blank = torch.empty(shape, device=atlas.device)
    return Clips(spec, moments, _gathered(parts, [part.scenes.picture for part in parts], blank), parts)


def _on_larger(scene: Spec, share: float) -> Spec:
    """The same scenes on a canvas of which they fill only the middle; the ground goes on."""
    pattern = scene.pattern.clone()
    pattern[:, 1] /= share
    pattern[:, 2] *= share
    return replace(scene, x=scene.x * share, y=scene.y * share, half=scene.half * share, pattern=pattern)


def _gathered(parts: Sequence[_Part], canvases: Sequence[Tensor], like: Tensor) -> Tensor:
    """What the cameras see of the parts' canvases [b * T, C, H, W], in the order of the clips: [B, T, C, size, size]."""
    b, count, *_, size = like.shape
    whole = like.new_empty(b, count, canvases[0].shape[1], size, size)
    for part, canvas in zip(parts, canvases, strict=True):
        whole[part.rows.to(like.device)] = part.seen(canvas, size).unflatten(0, (-1, count))
    return whole
