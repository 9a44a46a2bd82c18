"""A CLIP that trains while one watches: a few concepts, small images, one language, minutes on one CPU core.

    python -m core.classroom.recipes.clip.live --minutes 2

The loop is figure 3 of the paper (Radford et al. 2021): two encoders into one space, cosines times exp(t), and the
symmetric cross-entropy whose right answers lie on the diagonal. Three things differ, because the world is small:

1. A batch shows each concept several times. Captions of one concept are right for all its images, so the target of a
   row is shared among them, and the loss is counted from the best that such a target allows: as in the paper, pure
   guessing costs log(number of choices), and 0 is perfect.
2. Both encoders end in a BatchNorm without affine part: it keeps features apart from the first step on, when neither
   encoder has learned anything that the other could follow.
3. The text encoder reads words (English) or characters (Chinese) instead of sub-words.

What is measured was never trained on: one in eight combinations of concept and background is kept for it.
Shapes: B images of a batch, N concepts, F wordings of a caption, L words, D embedding width.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from core import runtime, terminal
from core.classroom.recipes.common.lessons import LiveSettings, default_concepts
from core.classroom.world import sprites
from core.classroom.world.atlas import Atlas
from core.classroom.world.concepts import concepts
from core.classroom.world.scenes import render
from core.classroom.world.specs import SceneSettings, Spec, sample
from core.classroom.world.wording import TEMPLATES, phrase
from core.errors import Refusal

PROMPT = {"en": "a photo of {}", "zh": "一张{}的照片"}
SIZE = 32  # pixels of a training image
DIM = 64
STYLES = tuple(style for style, one_colour in sprites.STYLES.items() if not one_colour)
SCENES = SceneSettings(
    kinds=(1, 0, 0, 0), looks=(1, 0, 0, 0, 0, 0), sizes=(0.3, 0.5, 0.2, 0), augment=0.3, poses=0
)
TRAINING, HELD_OUT = 5 << 32, 6 << 32  # where the seeds of scenes start
QUIZ = 8  # held-out scenes a concept, of those kept, that are looked at while it trains
EVERY = 0.8  # seconds between two snapshots


# --- the two encoders -------------------------------------------------------------------------------------


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2016), at half the resolution if `stride` is 2."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU(),
            nn.Conv2d(outer, outer, 3, 1, 1, bias=False), nn.BatchNorm2d(outer),
        )  # fmt: skip
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride), nn.Conv2d(inner, outer, 1, bias=False), nn.BatchNorm2d(outer)
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.main(x))


class ImageEncoder(nn.Sequential):
    """A ResNet of seven convolutions: images [B, 3, H, W] -> features [B, D]."""

    def __init__(self, width: int = 32) -> None:
        super().__init__(
            nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),  # [B, 32, 16, 16]
            Block(width, width, 1), Block(width, 2 * width, 2), Block(2 * width, 4 * width, 2),  # [B, 128, 4, 4]
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, DIM), nn.BatchNorm1d(DIM, affine=False),
        )  # fmt: skip


class TextEncoder(nn.Module):
    """One transformer layer over words, averaged: ids [B, L], 0 where there is no word -> features [B, D]."""

    def __init__(self, vocabulary: int, length: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, DIM)
        self.places = nn.Parameter(0.02 * torch.randn(length, DIM))
        self.layer = nn.TransformerEncoderLayer(DIM, 4, 2 * DIM, 0.0, batch_first=True, norm_first=True)
        self.out = nn.Linear(DIM, DIM)
        self.norm = nn.BatchNorm1d(DIM, affine=False)

    def forward(self, ids: Tensor) -> Tensor:
        empty = ids == 0
        x = self.layer(self.words(ids) + self.places, src_key_padding_mask=empty)  # [B, L, D]
        kept = (~empty)[..., None].float()
        return self.norm(self.out((x * kept).sum(1) / kept.sum(1)))


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """Figure 3 of the paper: image, text [B, D], not normalised; same [B, B] 1 where a caption fits an image."""
    i_e, t_e = F.normalize(image, dim=1), F.normalize(text, dim=1)
    logits = scale * i_e @ t_e.T  # [B, B]
    target = same / same.sum(1, keepdim=True)  # the identity matrix where no concept is there twice
    least = -torch.xlogy(target, target).sum(1).mean()
    loss_i, loss_t = F.cross_entropy(logits, target), F.cross_entropy(logits.T, target)
    return (loss_i + loss_t) / 2 - least


# --- the world ----------------------------------------------------------------------------------------------


def small_atlas(chosen: Sequence[int]) -> Atlas:
    """The colour drawings of these concepts alone: opens in a second and weighs a few megabytes."""
    codes = {concepts()[index].code: index for index in chosen}
    cells = {}
    for style in STYLES:
        sheet, drawn = sprites.sheet(style), set(sprites.drawn()[style])
        cells[style] = {code: sheet[index] for code, index in codes.items() if code in drawn}
    return Atlas(cells, sprites.STYLES)


def kept_back(spec: Spec) -> Tensor:
    """[B] whether a scene's concept on its background is a combination that is never trained on."""
    return (3 * spec.concept[:, 0] + spec.background) % 8 == 0


def training_scenes(number: int, seed: int, atlas: Atlas) -> Spec:
    """At most `number` scenes of trained combinations."""
    spec = sample(round(1.25 * number) + 8, TRAINING + seed, atlas, SCENES)
    return spec.take(torch.nonzero(~kept_back(spec))[:number, 0])


def held_out_scenes(each: int, chosen: Sequence[int], atlas: Atlas) -> Spec:
    """`each` scenes of every chosen concept that were never trained on; one of each first, then the second ones."""
    spec = sample(16 * each * len(chosen) + 400 * len(chosen), HELD_OUT, atlas, SCENES)
    spec = spec.take(torch.nonzero(kept_back(spec))[:, 0])
    label = torch.tensor([list(chosen).index(c) for c in spec.concept[:, 0].tolist()])
    rank = (F.one_hot(label, len(chosen)).cumsum(0) - 1)[torch.arange(len(label)), label]
    order = torch.argsort(rank * len(chosen) + label)
    return spec.take(order[rank[order] < each])


def pieces(text: str, language: str) -> list[str]:
    """A caption's words, or its characters in Chinese."""
    return list(text) if language == "zh" else text.split()


def pixels(picture: Tensor) -> Tensor:
    """Pictures in [0, 1] -> what the image encoder reads."""
    return (4 * picture - 2).contiguous(memory_format=torch.channels_last)


def drawn(spec: Spec, places: Sequence[int], atlas: Atlas, size: int) -> list[Image.Image]:
    """Some scenes of a spec as images."""
    values = render(spec.take(list(places)), atlas, size).picture.permute(0, 2, 3, 1)  # [M, H, W, 3]
    return [Image.fromarray(picture) for picture in (values * 255).round().byte().numpy()]


# --- the lesson ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Snapshot:
    """Where a lesson stands; plain values, so that a page can draw it."""

    seconds: float
    left: float  # seconds until the time is over
    step: int
    pictures: int  # trained on so far
    scale: float
    losses: tuple[tuple[float, float], ...]  # (seconds, mean loss since the last one)
    accuracies: tuple[tuple[float, float], ...]  # (seconds, zero-shot accuracy on `tested` held-out scenes)
    tested: int
    guess: float  # the loss of guessing
    logits: np.ndarray  # [N, N] of the fixed held-out batch, images in rows
    probabilities: np.ndarray  # [N, N], softmax over the captions
    done: bool
    stopped: bool

    @property
    def accuracy(self) -> float:
        """The last one measured, 0..1."""
        return self.accuracies[-1][1]

    @property
    def loss(self) -> float:
        """The last mean; `guess` is what guessing costs."""
        return self.losses[-1][1] if self.losses else math.nan


@dataclass(frozen=True)
class Toy:
    """What a lesson leaves: a classifier of its N concepts, and the held-out scenes to try it on."""

    image: ImageEncoder
    text_features: Tensor  # [N, D], norm 1
    names: tuple[str, ...]
    scale: float
    held_out: Spec
    labels: tuple[int, ...]  # of the held-out scenes, places among the names
    atlas: Atlas

    @torch.no_grad()
    def classify(self, picture: Image.Image) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and cosines [N] of an image, whose largest centred square is read at `SIZE` pixels."""
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        box = (left, top, left + side, top + side)
        small = picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BOX, box)
        values = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float() / 255
        with runtime.semaphore("cpu"):
            cosines = (F.normalize(self.image(pixels(values)), dim=1) @ self.text_features.T)[0]
        return (self.scale * cosines).softmax(0).numpy(), cosines.numpy()

    def scene(self, index: int, size: int = 224) -> tuple[Image.Image, str]:
        """A held-out scene, drawn large, and the name of what it shows; the first N show each concept once."""
        place = index % len(self.labels)
        return drawn(self.held_out, [place], self.atlas, size)[0], self.names[self.labels[place]]


class Lesson:
    """A lesson from its settings: `run` trains and yields snapshots; `toy` is what can be tried afterwards."""

    def __init__(self, settings: LiveSettings) -> None:
        settings.check()
        self.settings = settings
        self.chosen = settings.chosen()
        lang = settings.language
        names = [concepts()[index].name(lang) for index in self.chosen]
        self.names = tuple(names)
        self.captions = tuple(PROMPT[lang].format(phrase(name, lang)) for name in names)
        self.atlas = small_atlas(self.chosen)
        self.held_out = held_out_scenes(settings.exam, self.chosen, self.atlas)
        self.test = render(self.held_out, self.atlas, SIZE).picture

        wordings = [PROMPT[lang], *dict.fromkeys(TEMPLATES[lang])]
        lines = [pieces(form.format(phrase(name, lang)), lang) for name in names for form in wordings]
        vocabulary = {word: 1 + n for n, word in enumerate(sorted({w for line in lines for w in line}))}
        length = max(map(len, lines))
        ids = [[vocabulary[w] for w in line] + [0] * (length - len(line)) for line in lines]
        self.ids = torch.tensor(ids).view(len(names), len(wordings), length)  # [N, F, L]; F = 0 is the prompt

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.image = ImageEncoder()
            self.text = TextEncoder(1 + len(vocabulary), length)
        # A layout that makes convolutions on a CPU faster.
        nn.Module.to(self.image, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.t = nn.Parameter(torch.tensor(math.log(settings.scale)), requires_grad=settings.learn_scale)
        parameters = [*self.image.parameters(), *self.text.parameters(), self.t]
        self.optimizer = torch.optim.AdamW(
            parameters, lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.02
        )
        self.step = self.pictures = 0

    def labels(self, spec: Spec) -> Tensor:
        """[B] places of the scenes' concepts among the chosen ones."""
        place = torch.zeros(len(concepts()), dtype=torch.long)
        place[list(self.chosen)] = torch.arange(len(self.chosen))
        return place[spec.concept[:, 0]]

    def train_step(self, progress: float) -> float:
        """One batch; the learning rate rises quickly and falls to zero with `progress` 0..1. Returns the loss."""
        s = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = (
                s.learning_rate * min(1, 0.05 + progress / 0.03) * (0.5 + 0.5 * math.cos(math.pi * progress))
            )
        self.image.train()
        self.text.train()
        spec = training_scenes(s.batch, s.seed * 1_000_003 + self.step, self.atlas)
        picture = pixels(render(spec, self.atlas, SIZE).picture)  # [B, 3, H, W]
        label = self.labels(spec)
        rng = random.Random(self.step)
        wording = torch.tensor([rng.randrange(self.ids.shape[1]) for _ in label])
        text = self.text(self.ids[label, wording])  # [B, D]
        same = (label[:, None] == label).float()
        loss = contrastive_loss(self.image(picture), text, self.t.exp(), same)

        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            self.t.clamp_(0, math.log(100))  # the paper's cap
        self.step += 1
        self.pictures += len(label)
        return loss.item()

    @torch.no_grad()
    def features(self, number: int) -> tuple[Tensor, Tensor]:
        """Normalised features of the first `number` held-out images [M, D] and of the N prompts [N, D]."""
        self.image.eval()
        self.text.eval()
        image = torch.cat([self.image(pixels(part)) for part in self.test[:number].split(128)])
        return F.normalize(image, dim=1), F.normalize(self.text(self.ids[:, 0]), dim=1)

    def run(
        self, cancel: runtime.Cancel | None = None, clock: Callable[[], float] | None = None
    ) -> Iterator[Snapshot]:
        """Trains until the time is over or `cancel` is set, within one step; the last snapshot says which.

        Between two steps other work on the CPU gets its turn. Wall time counts, so a lesson never lasts longer;
        another `clock` (seconds) is for measuring on a machine that is busy with other things.
        """
        cancel, clock = cancel or runtime.Cancel(), clock or time.monotonic
        budget = 60 * self.settings.minutes
        n, turn = len(self.chosen), runtime.semaphore("cpu")
        guess = math.log(min(n, self.settings.batch))
        losses: list[tuple[float, float]] = []
        accuracies: list[tuple[float, float]] = []
        recent: list[float] = []
        start = shown = clock()

        def snapshot(seconds: float, done: bool) -> Snapshot:
            tested = n * (self.settings.exam if done else QUIZ)
            with turn:
                image, text = self.features(tested)
            truth = self.labels(self.held_out)[: len(image)]
            accuracies.append((seconds, ((image @ text.T).argmax(1) == truth).float().mean().item()))
            logits = self.t.exp().detach() * image[:n] @ text.T
            return Snapshot(
                seconds, max(0.0, budget - seconds), self.step, self.pictures, self.t.exp().item(), tuple(losses),
                tuple(accuracies), len(image), guess, logits.numpy(), logits.softmax(1).numpy(), done, cancel.is_set(),
            )  # fmt: skip

        yield snapshot(0.0, done=False)
        while (seconds := clock() - start) < budget and not cancel.is_set():
            with turn:
                recent.append(self.train_step(seconds / budget))
            now = clock()
            if now - shown >= EVERY:
                losses.append((now - start, sum(recent) / len(recent)))
                recent, shown = [], now
                yield snapshot(now - start, done=False)
        if recent:
            losses.append((clock() - start, sum(recent) / len(recent)))
        yield snapshot(clock() - start, done=True)

    def toy(self) -> Toy:
        """The classifier as it is now."""
        _, text = self.features(1)
        labels = tuple(self.labels(self.held_out).tolist())
        return Toy(self.image, text, self.names, self.t.exp().item(), self.held_out, labels, self.atlas)

    def fixed_batch(self, size: int = 64) -> list[Image.Image]:
        """The fixed held-out batch, one image a concept."""
        return drawn(self.held_out, range(len(self.chosen)), self.atlas, size)


# --- on the command line ------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one lesson and prints where it stands every ten seconds."""
    parser = argparse.ArgumentParser(description="Train a CLIP of a few concepts while watching.")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument(
        "--concepts", type=int, default=16, help="how many of the list in lessons.py, 2 to 24"
    )
    parser.add_argument("--language", choices=["en", "zh"], default="en")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--processor-time", action="store_true", help="count the time of the processor, not that of the wall"
    )
    args = parser.parse_args(argv)
    settings = LiveSettings(
        default_concepts(args.concepts), language=args.language, minutes=args.minutes, seed=args.seed
    )
    try:
        lesson = Lesson(settings)
    except Refusal as refusal:
        parser.error(refusal.text("en"))
    shown = -10.0
    for shot in lesson.run(clock=time.process_time if args.processor_time else None):
        if shot.done or shot.seconds - shown >= 10:
            shown = shot.seconds
            print(
                f"{shot.seconds:5.0f} s  {shot.step:5d} steps  {shot.pictures:6d} images  loss {shot.loss:.2f} "
                f"(guessing {shot.guess:.2f})  new scenes named right {shot.accuracy:.1%} of {shot.tested}",
                flush=True,
            )
    own = shot.probabilities.diagonal()
    print(
        f"fixed batch: {(shot.probabilities.argmax(1) == range(len(own))).sum()} of {len(own)} on the diagonal"
    )


if __name__ == "__main__":
    sys.exit(terminal.run(main))
