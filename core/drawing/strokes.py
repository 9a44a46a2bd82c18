"""What a drawing is while it grows and when it is done: plain numpy that pickles, free of torch until rendered.

    Strokes   one scene: control points, widths, colours on a square canvas; svg(), paths(), image()
    Frame     one moment of the optimisation of CLIPasso or CLIPDraw; the last one carries the result
    Drawn     one finished drawing: the best of its seeds, with losses and history
    Start     what CLIPasso knew before its first step: image, saliency, edges, start points
    Sketch, Painting    the results of `core.drawing.clipasso.sketch` and `core.drawing.clipdraw.draw`

Letters: V variants (the columns of one run), N seeds, S strokes, P control points of a stroke, F moments.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

# The side of every canvas, in pixels: CLIP's usual input, which the papers draw on.
CANVAS = 224


@dataclass(frozen=True)
class Strokes:
    """A scene of open Bezier strokes in paint order."""

    points: np.ndarray  # [S, P, 2] float32, x and y in pixels of the canvas; P = 3 n + 1
    widths: np.ndarray  # [S] full widths in pixels
    colors: np.ndarray  # [S, 4] red, green, blue, alpha in 0..1
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    side: int = CANVAS

    def __len__(self) -> int:
        return len(self.points)

    def paths(self, digits: int = 1) -> list[str]:
        """The `d` attribute of each stroke, rounded: small enough for twenty frames a second."""
        written = np.char.mod(f"%.{digits}f", self.points.reshape(len(self), self.points.shape[1] * 2))
        return [f"M{row[0]} {row[1]}C{' '.join(row[2:])}" for row in written.tolist()]

    def without(self, i: int) -> Strokes:
        """The scene without one stroke."""
        kept = np.arange(len(self)) != i
        return replace(self, points=self.points[kept], widths=self.widths[kept], colors=self.colors[kept])

    def svg(self) -> str:
        """A standard SVG document with every digit; `from_svg` brings it back exactly."""
        from core.drawing import bezier

        return bezier.to_svg(*self._tensors(), (self.side, self.side), self.background)

    @classmethod
    def from_svg(cls, text: str) -> Strokes:
        """The strokes of an SVG document, brought to the canvas; Refusal("bad_svg") for anything else."""
        from core.drawing import bezier

        drawing = bezier.from_svg(text)
        scale = CANVAS / max(drawing.size)
        return cls(
            points=(drawing.points * scale).numpy(),
            widths=(drawing.widths * scale).numpy(),
            colors=drawing.colors.numpy(),
            background=drawing.background or (1.0, 1.0, 1.0),
        )

    def image(self, side: int = CANVAS, quality: int = 2) -> np.ndarray:
        """The drawing in pixels: uint8 [side, side, 3]."""
        from core.drawing import rasterize

        points, widths, colors = self._tensors()
        scale = side / self.side
        picture = rasterize.render(
            points[None] * scale, widths[None] * scale, colors[None], side, self.background, quality=quality
        )
        return (picture[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()

    def _tensors(self) -> tuple[Any, Any, Any]:
        import torch

        points, widths, colors = (
            torch.from_numpy(np.array(a, np.float32)) for a in (self.points, self.widths, self.colors)
        )
        return points, widths, colors


@dataclass(frozen=True)
class Start:
    """What a sketch begins with; maps cover the canvas."""

    picture: np.ndarray  # uint8 [224, 224, 3], what is drawn after
    subject: np.ndarray | None  # [224, 224] in 0..1: what background removal kept; None without it
    saliency: np.ndarray  # [224, 224] in 0..1: where the encoder looks
    edges: np.ndarray  # bool [224, 224]
    probability: np.ndarray  # [224, 224] of a stroke to begin there; sums to one
    points: tuple[np.ndarray, ...]  # by variant: [N, S, 2] where the strokes of each seed begin
    checkpoint: str  # whose attention it is


@dataclass(frozen=True)
class Frame:
    """One moment of a run."""

    step: int  # steps done
    steps: int  # of the whole run
    seconds: float
    seconds_left: float
    strokes: tuple[Strokes, ...]  # by variant: the seed that is ahead, as it is now
    ahead: tuple[int, ...]  # by variant: that seed's index
    losses: np.ndarray  # [V, N] loss of the plain view, without warps
    terms: dict[str, np.ndarray]  # [V, N] by name: what the losses are made of, weighted
    features: np.ndarray  # [V, D] the guide's image feature of `strokes`, norm 1
    start: Start | None = None  # of CLIPasso's first frame
    result: Sketch | Painting | None = None  # of the last frame


@dataclass(frozen=True)
class Drawn:
    """One finished drawing of a run: its best seed, and the others."""

    strokes: Strokes
    seed: int  # index of the best seed
    loss: float  # its lowest plain loss
    losses: np.ndarray  # [N] lowest plain loss of every seed
    curves: np.ndarray  # [N, T] plain loss before each step
    terms: dict[str, float]  # what `loss` is made of, weighted
    features: np.ndarray  # [D] the guide's image feature, norm 1
    seeds: tuple[Strokes, ...]  # what every seed came to
    history: tuple[Strokes, ...]  # F moments of the best seed, first to last
    history_steps: np.ndarray  # [F]


@dataclass(frozen=True)
class _Run:
    """What both results say of how they came about."""

    drawn: tuple[Drawn, ...]  # by variant
    checkpoint: str
    device: str
    rasterizer: str
    steps: int  # taken
    seconds: float
    stopped: bool  # before the last step, by a stop flag
    settings: Any = field(repr=False)

    @property
    def strokes(self) -> Strokes:
        """The drawing of the first variant."""
        return self.drawn[0].strokes


@dataclass(frozen=True)
class Sketch(_Run):
    """CLIPasso's answer; `settings` is its SketchSettings."""

    start: Start


@dataclass(frozen=True)
class Painting(_Run):
    """CLIPDraw's answer; `settings` is its DrawSettings."""

    prompt: str
