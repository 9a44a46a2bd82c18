"""CLIPasso (Vinker et al., SIGGRAPH 2022, https://arxiv.org/abs/2202.05822): an image becomes a few strokes.

    for frame in sketch(image, SketchSettings(strokes=16)):      # an iterator of `strokes.Frame`
        frame.strokes[0].paths()                                 # path data, for a live view
    frame.result.strokes.svg()                                   # a `strokes.Sketch`, with everything inside

    SketchSettings(variants=ladder(4, 8, 16, 32))                # several columns in one run, one batch
    sketch(image, settings, begin=edited, cancel=flag)           # goes on from given strokes; can be stopped
    questions.leave_one_out(image, strokes, settings)            # what each stroke is worth
    questions.name(features, checkpoint, labels)                 # zero-shot labels of a frame's features

A run optimises every variant (a number of strokes, weights of the two losses, a way to start) from every seed
as one batch; the seed with the lowest plain loss is the answer of its variant. Section numbers below are the
paper's. What differs from its code: the features of the plain image are computed once, the plain view of
every step serves the comparison too, and where `guides.toml` says so strokes are laid along edges and the
learning rate falls, which takes a tenth of the steps; `official()` has the paper's own schedule.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core import checkpoints, inputs, runtime
from core.clip import encoders
from core.clip.encoders import OPENAI_MEAN, OPENAI_STD, DualEncoder
from core.clip.towers import Seen
from core.drawing import bezier, contours, guides, rasterize, saliency
from core.drawing.losses import Distance, PerceptualLoss, Warps
from core.drawing.optimise import Optimiser, Scenes, Schedule, Verdict, drawn, run
from core.drawing.strokes import CANVAS, Frame, Sketch, Start, Strokes
from core.drawing.subject import cut_out, extent, mirrored, square
from core.errors import Refusal

# Steps of the first strokes of the paper: up to 2.5 % of the canvas each way.
WALK = 0.025 * CANVAS
MAX_STROKES, MAX_SEEDS, MAX_STEPS, MAX_SCENES = 64, 8, 5000, 24
COLOR_RATE = 0.01
WHITE = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Variant:
    """One column of a run.

    Attributes:
        strokes: 1 to 64; fewer is more abstract.
        semantic, geometric: factors of the guide's weights of the two losses, 0 to 10; not both 0.
        start: strokes begin at salient edges, or anywhere.
    """

    strokes: int = 16
    semantic: float = 1.0
    geometric: float = 1.0
    start: Literal["saliency", "random"] = "saliency"


def ladder(*strokes: int) -> tuple[Variant, ...]:
    """The abstraction ladder: one variant for each number of strokes."""
    return tuple(Variant(count) for count in strokes)


@dataclass(frozen=True)
class SketchSettings:
    """How an image is sketched.

    Attributes:
        variants: the columns of the run; all are optimised together.
        seeds: how many beginnings of each variant, 1 to 8; the best one is the answer.
        first_seed: of them; the same number gives the same sketch, -1 any; the result's settings have the one that was taken.
        steps: of the optimisation, 1 to 5000; None for the guide's own number.
        width: of the strokes, in pixels of the 224 canvas, 0.5 to 20.
        colour: strokes learn a colour instead of being black.
        cut_out: the background is removed first.
        checkpoint: a row of paper "clip", the guide; None for the one that pages start on.
        saliency: the row whose attention says where strokes begin; None for the guide's choice.
        rate: of the control points in pixels a step; None for the guide's own.
        lay: strokes begin as a short random walk, as in the paper, or moved apart and along the edge that they
            begin on; None for the guide's own. A random start always walks.
        views: warped views a step, 0 to 16; None for the guide's own.
        distance: of feature maps in the geometric loss: "l2" as in the paper, "l1" or "cosine".
    """

    variants: tuple[Variant, ...] = (Variant(),)
    seeds: int = 3
    first_seed: int = 0
    steps: int | None = None
    width: float = 3.0
    colour: bool = False
    cut_out: bool = False
    checkpoint: str | None = None
    saliency: str | None = None
    rate: float | None = None
    lay: Literal["walk", "edge"] | None = None
    views: int | None = None
    distance: Distance = "l2"


def official(variants: tuple[Variant, ...] = (Variant(),)) -> SketchSettings:
    """The published schedule: 2,001 steps at a constant rate of 1 px, three seeds, short random strokes."""
    return SketchSettings(variants, seeds=3, steps=2001, rate=1.0, lay="walk", views=4)


@runtime.on_device
def sketch(
    image: Image.Image,
    settings: SketchSettings | None = None,
    *,
    begin: Strokes | None = None,
    cancel: runtime.Cancel | None = None,
    device: str | None = None,
    dtype: torch.dtype | None = None,
) -> Iterator[Frame]:
    """Draws an image in strokes, step by step.

    Args:
        image: RGB of any size, or RGBA, which is put on white; it is made square on white.
        settings: see there.
        begin: strokes to go on from, on the 224 canvas; missing ones are added where they would begin anew.
        cancel: a stop flag, polled between steps; the last frame then has what was reached.
        device, dtype: of the guide; by default the best device, and float32.

    Yields:
        Frames; the first one carries `start`, the last one `result`.

    Raises:
        Refusal: "sketch_setting", "unknown_checkpoint", "not_downloaded", "out_of_memory".
    """
    started = time.perf_counter()
    settings = settings or SketchSettings()
    check(settings)
    settings = replace(settings, first_seed=inputs.seed(settings.first_seed))
    device = device or runtime.pick_device()
    checkpoint = settings.checkpoint or checkpoints.default("clip")
    with encoders.use(checkpoint, device, dtype or torch.float32) as encoder:
        guide = guides.guide(checkpoint, encoder.vision)
        with runtime.semaphore(device):
            start, scenes = _begin(image, settings, encoder, guide, begin)
            judge = judge_of(start.picture, settings, encoder, guide)
        schedule = Schedule(
            steps=settings.steps or guide.steps,
            points=settings.rate or guide.rate,
            colors=COLOR_RATE if settings.colour else 0.0,
            decay=guide.decay if settings.rate is None else 1.0,
        )
        optimiser = Optimiser(Scenes.stack(scenes, device), judge, schedule, WHITE)
        first: Start | None = start
        for moment in run(optimiser, device, cancel, started):
            frame = replace(moment.frame(schedule.steps, settings.seeds, WHITE), start=first)
            if not moment.last:
                yield frame
            first = None
        with runtime.semaphore(device):
            columns = drawn(optimiser, settings.seeds, WHITE)
        result = Sketch(
            drawn=columns,
            checkpoint=checkpoint,
            device=device,
            rasterizer=rasterize.chosen(device.split(":")[0]),
            steps=optimiser.step_number,
            seconds=time.perf_counter() - started,
            stopped=not optimiser.done,
            settings=settings,
            start=start,
        )
        yield replace(frame, result=result)


def check(settings: SketchSettings) -> None:
    """Refusal("sketch_setting") for the first setting that is out of its range, or "bad_seed"."""
    inputs.seed(settings.first_seed)
    ranges: list[tuple[str, float, float, float]] = [
        ("variants", len(settings.variants), 1, MAX_SCENES),
        ("seeds", settings.seeds, 1, MAX_SEEDS),
        ("steps", 1 if settings.steps is None else settings.steps, 1, MAX_STEPS),
        ("width", settings.width, 0.5, 20),
        ("rate", 1 if settings.rate is None else settings.rate, 0.01, 20),
        ("views", 0 if settings.views is None else settings.views, 0, 16),
        ("variants x seeds", len(settings.variants) * settings.seeds, 1, MAX_SCENES),
    ]
    for variant in settings.variants:
        ranges += [
            ("strokes", variant.strokes, 1, MAX_STROKES),
            ("semantic", variant.semantic, 0, 10),
            ("geometric", variant.geometric, 0, 10),
            ("semantic + geometric", variant.semantic + variant.geometric, 0.001, 20),
        ]
    if settings.distance not in get_args(Distance):
        known = ", ".join(get_args(Distance))
        raise Refusal("unknown_distance", name=str(settings.distance)[:40], known=known)
    for name_, value, low, high in ranges:
        if not low <= value <= high:
            raise Refusal("sketch_setting", name=name_, value=value, low=low, high=high)


# --- before the first step ---------------------------------------------------------------------------------


def subject(
    image: Image.Image, settings: SketchSettings, device: str = "cpu"
) -> tuple[Image.Image, np.ndarray | None]:
    """The image on the canvas, and what of it was kept ([224, 224] in 0..1) when the background is removed."""
    if settings.cut_out:
        picture, kept, _ = cut_out(image, device)
        return picture, kept
    return square(image), None


def _begin(
    image: Image.Image,
    settings: SketchSettings,
    encoder: DualEncoder,
    guide: guides.Guide,
    begin: Strokes | None,
) -> tuple[Start, list[Strokes]]:
    """Saliency, start points (section 3.3) and the strokes of every scene, variant by variant."""
    picture, kept = subject(image, settings, encoder.device)
    row = settings.saliency or guides.saliency_checkpoint(encoder.row.name, encoder.vision)
    with encoders.use(row, encoder.device, torch.float32) as looker:
        attention = looker.attention(picture)
    # Where the image ends and the white beside it begins there is no edge of the image.
    left, top, right, bottom = box = extent(image.size)
    inside = np.zeros((CANVAS, CANVAS), bool)
    inside[top:bottom, left:right] = True
    unbounded = mirrored(np.asarray(picture), box)
    looked = saliency.attention_map(attention, CANVAS, inside)
    mean, std = np.array(OPENAI_MEAN), np.array(OPENAI_STD)
    edge = saliency.edges(((unbounded / 255 - mean) / std).transpose(2, 0, 1)) & inside
    probability = saliency.probability(looked, edge)
    lay = settings.lay or guide.lay
    found = contours.tangents(unbounded) if lay == "edge" else None
    scenes, points = [], []
    for variant in settings.variants:
        starts = np.stack(
            [
                _starts(variant, probability, settings.first_seed + i, lay == "edge")
                for i in range(settings.seeds)
            ]
        )
        points.append(starts)
        for i, where in enumerate(starts):
            # Edges are where salient strokes begin; of a random place they say nothing.
            along = found if variant.start == "saliency" else None
            strokes = _lay(where, np.asarray(picture), settings, guide.reach, along, settings.first_seed + i)
            scenes.append(strokes if begin is None else _continued(begin, strokes))
    start = Start(
        picture=np.asarray(picture),
        subject=kept,
        saliency=looked,
        edges=edge,
        probability=probability.astype(np.float32),
        points=tuple(points),
        checkpoint=row,
    )
    return start, scenes


def _starts(variant: Variant, probability: np.ndarray, seed: int, spread: bool) -> np.ndarray:
    """Where the strokes of one scene begin: [S, 2]."""
    if variant.start == "saliency":
        drawn_ = saliency.draw(probability, variant.strokes, seed)
        return saliency.spread(probability, drawn_) if spread else drawn_
    generator = torch.Generator().manual_seed(seed)
    return bezier.uniform(variant.strokes, (CANVAS, CANVAS), generator).numpy()


def _lay(
    where: np.ndarray,
    picture: np.ndarray,
    settings: SketchSettings,
    reach: float,
    along: np.ndarray | None,
    seed: int,
) -> Strokes:
    """The first strokes of one scene, which begin at `where` [S, 2], or lie around it along the edges."""
    if along is None:
        generator = torch.Generator().manual_seed(seed)
        points = bezier.walk(torch.from_numpy(where), WALK, generator).numpy()
    else:
        points = contours.trace(along, where, reach)
    colors = np.zeros((len(where), 4), np.float32)
    colors[:, 3] = 1
    if settings.colour:
        column, row = where.astype(int).clip(0, CANVAS - 1).T
        colors[:, :3] = picture[row, column] / 255
    return Strokes(points, np.full(len(where), settings.width, np.float32), colors)


def _continued(begin: Strokes, strokes: Strokes) -> Strokes:
    """The given strokes, and as many new ones as are missing."""
    more = slice(len(begin), None)
    given = Scenes.stack([begin, strokes], "cpu").points.numpy()
    return Strokes(
        np.concatenate([given[0, : len(begin)], given[1, more][: max(0, len(strokes) - len(begin))]]),
        np.concatenate([begin.widths, strokes.widths[more]]).astype(np.float32),
        np.concatenate([begin.colors, strokes.colors[more]]).astype(np.float32),
    )


# --- the loss ----------------------------------------------------------------------------------------------


class Likeness:
    """CLIPasso's loss (section 3.2) on a batch of scenes, each with its own weights.

    Args:
        picture: [1, 3, H, W] in 0..1.
        semantic, geometric: [B] factors of the two losses.
        views: warped views a step.
        seed: of the warps, which all scenes share, so that the image is seen once for all of them.
    """

    def __init__(
        self,
        loss: PerceptualLoss,
        picture: Tensor,
        semantic: Tensor,
        geometric: Tensor,
        views: int,
        seed: int,
        warps: Warps | None = None,
    ) -> None:
        self.loss, self.warps, self.warped = loss, warps or Warps(), views
        self.picture = loss.resize(picture)
        self.semantic, self.geometric = semantic, geometric
        self.generator = torch.Generator().manual_seed(seed)
        self.matrices = torch.empty(0, 3, 3)
        with torch.no_grad():
            self.plain = loss.see(self.picture)
        self.target = self.plain

    @property
    def side(self) -> int:
        return self.loss.side

    @property
    def views(self) -> int:
        return 1 + self.warped

    @torch.no_grad()
    def shuffle(self) -> None:
        if not self.warped:
            return
        self.matrices = self.warps.draw(self.warped, self.generator)
        seen = self.loss.see(self.warps.apply(self.picture, self.matrices))
        self.target = Seen(
            torch.cat([self.plain.image_features, seen.image_features]),
            {name: torch.cat([x, seen.maps[name]]) for name, x in self.plain.maps.items()},
        )

    def __call__(self, images: Tensor, scenes: slice, *, warped: bool = True) -> Verdict:
        N = len(images)
        warped = warped and self.warped > 0
        views = torch.cat([images, self.warps.apply(images, self.matrices)]) if warped else images
        seen = self.loss.see(views)
        terms = self.loss.terms(seen, self.target if warped else self.plain)
        by_view = {
            name: value.view(-1, N) * (self.semantic if name == "semantic" else self.geometric)[scenes]
            for name, value in terms.items()
        }
        total = torch.stack(list(by_view.values())).sum(0)  # [K, N]
        plain = {name: value[0] for name, value in by_view.items()}
        return Verdict(total.mean(0), total[0], plain, seen.image_features[:N])


def judge_of(
    canvas: np.ndarray, settings: SketchSettings, encoder: DualEncoder, guide: guides.Guide
) -> Likeness:
    device = encoder.device
    picture = torch.from_numpy(canvas.copy()).permute(2, 0, 1)[None].to(device) / 255
    factors = torch.tensor([[v.semantic, v.geometric] for v in settings.variants], device=device)
    semantic, geometric = factors.repeat_interleave(settings.seeds, 0).T
    loss = PerceptualLoss.of(encoder, guide.stages, guide.semantic, settings.distance)
    views = guide.views if settings.views is None else settings.views
    return Likeness(loss, picture, semantic, geometric, views, settings.first_seed)
