"""CLIPDraw (Frans et al. 2021, https://arxiv.org/abs/2106.14843): a prompt becomes a drawing of coloured strokes.

    for frame in draw("a red envelope", DrawSettings(strokes=64)):     # `strokes.Frame`, as of CLIPasso
        frame.strokes[0].paths()
    frame.result.strokes.svg()                                         # a `strokes.Painting`

The strokes' points, widths and colours are moved so that warped views of the drawing and the prompt agree in
CLIP; no image is copied and nothing is trained. Differences from the published code: edges of colours are
composited as they are (diffvg's call darkens them), several seeds run as one batch, and the plain view is
looked at besides the warped ones, to compare seeds and to name the drawing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core import checkpoints, inputs, runtime
from core.clip import encoders, reading
from core.clip.encoders import DualEncoder
from core.clip.labels import Notes
from core.drawing import bezier, guides, rasterize
from core.drawing.losses import PerceptualLoss, Warps
from core.drawing.optimise import Optimiser, Scenes, Schedule, Verdict, drawn, run
from core.drawing.strokes import CANVAS, Frame, Painting, Strokes
from core.errors import Refusal

# Up to 5 % of the canvas each way from one control point to the next; one to three cubics a stroke.
WALK = 0.05 * CANVAS
PIECES = 3
NEGATIVES = ("A badly drawn sketch.", "Many ugly, messy drawings.")
NEGATIVE_WEIGHT = 0.3
# Share of the run -> share of the points' rate from there on.
DROPS = {0.5: 0.4, 0.75: 0.1}
MAX_STROKES, MAX_SEEDS, MAX_STEPS, MAX_NEGATIVES = 512, 8, 5000, 8


@dataclass(frozen=True)
class DrawSettings:
    """How a prompt is drawn.

    Attributes:
        strokes: 1 to 512.
        seeds: how many drawings, 1 to 8; the one nearest to the prompt is the answer.
        first_seed: of them; the same number gives the same drawing, -1 any; the result's settings have the one that was taken.
        steps: of the optimisation, 1 to 5000; None for the guide's own number.
        negatives: texts to keep away from, up to 8; each weighs NEGATIVE_WEIGHT.
        width: full width that strokes begin with, 0.5 to 50 pixels; it is learned.
        background: red, green, blue in 0..1.
        rate: of the control points in pixels a step; widths learn at a tenth, colours at a hundredth of it.
        views: warped views a step, 1 to 16.
        checkpoint: a row of paper "clip"; None for the one that pages start on.
    """

    strokes: int = 64
    seeds: int = 1
    first_seed: int = 0
    steps: int | None = None
    negatives: tuple[str, ...] = ()
    width: float = 2.0
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    rate: float = 1.0
    views: int = 4
    checkpoint: str | None = None


@runtime.on_device
def draw(
    prompt: str,
    settings: DrawSettings | None = None,
    *,
    begin: Strokes | None = None,
    cancel: runtime.Cancel | None = None,
    device: str | None = None,
    dtype: torch.dtype | None = None,
) -> Iterator[Frame]:
    """Draws a text, step by step.

    Args:
        prompt: in a language that the guide knows.
        settings: see there.
        begin: strokes to go on from, on the 224 canvas, in place of random ones.
        cancel: a stop flag, polled between steps; the last frame then has what was reached.
        device, dtype: of the guide; by default the best device, and float32.

    Yields:
        Frames of one variant; the last one carries `result`.

    Raises:
        Refusal: "sketch_setting", "no_text", "text_too_long", "unknown_checkpoint", "not_downloaded",
            "out_of_memory".
    """
    started = time.perf_counter()
    settings = settings or DrawSettings()
    check(settings)
    settings = replace(settings, first_seed=inputs.seed(settings.first_seed))
    prompt = inputs.text(prompt)
    negatives = [inputs.text(text) for text in settings.negatives]
    device = device or runtime.pick_device()
    checkpoint = settings.checkpoint or checkpoints.default("clip")
    with encoders.use(checkpoint, device, dtype or torch.float32) as encoder:
        guide = guides.guide(checkpoint, encoder.vision)
        with runtime.semaphore(device):
            judge = Agreement(encoder, [prompt, *negatives], settings.views, settings.first_seed)
            scenes = [begin or scatter(settings, settings.first_seed + i) for i in range(settings.seeds)]
        schedule = Schedule(
            steps=settings.steps or guide.draw_steps,
            points=settings.rate,
            widths=0.1 * settings.rate,
            colors=0.01 * settings.rate,
            drops=DROPS,
            # As published from 2 px on, or from where a finer pen begins.
            widths_range=(min(2.0, settings.width), 100.0),
        )
        optimiser = Optimiser(Scenes.stack(scenes, device), judge, schedule, settings.background)
        for moment in run(optimiser, device, cancel, started):
            frame = moment.frame(schedule.steps, settings.seeds, settings.background)
            if not moment.last:
                yield frame
        with runtime.semaphore(device):
            columns = drawn(optimiser, settings.seeds, settings.background, best=False)
        result = Painting(
            drawn=columns,
            checkpoint=checkpoint,
            device=device,
            rasterizer=rasterize.chosen(device.split(":")[0]),
            steps=optimiser.step_number,
            seconds=time.perf_counter() - started,
            stopped=not optimiser.done,
            settings=settings,
            prompt=prompt,
        )
        yield replace(frame, result=result)


def notes(prompt: str, settings: DrawSettings) -> Notes:
    """Which of the prompt and the texts to avoid are longer than the guide reads."""
    tokenize = reading.tokenizer(settings.checkpoint or checkpoints.default("clip"))
    texts = dict.fromkeys([prompt, *settings.negatives])
    return Notes(truncated=tuple(text for text in texts if tokenize.is_cut(inputs.clean(text))))


def check(settings: DrawSettings) -> None:
    """Refusal("sketch_setting") for the first setting that is out of its range, or "bad_seed"."""
    inputs.seed(settings.first_seed)
    ranges: list[tuple[str, float, float, float]] = [
        ("strokes", settings.strokes, 1, MAX_STROKES),
        ("seeds", settings.seeds, 1, MAX_SEEDS),
        ("steps", 1 if settings.steps is None else settings.steps, 1, MAX_STEPS),
        ("negatives", len(settings.negatives), 0, MAX_NEGATIVES),
        ("width", settings.width, 0.5, 50),
        ("rate", settings.rate, 0.01, 20),
        ("views", settings.views, 1, 16),
        *(("background", value, 0, 1) for value in settings.background),
    ]
    for name, value, low, high in ranges:
        if not low <= value <= high:
            raise Refusal("sketch_setting", name=name, value=value, low=low, high=high)


def scatter(settings: DrawSettings, seed: int) -> Strokes:
    """Strokes of one to three cubics anywhere on the canvas, of any colour and opacity."""
    generator = torch.Generator().manual_seed(seed)
    S = settings.strokes
    points = bezier.walk(bezier.uniform(S, (CANVAS, CANVAS), generator), WALK, generator, PIECES)
    pieces = torch.randint(1, PIECES + 1, (S,), generator=generator)
    # A path of fewer cubics repeats its last point.
    place = torch.arange(points.shape[1]).expand(S, -1).minimum(3 * pieces[:, None])
    points = points.gather(1, place[..., None].expand(-1, -1, 2))
    colors = torch.rand(S, 4, generator=generator)
    widths = np.full(S, settings.width, np.float32)
    return Strokes(points.numpy(), widths, colors.numpy(), settings.background)


class Agreement:
    """CLIPDraw's loss: minus the sum over warped views of the cosine with the prompt, plus the negatives'."""

    def __init__(self, encoder: DualEncoder, texts: list[str], views: int, seed: int) -> None:
        self.loss = PerceptualLoss.of(encoder, {}, 1.0)
        self.text = torch.from_numpy(encoder.encode_text(texts)).to(encoder.device)  # [1 + negatives, D]
        self.weight = torch.full((len(texts),), NEGATIVE_WEIGHT, device=encoder.device)
        self.weight[0] = -1
        self.warps = Warps(area=(0.7, 0.9), ratio=(3 / 4, 4 / 3), fill=1.0)
        self.warped = views
        self.generator = torch.Generator().manual_seed(seed)
        self.matrices = torch.empty(0, 3, 3)

    @property
    def side(self) -> int:
        return self.loss.side

    @property
    def views(self) -> int:
        return 1 + self.warped

    def shuffle(self) -> None:
        self.matrices = self.warps.draw(self.warped, self.generator)

    def __call__(self, images: Tensor, scenes: slice, *, warped: bool = True) -> Verdict:
        N = len(images)
        views = torch.cat([images, self.warps.apply(images, self.matrices)]) if warped else images
        features = self.loss.see(views).image_features
        cosines = F.normalize(features.float(), dim=-1) @ self.text.T  # [K N, texts]
        total = (cosines @ self.weight).view(-1, N)  # [K, N]
        plain = {"prompt": -cosines[:N, 0]}
        if len(self.weight) > 1:
            plain["negatives"] = cosines[:N, 1:] @ self.weight[1:]
        return Verdict(total[1:].sum(0) if warped else total[0], total[0], plain, features[:N])
