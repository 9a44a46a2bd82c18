"""Questions of classroom scenes with the grid features of the scenes: a set is drawn and encoded once, and heads learn from it.

Where the last stage of the encoder is to learn along, the map before it is kept too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor

from core.classroom.recipes.clip_vil.encoders import normalised
from core.classroom.recipes.common.running import fast_arithmetic
from core.classroom.world.atlas import Atlas
from core.classroom.world.questions import QUESTIONS, Questions, ask, scenes
from core.classroom.world.scenes import render
from core.classroom.world.specs import Spec
from core.clip.tokenizers import Tokenizer
from core.vqa.clip_vil.grid import stages

SIDE = 160  # pixels of a side of the scenes: a grid of 5 x 5
PART = 64  # scenes that are drawn and encoded together
EACH = 5  # questions of a scene
SEEDS = 1 << 42  # of the training's scenes; evaluation seeds are small numbers


@dataclass(frozen=True)
class QuestionSet:
    """Q questions about N scenes.

    Attributes:
        spec: the scenes.
        questions: what is asked, with the class of each answer.
        features: by encoder [N, h*w, C], half precision: the last stage.
        maps: by encoder [N, C', h', w'], half precision: the stage before it; empty where nobody asked for it.
    """

    spec: Spec
    questions: Questions
    features: Mapping[str, Tensor]
    maps: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def kinds(self) -> list[str]:
        """The kind of each question."""
        return [QUESTIONS[kind] for kind in self.questions.kind.tolist()]


@torch.inference_mode()
def encode(
    encoders: Mapping[str, ModifiedResNet],
    spec: Spec,
    atlas: Atlas,
    keep_maps: bool = False,
    side: int = SIDE,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Features and maps of scenes by encoder, as `QuestionSet` has them."""
    features: dict[str, list[Tensor]] = {name: [] for name in encoders}
    maps: dict[str, list[Tensor]] = {name: [] for name in encoders}
    for at in range(0, len(spec), PART):
        pixels = normalised(render(spec.take(slice(at, at + PART)), atlas, side).picture)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        for name, visual in encoders.items():
            with fast_arithmetic(torch.device("cpu")):
                found = stages(visual, pixels)
            features[name].append(found["layer4"].flatten(2).transpose(1, 2).half())
            if keep_maps:
                maps[name].append(found["layer3"].half())
    joined = {name: torch.cat(parts).contiguous() for name, parts in features.items()}
    return joined, {name: torch.cat(parts).contiguous() for name, parts in maps.items() if parts}


def question_set(
    encoders: Mapping[str, ModifiedResNet],
    count: int,
    seed: int,
    atlas: Atlas,
    each: int = EACH,
    keep_maps: bool = False,
    side: int = SIDE,
    kept: Path | None = None,
) -> QuestionSet:
    """`count` new scenes with `each` questions for one, encoded; `kept`: a file of features, which is read where it is there."""
    spec = scenes(count, seed, atlas)
    questions = ask(spec, each * count, seed + 1)
    if kept is not None and kept.exists():
        features, maps = torch.load(kept, weights_only=True)
    else:
        features, maps = encode(encoders, spec, atlas, keep_maps, side)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            torch.save((features, maps), kept)
    return QuestionSet(spec, questions, features, maps)


def ids_of(tokenize: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Token ids [B, L], padded with 0 to the longest."""
    rows = tokenize(texts)
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
