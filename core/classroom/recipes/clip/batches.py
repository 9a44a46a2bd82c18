"""What a step of the CLIP recipe sees: the curriculum, and the batches that are made from it, here or in other processes.

Every rendered batch is used twice, `ECHO` steps apart, with captions in one language each; the second time it is moved a little.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from core.classroom.recipes.clip.objectives import true_pairs
from core.classroom.recipes.common import tokenizer as tokens
from core.classroom.recipes.common.running import SEED
from core.classroom.world.atlas import Atlas
from core.classroom.world.captions import TWINS, Caption, Writer
from core.classroom.world.concepts import concepts
from core.classroom.world.factors import table
from core.classroom.world.scenes import render
from core.classroom.world.specs import SceneSettings, Spec, sample
from core.classroom.world.wording import LANGUAGES

TWINNED = 16  # captions of a batch that meet their twins
ECHO = 7  # an odd step sees the images of the even step this many before it, in the other language


@dataclass(frozen=True)
class Phase:
    """Until this share of the time: images of `size` pixels, `batch` a step, scenes drawn by `scenes`.

    captions: whether images are matched with captions too, not only with their concept. forward: whether relations
    are told in one direction only; both at once is an exclusive-or of order and word, which is not learned from nothing.
    factors: the share of each factor in the loss. From the beginning grounds would be learned in place of things; once they
    are learned, a small share keeps them.
    """

    until: float
    size: int
    batch: int
    scenes: SceneSettings
    captions: bool
    forward: bool = False
    factors: float = 0.25


_SINGLES = SceneSettings(
    kinds=(1, 0, 0, 0), looks=(0.8, 0.04, 0.03, 0.05, 0.05, 0.03), augment=0.5, easy=True, poses=0
)
_ONE = SceneSettings(kinds=(1, 0, 0, 0), augment=0.8, poses=0.02)
_ALL = SceneSettings(kinds=(0.5, 0.3, 0.14, 0.06), looks=(0.62, 0.1, 0.06, 0.08, 0.09, 0.05))
PHASES: dict[str, tuple[Phase, ...]] = {
    "classroom-rn": (
        Phase(0.04, 48, 96, _SINGLES, False, factors=0.0),
        Phase(0.20, 48, 128, _ONE, False, factors=0.1),
        Phase(0.40, 48, 192, _ALL, True, forward=True),
        Phase(0.66, 48, 192, _ALL, True, factors=0.1),
        Phase(1.01, 64, 224, _ALL, True, factors=0.1),
    ),
    "classroom-vit": (
        Phase(0.16, 64, 128, _ONE, False, factors=0.1),
        Phase(1.01, 64, 128, _ALL, True, factors=0.1),
    ),
}


@dataclass(frozen=True)
class Batch:
    """What one step sees. N texts: the captions, their swapped ones, their twins, and the table of factors.

    number: the step whose scenes these are. picture: [B, 3, H, W]. ids: [N, L]. parts: how many of each kind of text.
    truth: [B, B] 1 where a caption is known to be true of an image. Without captions the last three are empty.
    """

    number: int
    phase: Phase
    spec: Spec
    picture: Tensor
    lang: str
    captions: list[Caption]
    ids: Tensor
    parts: tuple[int, ...]
    truth: Tensor

    @property
    def told(self) -> list[int]:
        """Scenes whose caption tells a relation, and so has a swapped twin."""
        return [i for i, caption in enumerate(self.captions) if caption.swapped is not None]

    @property
    def twinned(self) -> list[int]:
        """The scenes whose captions meet their twins."""
        named = [i for i, caption in enumerate(self.captions) if caption.twins]
        return named[: self.parts[2] // TWINS] if named else []

    def to(self, device: torch.device) -> Batch:
        """The same with images, ids and truth on this device."""
        return replace(
            self, picture=self.picture.to(device), ids=self.ids.to(device), truth=self.truth.to(device)
        )


@dataclass(frozen=True)
class Request:
    """What a step asks for: the scenes of step `number`, and whether their images have to be drawn."""

    step: int
    number: int
    phase: Phase
    drawn: bool


class Batches(Dataset[Batch]):
    """Batches by request. A batch whose images are not to be drawn has none (B of them, 0 pixels)."""

    def __init__(self, seed: int, atlas: Atlas, tokenizer: Tokenizer, twinned: int = TWINNED) -> None:
        self.seed, self.atlas, self.tokenizer, self.twinned = seed, atlas, tokenizer, twinned

    def __getitem__(self, request: Request) -> Batch:
        number, phase, mono = request.number, request.phase, self.atlas.mono
        spec = sample(phase.batch, SEED + (self.seed << 24) + number, self.atlas, phase.scenes)
        picture = torch.empty(len(spec), 3, 0, 0)
        if request.drawn:
            picture = render(spec, self.atlas, phase.size).picture
        lang = LANGUAGES[request.step % 2]
        if not phase.captions:
            none = torch.empty(0, tokens.CONTEXT, dtype=torch.long)
            return Batch(number, phase, spec, picture, lang, [], none, (), torch.empty(0, 0))
        rng = random.Random(request.step)
        writer = Writer(spec, mono, phase.forward)
        captions = [writer.write(i, lang, rng) for i in range(len(writer))]
        twinned = [c for c in captions if c.twins][: self.twinned]
        lines = (
            [c.text for c in captions],
            [c.swapped for c in captions if c.swapped is not None],
            [twin for c in twinned for twin in c.twins],
            table(rng.choice(concepts()), lang, rng.randrange(6)),
        )
        ids = tokens.tokenize(self.tokenizer, [line for part in lines for line in part])
        truth = true_pairs(captions, spec, mono)
        return Batch(number, phase, spec, picture, lang, captions, ids, tuple(map(len, lines)), truth)


def feed(
    batches: Batches, first: int, phase_at: Callable[[int], Phase], device: torch.device, workers: int = 0
) -> Iterator[Batch]:
    """The batches of step `first` and all after it, on a device.

    Args:
        phase_at: the phase of a step. It is asked when the step's batch is begun, which is some steps ahead with workers.
        workers: processes that make batches; 0 makes each one when it is needed.
    """

    def requests() -> Iterator[Request]:
        drawn: deque[tuple[int, Phase]] = deque(maxlen=ECHO // 2 + 1)
        step = first
        while True:
            phase = phase_at(step)
            number = step if step % 2 == 0 or step < ECHO else step - ECHO
            again = (number, phase) in drawn
            if step % 2 == 0:  # odd steps draw only what has no even one; nothing comes back to it
                drawn.append((number, phase))
            yield Request(step, number, phase, not again)
            step += 1

    kept: deque[Batch] = deque(maxlen=ECHO // 2 + 1)
    loader = DataLoader(
        batches,
        sampler=requests(),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=2 if workers else None,
    )
    for step, made in enumerate(loader, first):
        batch = made.to(device)
        if step % 2 == 0:
            kept.append(batch)
        if not batch.picture.shape[-1]:
            old = next(b for b in kept if (b.number, b.phase) == (batch.number, batch.phase))
            batch = replace(batch, picture=_moved(old.picture, step))
        yield batch


def _moved(picture: Tensor, seed: int) -> Tensor:
    """Pictures [B, 3, H, W] shifted together by up to a twentieth of their side, the edge repeated."""
    h, w = picture.shape[-2:]
    reach = max(1, h // 20)
    rng = random.Random(seed)
    dy, dx = rng.randint(-reach, reach), rng.randint(-reach, reach)
    wide = F.pad(picture, (reach, reach, reach, reach), mode="replicate")
    return wide[..., reach + dy : reach + dy + h, reach + dx : reach + dx + w]
