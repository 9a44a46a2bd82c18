"""A similarity head that learns while one watches: few clips, one head, a minute or two on one CPU core.

    python -m core.classroom.recipes.clip4clip.live --head seqTransf --clips 100 --minutes 1

The steps are those of the recipe (`train`), from the same start; what differs is that there are few clips. Every few seconds the
head is asked about new clips: which clip a whole caption means, and which of two directions a clip has. Nothing is kept.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from core import runtime, terminal
from core.classroom.recipes.clip4clip import train
from core.classroom.recipes.clip4clip.evaluate import exam, recall
from core.classroom.recipes.common.clip_sets import ClipSet
from core.classroom.recipes.common.lessons import check_limits
from core.classroom.recipes.common.looks import looks
from core.classroom.recipes.common.miniature import Miniature, export_folder
from core.video.clip4clip.heads import HEADERS, Header

EXAM, PAIRS = 64, 64  # new clips for captions, and for directions
SEED = 14_000
EVERY = 4.0  # seconds between two looks
LIMITS = {"minutes": (0.05, 5.0), "clips": (50, 2000)}


@dataclass(frozen=True)
class LiveSettings:
    """One lesson. Numbers outside `LIMITS` are refused; language: of the captions of the exam."""

    head: Header = "seqTransf"
    clips: int = 100
    minutes: float = 1.0
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
    recall: float  # of whole captions among `EXAM` new clips
    direction: float  # of two captions that differ in the direction, the share of right choices
    done: bool
    stopped: bool


class Lesson:
    """A lesson, ready to run; the clips of the exam and of the training are encoded first."""

    def __init__(self, settings: LiveSettings) -> None:
        settings.check()
        self.settings = settings
        tower = Miniature(export_folder(train.CLIP))
        self.clips: ClipSet = exam(tower, EXAM, SEED)
        self.pairs: ClipSet = exam(tower, PAIRS, SEED + 1, directed=True)
        self.folder = tempfile.TemporaryDirectory(prefix="clip4clip-live-")
        self.trainer = train.Trainer(
            train.Settings(
                headers=(settings.head,), clips=settings.clips, seed=settings.seed, minutes=settings.minutes,
                out=Path(self.folder.name),
            )
        )  # fmt: skip

    @torch.inference_mode()
    def look(self) -> tuple[float, float]:
        """Both measures of the head as it is now."""
        learner, lang = self.trainer.learner.eval(), self.settings.language
        head = learner.heads[self.settings.head]

        def logits(texts: list[str], clips: ClipSet) -> torch.Tensor:
            frames = clips.features.float()
            return head(learner.text(texts), frames, torch.ones(frames.shape[:2]), learner.scale)

        every = list(range(len(self.clips)))
        captions = [
            c.text for c in self.clips.sentences(every, ["whole"] * len(every), lang, [0] * len(every))
        ]
        truth = self.clips.truth(every, ["whole"] * len(every), every)
        found = recall(logits(captions, self.clips), truth)
        rows = list(range(len(self.pairs)))
        told = self.pairs.sentences(rows, ["order"] * len(rows), lang, [0] * len(rows))
        table = logits([c.text for c in told] + [str(c.swapped) for c in told], self.pairs)
        right = table[: len(rows)].diagonal() > table[len(rows) :].diagonal()
        return found, float(right.float().mean())

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
        prog="python -m core.classroom.recipes.clip4clip.live", description=__doc__
    )
    parser.add_argument("--head", choices=HEADERS, default="seqTransf")
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=1.0)
    args = parser.parse_args(arguments)
    for frame in Lesson(LiveSettings(args.head, args.clips, args.minutes)).run():
        loss = "-" if frame.loss is None else f"{frame.loss:.3f}"
        print(
            f"{frame.seconds:5.0f} s  step {frame.step}  loss {loss}  R@1 {frame.recall:.2f}  direction {frame.direction:.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(terminal.run(main))
