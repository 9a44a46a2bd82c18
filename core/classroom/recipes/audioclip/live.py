"""A small audio tower that learns eight sounds while one watches, in a minute or two on one CPU core.

    python -m core.classroom.recipes.audioclip.live --minutes 1 --pairs audio-text

The steps are those of the recipe (`train`); what differs is that there are eight things, few sounds of each, and filters that
stay a Fourier transform, so that spectra are computed once. Every few seconds new sounds are asked for their word and for their
drawing. Nothing is kept.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from core import runtime, terminal
from core.audio.objectives import PAIRS
from core.classroom.recipes.audioclip import train
from core.classroom.recipes.audioclip.evaluate import new_sounds, top
from core.classroom.recipes.common.lessons import check_limits
from core.classroom.recipes.common.looks import looks
from core.classroom.recipes.common.miniature import Miniature, export_folder

CODES = (
    "1F415",
    "1F413",
    "26EA",
    "1F691",
    "1F3B9",
    "1F327",
    "2708",
    "260E",
)  # dog, rooster, church, siren, piano, rain, plane, phone
SOUNDS, EXAM = 12, 4  # of each thing, to learn from and to be asked
SEED = 19_000
EVERY = 4.0  # seconds between two looks
LIMITS = {"minutes": (0.05, 5.0)}
CHOICES = ("all", *("-".join(pair) for pair in PAIRS[:2]))


@dataclass(frozen=True)
class LiveSettings:
    """One lesson. pairs: "all", or the one pair that is trained; language: of the words in the exam."""

    minutes: float = 1.0
    pairs: str = "all"
    language: str = "en"
    seed: int = 0

    def check(self) -> None:
        """Raises Refusal("lesson_range") for a number out of its limits."""
        check_limits(vars(self), LIMITS)


@dataclass(frozen=True)
class Frame:
    """Where a lesson stands."""

    seconds: float
    left: float
    step: int
    loss: float | None
    text: float  # share of new sounds whose word is the nearest of eight
    image: float  # share of new sounds whose drawing is
    done: bool
    stopped: bool


class Lesson:
    """A lesson, ready to run; its sounds are made first."""

    def __init__(self, settings: LiveSettings) -> None:
        settings.check()
        self.settings = settings
        self.folder = tempfile.TemporaryDirectory(prefix="audioclip-live-")
        left_out = (
            ()
            if settings.pairs == "all"
            else tuple("-".join(p) for p in PAIRS if "-".join(p) != settings.pairs)
        )
        self.trainer = train.Trainer(
            train.Settings(
                codes=CODES, sounds=SOUNDS, groups=4, leave_out=left_out, fixed_filters=True, seed=settings.seed,
                minutes=settings.minutes, out=Path(self.folder.name),
            )
        )  # fmt: skip
        waves, self.right = new_sounds(EXAM, SEED, CODES)
        with torch.inference_mode():
            self.decibels = train.FrontEnd.forward(self.trainer.learner.audio, waves[:, None] * train.INT16)
        tower = Miniature(export_folder(train.CLIP))
        self.images = train.drawings(tower, CODES, 1, SEED, new=True)[:, 0]
        self.texts = F.normalize(self.trainer.known.texts[settings.language].mean(1), dim=-1)

    @torch.inference_mode()
    def look(self) -> tuple[float, float]:
        """Both measures of the tower as it is now."""
        learner = self.trainer.learner.eval()
        found = F.normalize(learner.audio.see(self.decibels).features, dim=-1)
        return top(found @ self.texts.T, self.right), top(found @ self.images.T, self.right)

    def run(self, cancel: runtime.Cancel | None = None) -> Iterator[Frame]:
        """Trains until the time is over or `cancel` is set, within one step; the last frame says which."""
        cancel = cancel or runtime.Cancel()
        for seen in looks(self.trainer, self.look, self.settings.minutes, EVERY, cancel):
            yield Frame(
                seen.seconds, seen.left, seen.step, seen.loss, *seen.measured, seen.done, seen.stopped
            )  # fmt: skip
        self.folder.cleanup()


def main(arguments: list[str] | None = None) -> int:
    """One lesson on the command line, a line for each look."""
    parser = argparse.ArgumentParser(
        prog="python -m core.classroom.recipes.audioclip.live", description=__doc__
    )
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--pairs", choices=CHOICES, default="all")
    args = parser.parse_args(arguments)
    for frame in Lesson(LiveSettings(args.minutes, args.pairs)).run():
        loss = "-" if frame.loss is None else f"{frame.loss:.3f}"
        print(
            f"{frame.seconds:5.0f} s  step {frame.step}  loss {loss}  word {frame.text:.2f}  drawing {frame.image:.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(terminal.run(main))
