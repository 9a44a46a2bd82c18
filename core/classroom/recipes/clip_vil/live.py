"""The answering head learns from 1,000 questions while one watches, on three encoders at once or on that of any CLIP ResNet.

    python -m core.classroom.recipes.clip_vil.live --minutes 1 [--row clip-rn50]

The encoders are those of a miniature CLIP-ViL, frozen: the features of 200 scenes are computed once, then a step takes
milliseconds. The page and the command line run the same steps.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from core import checkpoints, runtime, terminal
from core.classroom.recipes.clip_vil import evaluate
from core.classroom.recipes.clip_vil.questions import EACH, SEEDS, SIDE, QuestionSet, question_set
from core.classroom.recipes.clip_vil.train import Settings, Trainer
from core.classroom.recipes.common.lessons import LIMITS, check_limits
from core.classroom.recipes.common.looks import looks
from core.classroom.world.atlas import open_atlas
from core.classroom.world.questions import ask, scenes
from core.classroom.world.scenes import render
from core.vqa.clip_vil.grid import GridView
from core.vqa.clip_vil.models import ENCODERS, CLIPViL, GridEncoder

QUESTIONS, EXAM = 1_000, 80  # that are learned from; scenes of the exam
SEED = 31_900
EVERY = 3.0  # seconds from one look to the next


@dataclass(frozen=True)
class LiveSettings:
    """One lesson.

    Attributes:
        minutes: of training.
        questions: that are learned from.
        language: "en" or "zh", of the exam.
        row: a CLIP row with a ResNet in place of the miniature's three encoders.
        checkpoint: the miniature whose encoders are used.
    """

    minutes: float = 1.0
    questions: int = QUESTIONS
    language: str = "en"
    row: str = ""
    checkpoint: str = ""
    seed: int = 0

    def check(self) -> None:
        """Raises Refusal("lesson_range") for minutes out of their limits."""
        check_limits(vars(self), LIMITS)


@dataclass(frozen=True)
class Frame:
    """A look at the lesson.

    Attributes:
        right: by encoder the share of right answers to new questions, the mean over kinds.
        done, stopped: whether this is the last look, and whether `cancel` ended it.
    """

    seconds: float
    left: float
    step: int
    loss: float | None
    right: dict[str, float]
    done: bool
    stopped: bool


def hub_set(row: str, count: int, seed: int, check: Any, each: int = EACH) -> QuestionSet:
    """`count` new scenes with questions, encoded by the ResNet of a CLIP row."""
    encoder, atlas, view = (
        GridEncoder.load(row),
        open_atlas(),
        GridView(2 * SIDE, 2 * SIDE, (2 * SIDE, 2 * SIDE)),
    )
    spec = scenes(count, seed, atlas)
    features: list[Tensor] = []
    for picture in render(spec, atlas, SIDE).picture:
        check()
        image = Image.fromarray((picture.permute(1, 2, 0) * 255).round().byte().numpy())
        features.append(torch.from_numpy(encoder.encode(image, view)).flatten(0, 1).half())
    return QuestionSet(spec, ask(spec, each * count, seed + 1), {row: torch.stack(features)}, {})


class Lesson:
    """The steps of one lesson. Making one draws and encodes its scenes."""

    def __init__(self, settings: LiveSettings, cancel: runtime.Cancel | None = None) -> None:
        """Raises: Refusal for settings out of their limits, or a row that is not here; `Stopped` where `cancel` is set."""
        settings.check()
        self.settings = settings
        self.cancel = cancel or runtime.Cancel()
        count = max(1, settings.questions // EACH)
        atlas, which = open_atlas(), (settings.row,) if settings.row else ENCODERS
        if settings.row:
            training = hub_set(settings.row, count, SEEDS + SEED, self.cancel.check)
            self.exam = hub_set(settings.row, EXAM, SEED, self.cancel.check)
            towers: Any = dict.fromkeys(which)
        else:
            model = CLIPViL.load(settings.checkpoint or checkpoints.default("clip_vil"), "cpu")
            with model.use() as loaded:
                towers = dict(loaded.towers)
                training = question_set(towers, count, SEEDS + SEED, atlas)
                self.cancel.check()
                self.exam = question_set(towers, EXAM, SEED, atlas)
        self.folder = tempfile.TemporaryDirectory(prefix="clip-vil-live-")
        self.trainer = Trainer(
            Settings(which=which, minutes=settings.minutes, seed=settings.seed, out=Path(self.folder.name)),
            atlas,
            towers,
            training,
        )

    def look(self) -> dict[str, float]:
        """The share of right answers of every head as it is now."""
        learner, found = self.trainer.learner.eval(), {}
        for name in self.trainer.settings.which:

            def logits(features: Tensor, ids: Tensor, name: str = name) -> Tensor:
                return learner(name, features, None, ids)

            predicted = evaluate.predictions(
                logits,
                self.exam.features[name],
                self.exam.questions,
                self.trainer.tokenize,
                self.settings.language,
            )
            found[name] = evaluate.mean(evaluate.by_kind(predicted, self.exam.questions))
        return found

    def run(self) -> Iterator[Frame]:
        """Trains until the time is over or `cancel` is set, within one step; the last frame says which."""
        for seen in looks(self.trainer, self.look, self.settings.minutes, EVERY, self.cancel):
            yield Frame(
                seen.seconds, seen.left, seen.step, seen.loss, seen.measured, seen.done, seen.stopped
            )  # fmt: skip
        self.folder.cleanup()


def main(arguments: list[str] | None = None) -> int:
    """One lesson on the command line, a line for each look."""
    parser = argparse.ArgumentParser(
        prog="python -m core.classroom.recipes.clip_vil.live", description=__doc__
    )
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    parser.add_argument("--row", default="", help="a CLIP row with a ResNet, such as clip-rn50")
    args = parser.parse_args(arguments)
    for frame in Lesson(LiveSettings(args.minutes, args.questions, row=args.row)).run():
        right = "  ".join(f"{name} {share:.2f}" for name, share in frame.right.items())
        print(f"{frame.seconds:5.0f} s  step {frame.step}  {right}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(terminal.run(main))
