"""Strokes that learn: every scene of a run, of whatever number of strokes, is one batch of one optimiser.

Scenes of fewer strokes are filled up with strokes of no width far from the canvas, which cost nothing and get
no gradient. Nothing here waits for the device between two frames.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core import runtime
from core.drawing import rasterize
from core.drawing.strokes import CANVAS, Drawn, Frame, Strokes

# Where strokes lie that are none: no pixel is near.
NOWHERE = -1e5
# Pixels that go through the encoder at once; more scenes take turns.
PIXELS_AT_ONCE = 1 << 20
# Seconds between frames, and how many moments of a run are kept.
FRAME_SECONDS = 0.06
MOMENTS = 120


@dataclass
class Scenes:
    """B scenes of up to S strokes on the canvas."""

    points: Tensor  # [B, S, P, 2] pixels of the canvas
    widths: Tensor  # [B, S]
    colors: Tensor  # [B, S, 4]
    counts: list[int]  # [B] strokes of each; the others are filling

    @classmethod
    def stack(cls, scenes: Sequence[Strokes], device: str) -> Scenes:
        """Scenes of different numbers of strokes and cubics as one batch."""
        S, P = max(map(len, scenes)), max(scene.points.shape[1] for scene in scenes)
        points = np.full((len(scenes), S, P, 2), NOWHERE, np.float32)
        widths, colors = np.zeros(points.shape[:2], np.float32), np.zeros((*points.shape[:2], 4), np.float32)
        for i, scene in enumerate(scenes):
            n, p = scene.points.shape[:2]
            points[i, :n, :p], points[i, :n, p:] = scene.points, scene.points[:, -1:]
            widths[i, :n], colors[i, :n] = scene.widths, scene.colors
        on_device = [torch.from_numpy(array).to(device) for array in (points, widths, colors)]
        return cls(on_device[0], on_device[1], on_device[2], [len(scene) for scene in scenes])

    def strokes(self, i: int, background: tuple[float, float, float]) -> Strokes:
        """One scene without its filling; the tensors must be on the CPU."""
        n = self.counts[i]
        values = (self.points, self.widths, self.colors)
        points, widths, colors = (value[i, :n].detach().numpy().copy() for value in values)
        return Strokes(points, widths, colors, background)

    def copy(self, device: str | None = None) -> Scenes:
        """The values as they are now."""
        values = (self.points, self.widths, self.colors)
        points, widths, colors = (v.detach().to(device or v.device, copy=True) for v in values)
        return Scenes(points, widths, colors, self.counts)

    def where(self, chosen: Tensor, other: Scenes) -> None:
        """Takes the scenes of `other` where chosen [B]."""
        for mine, theirs in (
            (self.points, other.points),
            (self.widths, other.widths),
            (self.colors, other.colors),
        ):
            mine.copy_(torch.where(chosen.view(-1, *[1] * (mine.ndim - 1)), theirs, mine))


@dataclass(frozen=True)
class Verdict:
    """What a judge says of a batch of images."""

    loss: Tensor  # [B], what is minimised
    plain: Tensor  # [B], of the image as it is: what drawings are compared by
    terms: dict[str, Tensor]  # [B], what `plain` is made of
    features: Tensor  # [B, D], of the image as it is; not normalised


class Judge(Protocol):
    """A loss on images of sketches."""

    @property
    def side(self) -> int:
        """The size in which it wants them."""

    @property
    def views(self) -> int:
        """How many images of each sketch it looks at in a step."""

    def shuffle(self) -> None:
        """Draws the warps of the next step."""

    def __call__(self, images: Tensor, scenes: slice, *, warped: bool = True) -> Verdict:
        """Judges `images` [B, 3, side, side] of these scenes of the batch; only as they are if not warped."""


@dataclass(frozen=True)
class Schedule:
    """Learning rates of Adam: at the start, and what of them is left as a run goes on."""

    steps: int
    points: float  # pixels of the canvas
    widths: float = 0.0
    colors: float = 0.0
    decay: float = 1.0  # share of the points' rate at the end, reached along a half cosine
    drops: Mapping[float, float] | None = None  # share of the run -> share of the points' rate from there on
    widths_range: tuple[float, float] = (0.5, 100.0)

    def share(self, step: int) -> float:
        """Of the points' rate."""
        if self.drops is not None:
            passed = [rate for at, rate in self.drops.items() if step >= at * self.steps]
            return passed[-1] if passed else 1.0
        done = step / max(1, self.steps - 1)
        return self.decay + (1 - self.decay) * (1 + math.cos(math.pi * done)) / 2


class Optimiser:
    """Adam on the strokes of a batch of scenes.

    Attributes:
        seen, verdict: the scenes as they were judged last, and the judgement.
        best, best_plain: every scene at its lowest plain loss so far, [B].
        curves: [steps + 1, B] plain loss before each step and after the last; nan where it was not judged.
        history: scenes at about MOMENTS steps of the run.
    """

    def __init__(
        self, scenes: Scenes, judge: Judge, schedule: Schedule, background: tuple[float, float, float]
    ) -> None:
        self.scenes, self.judge, self.schedule, self.background = scenes, judge, schedule, background
        self.alive = scenes.widths > 0
        self.groups = [
            {"params": [value.requires_grad_()], "lr": rate}
            for value, rate in (
                (scenes.points, schedule.points),
                (scenes.widths, schedule.widths),
                (scenes.colors, schedule.colors),
            )
            if rate
        ]
        self.adam = torch.optim.Adam(self.groups, foreach=True)
        B = len(scenes.counts)
        self.curves = torch.full((schedule.steps + 1, B), torch.nan, device=scenes.points.device)
        self.step_number = 0
        self.history: list[tuple[int, Scenes]] = []
        self.best = scenes.copy()
        self.best_plain = torch.full((B,), torch.inf, device=scenes.points.device)
        self.seen = self.best
        self.verdict: Verdict | None = None

    @property
    def done(self) -> bool:
        return self.step_number >= self.schedule.steps

    def step(self) -> None:
        """Judges the scenes and moves their strokes once."""
        for group in self.adam.param_groups:
            if group["params"][0] is self.scenes.points:
                group["lr"] = self.schedule.points * self.schedule.share(self.step_number)
        self.judge.shuffle()
        self.adam.zero_grad(set_to_none=True)
        images = draw(self.scenes, self.judge.side, self.background)
        verdicts, grads = [], []
        for part in parts(self.scenes, self.judge, self.judge.views):
            leaf = images[part].detach().requires_grad_()
            verdict = self.judge(leaf, part)
            grads.append(torch.autograd.grad(verdict.loss.sum(), leaf)[0])
            verdicts.append(verdict)
        images.backward(torch.cat(grads))
        self._note(_join(verdicts))
        self.adam.step()
        self._clamp()
        self.step_number += 1

    def look(self) -> None:
        """Judges the scenes of the run without moving them."""
        self._note(judged(self.scenes, self.judge, self.background))

    @torch.no_grad()
    def _note(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.seen = self.scenes.copy()
        better = verdict.plain < self.best_plain
        self.best.where(better, self.seen)
        self.best_plain = torch.where(better, verdict.plain, self.best_plain)
        self.curves[self.step_number] = verdict.plain
        if self.step_number % math.ceil(self.schedule.steps / MOMENTS) == 0 or self.done:
            self.history.append((self.step_number, self.seen))

    @torch.no_grad()
    def _clamp(self) -> None:
        scenes = self.scenes
        if self.schedule.widths:
            scenes.widths.clamp_(*self.schedule.widths_range).mul_(self.alive)
        if self.schedule.colors:
            scenes.colors.clamp_(0, 1)


def draw(scenes: Scenes, side: int, background: tuple[float, float, float]) -> Tensor:
    """Scenes in pixels, [B, 3, side, side]."""
    scale = side / CANVAS
    return rasterize.render(scenes.points * scale, scenes.widths * scale, scenes.colors, side, background)


def parts(scenes: Scenes, judge: Judge, views: int) -> list[slice]:
    """Scenes that go through the encoder together, so that memory holds for any number of them."""
    B = len(scenes.counts)
    size = max(1, PIXELS_AT_ONCE // (judge.side**2 * views))
    count = math.ceil(B / size)
    return [slice(i * B // count, (i + 1) * B // count) for i in range(count)]


@torch.no_grad()
def judged(scenes: Scenes, judge: Judge, background: tuple[float, float, float]) -> Verdict:
    """What a judge says of scenes as they are."""
    images = draw(scenes, judge.side, background)
    return _join([judge(images[part], part, warped=False) for part in parts(scenes, judge, 1)])


def _join(verdicts: list[Verdict]) -> Verdict:
    """The parts of a batch together, without gradients."""
    return Verdict(
        torch.cat([v.loss.detach() for v in verdicts]),
        torch.cat([v.plain.detach() for v in verdicts]),
        {k: torch.cat([v.terms[k].detach() for v in verdicts]) for k in verdicts[0].terms},
        torch.cat([v.features.detach() for v in verdicts]),
    )


@dataclass(frozen=True)
class Moment:
    """What a run shows between two steps; everything is on the CPU."""

    last: bool
    step: int
    seconds: float
    seconds_left: float
    scenes: Scenes
    verdict: Verdict

    def frame(self, steps: int, seeds: int, background: tuple[float, float, float]) -> Frame:
        """For whoever watches: of every variant, which has `seeds` scenes, the one that is ahead."""
        losses = self.verdict.plain.view(-1, seeds).numpy()
        ahead = losses.argmin(1)
        scenes = [variant * seeds + int(i) for variant, i in enumerate(ahead)]
        return Frame(
            step=self.step,
            steps=steps,
            seconds=self.seconds,
            seconds_left=self.seconds_left,
            strokes=tuple(self.scenes.strokes(i, background) for i in scenes),
            ahead=tuple(map(int, ahead)),
            losses=losses,
            terms={name: value.view(-1, seeds).numpy() for name, value in self.verdict.terms.items()},
            features=F.normalize(self.verdict.features[scenes], dim=-1).numpy(),
        )


def run(optimiser: Optimiser, device: str, cancel: runtime.Cancel | None, started: float) -> Iterator[Moment]:
    """Takes all steps and shows a moment now and then; ends early once a stop was asked for.

    The device's turn is taken for each step, so that others can use it in between. The last moment shows the
    scenes as the last step left them.
    """
    shown = 0.0
    begin = time.perf_counter()
    while not optimiser.done and not (cancel is not None and cancel.is_set()):
        with runtime.semaphore(device):
            optimiser.step()
        now = time.perf_counter()
        if optimiser.step_number == 1 or now - shown >= FRAME_SECONDS:
            moment = _moment(optimiser, False, begin, started)
            shown = time.perf_counter()
            yield moment
    with runtime.semaphore(device):
        optimiser.look()
    yield _moment(optimiser, True, begin, started)


def _moment(optimiser: Optimiser, last: bool, begin: float, started: float) -> Moment:
    seen, verdict = optimiser.seen.copy("cpu"), optimiser.verdict
    assert verdict is not None
    step = optimiser.step_number
    now = time.perf_counter()
    left = (now - begin) / max(1, step) * (optimiser.schedule.steps - step)
    terms = {name: value.cpu() for name, value in verdict.terms.items()}
    on_cpu = Verdict(verdict.loss.cpu(), verdict.plain.cpu(), terms, verdict.features.float().cpu())
    return Moment(last, step, now - started, left, seen, on_cpu)


def drawn(
    optimiser: Optimiser, seeds: int, background: tuple[float, float, float], best: bool = True
) -> tuple[Drawn, ...]:
    """What every variant of a finished run came to.

    Args:
        seeds: scenes of each variant.
        best: each scene at its lowest plain loss; else as the last step left it.
    """
    scenes = optimiser.best if best else optimiser.scenes
    verdict = judged(scenes, optimiser.judge, background)
    on_cpu = scenes.copy("cpu")
    every = [on_cpu.strokes(i, background) for i in range(len(scenes.counts))]
    plain, features = verdict.plain.cpu().numpy(), F.normalize(verdict.features.float(), dim=-1).cpu().numpy()
    curves = optimiser.curves[: optimiser.step_number + 1].cpu().numpy()
    moments = [(step, moment.copy("cpu")) for step, moment in optimiser.history]
    made = []
    for first in range(0, len(every), seeds):
        group = slice(first, first + seeds)
        i = first + int(plain[group].argmin())
        made.append(
            Drawn(
                strokes=every[i],
                seed=i - first,
                loss=float(plain[i]),
                losses=plain[group],
                curves=curves[:, group].T.copy(),
                terms={name: float(value[i]) for name, value in verdict.terms.items()},
                features=features[i],
                seeds=tuple(every[group]),
                history=tuple(moment.strokes(i, background) for _, moment in moments),
                history_steps=np.array([step for step, _ in moments]),
            )
        )
    return tuple(made)
