"""LSeg or GroupViT learning while one watches: the recipes' own steps on small batches, and the mask of a new scene.

    python -m core.classroom.recipes.common.live_masks lseg --minutes 2
    python -m core.classroom.recipes.common.live_masks groupvit --minutes 2

Both start where the long runs start, from a miniature CLIP (`lseg.warm_start`, `groupvit.warm_start`), and learn with the
steps of the recipes. `LESSONS` has what differs from the long runs, so that a minute on one CPU core is enough to see it:
small batches of plain scenes, and for LSeg few labels and a loss in which a pixel of the background counts less at first.
With the settings of the long run LSeg calls everything background for its first 30 seconds: background has three quarters
of the pixels, so this is the cheapest answer until it has learned names, and the IoU of the objects is 0 until then.
Every few seconds the masks of some fixed scenes are drawn whose pairs of concepts no training scene composes:

- LSeg names each pixel with one of the scene's own labels, four others or background;
- GroupViT, which never sees a mask, shows its groups. They are judged with the right name given to each (section 4.5 of the
  paper: what is lost then is lost by grouping, not by naming).

Nothing is written: no file outlives a lesson.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from core import runtime, terminal
from core.classroom.recipes.common.export import MEAN, STD
from core.classroom.recipes.common.lessons import MaskSettings
from core.classroom.recipes.common.masks import DISTRACTORS, IoU, labelled, offers
from core.classroom.recipes.common.running import Run
from core.classroom.recipes.groupvit import train as groupvit
from core.classroom.recipes.lseg import train as lseg
from core.classroom.world.atlas import Atlas, load_atlas
from core.classroom.world.concepts import concepts, seen
from core.classroom.world.scenes import render
from core.classroom.world.specs import SceneSettings, new_pair, sample
from core.errors import Refusal
from core.segmentation import grouping
from core.segmentation.groupvit import MAX_SCALE
from core.segmentation.oracle import oracle_labels

STYLES = (
    "noto",
    "twemoji",
    "fluent-emoji-flat",
)  # of the drawings: fewer than in the long runs, so that it begins soon
SIZE = 96  # pixels of the scenes that are looked at
DRAWN = 384  # of the one that is shown
EXAM = 6  # scenes behind the mean; the first one is shown
CANDIDATES = 64  # they are the ones of so many whose smaller object is the largest
PAIRS = SceneSettings(
    kinds=(0, 1, 0, 0), looks=(1, 0, 0, 0, 0, 0), augment=0.2, poses=0.0, pairs="new", concepts=seen()
)
PLAIN = SceneSettings(
    kinds=(0.3, 0.7, 0, 0), looks=(1, 0, 0, 0, 0, 0), augment=0.2, poses=0.0, concepts=seen()
)  # LSeg's training
SCENES = 7 << 32  # the seed of the scenes
EVERY = 2.0  # seconds between two frames


@dataclass(frozen=True)
class Frame:
    """Where a lesson stands; plain values, so that a page can draw it."""

    seconds: float
    left: float  # seconds until the time is over
    step: int
    pictures: int  # trained on so far
    curve: tuple[
        dict[str, float], ...
    ]  # a row each frame: seconds, step, means of a step's numbers, iou, mean iou
    mask: np.ndarray  # [H, W] uint16, places in `names`
    names: tuple[str, ...]  # LSeg: background and labels; GroupViT: each group by the label it fits best
    done: bool
    stopped: bool

    @property
    def iou(self) -> float:
        """Of the scene that is shown, mean over its objects."""
        return self.curve[-1]["iou"]

    @property
    def mean_iou(self) -> float:
        """Of all `EXAM` scenes."""
        return self.curve[-1]["mean iou"]

    def points(self, name: str) -> list[tuple[float, float]]:
        """(seconds, value) of one column of the curve, where it has one."""
        return [(row["seconds"], row[name]) for row in self.curve if name in row]


@dataclass(frozen=True)
class Look:
    """What a model says of one scene: its mask, the names in it, and the concept it gives each pixel."""

    mask: np.ndarray  # [H, W] uint16
    names: tuple[str, ...]
    guess: Tensor  # [H, W], -1 where background


class Lesson(ABC):
    """A lesson from its settings; `run` trains and yields frames."""

    def __init__(self, settings: MaskSettings, trainer: Run, atlas: Atlas) -> None:
        self.settings, self.trainer = settings, trainer
        spec = sample(CANDIDATES, SCENES, atlas, PAIRS)
        # `sample` tries a few times for a pair that is new, and takes the last one.
        spec = spec.take(torch.nonzero(new_pair(spec.concept[:, 0], spec.concept[:, 1]))[:, 0])
        visible = (
            render(spec, atlas, SIZE // 2).visible[:, :2].flatten(2).sum(2)
        )  # [M, 2] pixels of each object
        chosen = visible.amin(1).topk(EXAM).indices
        scenes = render(spec.take(chosen), atlas, SIZE)
        self.pixels, self.truth = (scenes.picture - MEAN[0]) / STD[0], labelled(scenes)
        g = torch.Generator().manual_seed(SCENES)
        self.offered = [offers(truth, DISTRACTORS, g) for truth in self.truth]
        shown = render(spec.take(chosen[:1]), atlas, DRAWN)
        self.picture = Image.fromarray((shown.picture[0].permute(1, 2, 0) * 255).round().byte().numpy())
        own = [-1, *self.offered[0]]
        lookup = {concept: place for place, concept in enumerate(own)}
        places = [lookup[concept] for concept in labelled(shown)[0].flatten().tolist()]
        self.true_mask = np.array(places, np.uint16).reshape(DRAWN, DRAWN)  # places in `labels`
        self.labels = self.names_of(own)

    def names_of(self, chosen: Sequence[int]) -> tuple[str, ...]:
        """What concepts are called in the lesson's language; -1 is background."""
        lang = self.settings.language
        ground = lseg.BACKGROUND[lang][0]
        return tuple(ground if index < 0 else concepts()[index].name(lang) for index in chosen)

    @abstractmethod
    def look(self) -> list[Look]:
        """What the model, as it is now, says of every scene of the exam."""

    def judge(self) -> tuple[Look, float, float]:
        """The shown scene, its IoU, and that of all scenes."""
        looks = self.look()
        first, total = IoU.empty(), IoU.empty()
        for look, truth, offered in zip(looks, self.truth, self.offered, strict=True):
            total.add(look.guess, truth, offered)
        first.add(looks[0].guess, self.truth[0], self.offered[0])
        return looks[0], first.mean, total.mean

    def run(
        self, cancel: runtime.Cancel | None = None, clock: Callable[[], float] | None = None
    ) -> Iterator[Frame]:
        """Trains until the time is over or `cancel` is set, within one step; the last frame says which.

        Between two steps other work on the CPU gets its turn. Wall time counts, so a lesson never lasts longer;
        another `clock` (seconds) is for measuring on a machine that is busy with other things.
        """
        cancel, clock = cancel or runtime.Cancel(), clock or time.monotonic
        trainer, turn, budget = self.trainer, runtime.semaphore("cpu"), 60 * self.settings.minutes
        curve: list[dict[str, float]] = []
        recent: list[dict[str, float]] = []
        start = shown = clock()

        def frame(done: bool) -> Frame:
            with turn:
                look, iou, mean = self.judge()
            seconds = clock() - start if curve else 0.0
            means = {
                name: sum(row[name] for row in recent) / len(recent) for name in (recent[0] if recent else ())
            }
            curve.append({"seconds": seconds, "step": trainer.step, **means, "iou": iou, "mean iou": mean})
            recent.clear()
            return Frame(
                seconds, max(0.0, budget - seconds), trainer.step, trainer.images, tuple(curve), look.mask, look.names,
                done, cancel.is_set(),
            )  # fmt: skip

        yield frame(done=False)
        while (seconds := clock() - start) < budget and not cancel.is_set():
            # The rate of learning falls with the time of the wall, which the turns of others also use up.
            trainer.seconds = seconds
            with turn:
                recent.append(trainer.advance())
            if clock() - shown >= EVERY:
                yield frame(done=False)
                shown = clock()
        yield frame(done=True)


class LSegLesson(Lesson):
    """Labels of the scene, others and background, pixel by pixel."""

    trainer: lseg.Trainer

    @torch.no_grad()
    def look(self) -> list[Look]:
        net, lang = self.trainer.net.eval(), self.settings.language
        features = net.pixel_features(self.pixels.contiguous(memory_format=torch.channels_last)).float()
        looks = []
        for k, offered in enumerate(self.offered):
            texts = torch.stack(
                [self.trainer.grounds[lang][0], *(self.trainer.names[lang][i][0] for i in offered)]
            )
            best = net.enlarged(features[k : k + 1], texts)[0].argmax(0)
            guess = torch.tensor([-1, *offered])[best]
            looks.append(Look(best.numpy().astype(np.uint16), self.names_of([-1, *offered]), guess))
        return looks


class GroupViTLesson(Lesson):
    """Groups that no mask has taught, each with its right name; and the name that the model itself would give."""

    trainer: groupvit.Trainer

    @torch.no_grad()
    def look(self) -> list[Look]:
        learner, nouns = self.trainer.learner.eval(), self.trainer.nouns[self.settings.language][0]
        found = grouping.encode(learner, self.pixels)
        maps = grouping.compose(found.assignments)[-1].unflatten(2, found.grid)
        groups = F.interpolate(maps, self.pixels.shape[-2:], mode="bilinear", align_corners=False).argmax(1)
        features, whole = F.normalize(found.group_features, dim=-1), F.normalize(found.image_features, dim=-1)
        scale = min(float(learner.logit_scale.exp()), MAX_SCALE)
        looks = []
        for k, offered in enumerate(self.offered):
            texts = F.normalize(learner.text_projection(nouns[offered].float()), dim=-1)
            scores = grouping.group_scores(features[k] @ texts.T, texts @ whole[k], scale)
            own = self.names_of([offered[i] for i in scores.argmax(1).tolist()])
            right = oracle_labels(groups[k].numpy(), self.truth[k].numpy(), len(concepts()))
            mask = groups[k].numpy()
            looks.append(Look(mask.astype(np.uint16), own, torch.from_numpy(right[mask])))
        return looks


def lesson(settings: MaskSettings, atlas: Atlas | None = None, **options: Any) -> Lesson:
    """A lesson, ready to run.

    Args:
        settings: are checked.
        atlas: where the drawings come from; some colour sets when None.
        options: of the recipe's settings, in place of the lesson's own.

    Raises:
        Refusal: "lesson_range" for minutes out of their limits.
    """
    settings.check()
    atlas = atlas or load_atlas(STYLES)
    recipe, kind, own = LESSONS[settings.paper]
    options = {"minutes": settings.minutes, "seed": settings.seed, **own, **options}
    # The recipe looks for an earlier run in its folder: this one is empty, and gone before the first step.
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        return kind(settings, recipe.Trainer(recipe.Settings(out=Path(folder), **options), atlas), atlas)


LESSONS: dict[str, tuple[Any, type[Lesson], dict[str, Any]]] = {
    "lseg": (
        lseg,
        LSegLesson,
        {
            "phases": ((0.25, 64, 6), (1.01, 64, 12)),
            "labels": 6,
            "rate": 2e-3,
            "scenes": PLAIN,
            "background": 0.3,
            "units": 0.2,
        },
    ),
    "groupvit": (groupvit, GroupViTLesson, {"phases": ((1.01, 64, 32),)}),
}


# --- on the command line ------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one lesson and prints where it stands every five seconds."""
    parser = argparse.ArgumentParser(description="Train a small segmenter while watching its mask.")
    parser.add_argument("paper", choices=sorted(LESSONS))
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--language", choices=["en", "zh"], default="en")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--processor-time", action="store_true", help="count the time of the processor, not that of the wall"
    )
    args = parser.parse_args(argv)
    try:
        made = lesson(MaskSettings(args.paper, args.minutes, args.language, args.seed))
    except Refusal as refusal:
        parser.error(refusal.text("en"))
    shown = -5.0
    for frame in made.run(clock=time.process_time if args.processor_time else None):
        if frame.done or frame.seconds - shown >= 5:
            shown = frame.seconds
            loss = frame.points("loss")
            print(
                f"{frame.seconds:5.0f} s  {frame.step:5d} steps  {frame.pictures:6d} images  "
                f"loss {f'{loss[-1][1]:.2f}' if loss else '–'}  IoU {frame.iou:.2f}, of {EXAM} scenes {frame.mean_iou:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(terminal.run(main))
