"""Chinese-CLIP's two stages of training, small enough to watch: the image tower locked, then both towers moving.

The image tower is a checkpoint's that already sees the classroom. A new text tower, which has never read anything, learns
Chinese names for its pictures: in stage 1 the image tower is locked (LiT, Zhai et al. 2022,
https://arxiv.org/abs/2111.07991), in stage 2 both move (Yang et al. 2022, https://arxiv.org/abs/2211.01335, figure 1).
English names, read by the text tower that the image tower was trained with, show what moving costs.

Three things differ from the paper, because this runs in seconds: of the image tower only its last linear step moves, so
that images are encoded once; the text tower starts from nothing instead of from a Chinese RoBERTa; and the images
are the classroom's, which the image tower knows already, so stage 2 has little left to gain.
Shapes: M images, N names, F wordings of a name, L characters, D embedding width.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core import runtime, terminal
from core.classroom.recipes.clip.live import (
    DIM,
    HELD_OUT,
    PROMPT,
    SCENES,
    TRAINING,
    TextEncoder,
    contrastive_loss,
    drawn,
    pieces,
    small_atlas,
)
from core.classroom.recipes.common.lessons import default_concepts
from core.classroom.world.concepts import concepts
from core.classroom.world.specs import sample
from core.classroom.world.wording import TEMPLATES, phrase
from core.clip.crops import encode_pictures
from core.clip.zero_shot import ZeroShot

NAMES, PICTURES, EXAM = 16, 384, 192  # names to learn, images to learn from, images to be examined on
SIDE, BATCH, SHOWN = 96, 48, 10  # pixels, pairs a step, steps between two examinations
SCALE = 30.0  # exp(t), fixed: two towers that one compares must not differ in it
TEXT_RATE, IMAGE_RATE = 2e-3, 5e-4


@dataclass(frozen=True)
class Examined:
    """Both languages' accuracy on images that were never trained on, 0..1, after a number of steps."""

    step: int
    chinese: float
    english: float
    kept: float  # mean cosine of the image features with what they were before training


@dataclass(frozen=True)
class Moment:
    """Where the training stands; plain values, so that a page can draw it."""

    step: int
    steps: int
    locked: bool  # whether the image tower is locked at the next step
    share: float  # 0..1 of everything that is to be done, the encoding of images included
    left: float  # seconds, about
    exams: tuple[Examined, ...]
    done: bool
    stopped: bool


class TwoStages:
    """The training from its settings; `run` yields moments.

    Args:
        checkpoint: the row whose image tower is taken, with the text tower that reads English for it.
        locked_steps: steps with the image tower locked; 0 moves both towers from the start.
        free_steps: steps with both towers moving.
        seed: of the images, the text tower and the batches.
    """

    def __init__(
        self,
        checkpoint: str,
        locked_steps: int = 120,
        free_steps: int = 120,
        seed: int = 0,
        pictures: int = PICTURES,
        exam: int = EXAM,
    ) -> None:
        self.model = ZeroShot.load(checkpoint)
        self.locked_steps, self.steps = locked_steps, locked_steps + free_steps
        self.chosen = default_concepts(NAMES)
        atlas = small_atlas(self.chosen)
        self.atlas = atlas
        self.specs = sample(pictures, TRAINING + seed, atlas, SCENES), sample(exam, HELD_OUT, atlas, SCENES)
        self.random = torch.Generator().manual_seed(seed)

        names = [concepts()[index].zh for index in self.chosen]
        wordings = [PROMPT["zh"], *dict.fromkeys(TEMPLATES["zh"])]
        lines = [pieces(form.format(name), "zh") for name in names for form in wordings]
        vocabulary = {sign: 1 + n for n, sign in enumerate(sorted({sign for line in lines for sign in line}))}
        length = max(map(len, lines))
        ids = [[vocabulary[sign] for sign in line] + [0] * (length - len(line)) for line in lines]
        self.ids = torch.tensor(ids).view(len(names), len(wordings), length)  # [N, F, L]; F = 0 is the prompt

        english = [PROMPT["en"].format(phrase(concepts()[index].en, "en")) for index in self.chosen]
        self.english = torch.from_numpy(self.model.encode_text(english))  # [N, D]
        width = self.english.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.text = nn.Sequential(TextEncoder(1 + len(vocabulary), length), nn.Linear(DIM, width))
        self.image = nn.Linear(width, width, bias=False)
        nn.init.eye_(self.image.weight)
        groups = [
            {"params": self.text.parameters(), "lr": TEXT_RATE},
            {"params": self.image.parameters(), "lr": IMAGE_RATE},
        ]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.0)

    def run(self, cancel: runtime.Cancel | None = None) -> Iterator[Moment]:
        """Encodes the images, trains, examines; ends within a step when `cancel` is set.

        The last moment is marked as done. Between two steps other work on the CPU gets its turn.
        """
        cancel = cancel or runtime.Cancel()
        total = sum(map(len, self.specs))
        # What one image and one step cost, against each other; only the bar depends on it.
        work, begun = total + self.steps, time.monotonic()
        exams: list[Examined] = []

        def moment(step: int, finished: int, done: bool = False) -> Moment:
            share = finished / work
            left = (time.monotonic() - begun) * (1 - share) / share if share else math.inf
            locked = step < self.locked_steps
            return Moment(step, self.steps, locked, share, left, tuple(exams), done, cancel.is_set())

        parts: list[Tensor] = []
        for start in range(0, total, 32):
            if cancel.is_set():
                break
            parts.append(self._encoded(start, min(start + 32, total)))
            yield moment(0, min(start + 32, total))
        if cancel.is_set():
            yield moment(0, 0, done=True)
            return
        features = torch.cat(parts)
        pictures, exam = features.split([len(self.specs[0]), len(self.specs[1])])
        label, truth = self._labels(0), self._labels(1)

        turn, step = runtime.semaphore("cpu"), 0
        with turn:
            exams.append(self._examined(0, exam, truth))
        yield moment(0, total)
        while step < self.steps and not cancel.is_set():
            with turn:
                self.train_step(pictures, label, locked=step < self.locked_steps)
            step += 1
            if step % SHOWN == 0 or step in (self.locked_steps, self.steps) or cancel.is_set():
                with turn:
                    exams.append(self._examined(step, exam, truth))
                if step < self.steps:
                    yield moment(step, total + step)
        yield moment(step, total + step, done=True)

    def train_step(self, pictures: Tensor, label: Tensor, locked: bool) -> float:
        """One batch of the contrastive loss.

        Args:
            pictures: [M, D], encoded once.
            label: [M], which name each shows.
            locked: whether only the text tower moves.
        """
        chosen = torch.randint(len(pictures), (BATCH,), generator=self.random)
        wording = torch.randint(self.ids.shape[1], (BATCH,), generator=self.random)
        self.text.train()
        text = self.text(self.ids[label[chosen], wording])  # [B, D]
        self.image.requires_grad_(not locked)
        image = self.image(pictures[chosen])  # [B, D]
        same = (label[chosen][:, None] == label[chosen]).float()
        loss = contrastive_loss(image, text, torch.tensor(SCALE), same)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def _examined(self, step: int, pictures: Tensor, truth: Tensor) -> Examined:
        self.text.eval()
        image = F.normalize(self.image(pictures), dim=1)  # [M, D]
        chinese = F.normalize(self.text(self.ids[:, 0]), dim=1)  # [N, D]
        right = [
            ((image @ names.T).argmax(1) == truth).float().mean().item() for names in (chinese, self.english)
        ]
        return Examined(step, right[0], right[1], (image * pictures).sum(1).mean().item())

    def _encoded(self, start: int, end: int) -> Tensor:
        """Image features [end - start, D] of some of the images, those of the exam behind the others."""
        here = len(self.specs[0])
        places = [(0, i) if i < here else (1, i - here) for i in range(start, end)]
        images = [
            picture
            for part in (0, 1)
            if (chosen := [i for where, i in places if where == part])
            for picture in drawn(self.specs[part], chosen, self.atlas, SIDE)
        ]
        return torch.from_numpy(encode_pictures(self.model, images))

    def _labels(self, part: int) -> Tensor:
        place = torch.zeros(len(concepts()), dtype=torch.long)
        place[list(self.chosen)] = torch.arange(len(self.chosen))
        return place[self.specs[part].concept[:, 0]]


# --- on the command line ------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    """Runs both stages and prints every examination."""
    parser = argparse.ArgumentParser(description="Chinese-CLIP's two stages of training, in small.")
    parser.add_argument("--checkpoint", default="classroom-rn", help="the row whose image tower is taken")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    *_, last = TwoStages(args.checkpoint, seed=args.seed).run()
    for exam in last.exams:
        print(
            f"step {exam.step:3d}  Chinese names right {exam.chinese:.1%}  English names right {exam.english:.1%}  "
            f"cosine with the features before {exam.kept:.3f}"
        )


if __name__ == "__main__":
    sys.exit(terminal.run(main))
