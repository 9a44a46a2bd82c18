"""Measure a miniature LSeg: labels of its own and distractors, all labels, absent labels; seen and never-seen concepts apart.

    python -m core.classroom evaluate lseg --checkpoint classroom-lseg [--json] [--record]

Scenes are pairs of concepts that no training scene composes, or single objects; all concepts of a scene are of one kind,
seen (their masks were trained on) or never seen. Distractors of both kinds come from the same pool, all concepts. A
concept's IoU adds up pictures that offer it as a label; the mean is over concepts that are shown, background apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from core.classroom.recipes.clip.evaluate import Rows
from core.classroom.recipes.common.export import MEAN, STD
from core.classroom.recipes.common.miniature import Miniature, export_folder, tower_folder
from core.classroom.recipes.lseg.train import ARCHITECTURE, BACKGROUND, labelled
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.concepts import concepts, seen, unseen
from core.classroom.world.scenes import render
from core.classroom.world.specs import SceneSettings, sample
from core.classroom.world.wording import LANGUAGES
from core.clip.resnet import picture_tower
from core.segmentation.lseg import LSegNet, label_maps

SIZE, SCENES, PART = 96, 192, 8
DISTRACTORS, ABSENT = 4, 20
SEED = 11_000


@dataclass
class IoU:
    """Intersections and unions by concept; background is the last."""

    intersection: Tensor
    union: Tensor
    shown: Tensor

    @classmethod
    def empty(cls) -> IoU:
        return cls(*(torch.zeros(len(concepts()) + 1, dtype=torch.double) for _ in range(3)))

    def add(self, guess: Tensor, truth: Tensor, offered: Sequence[int]) -> None:
        """One picture: the concept of each pixel as guessed and as it is, -1 for background; [H, W] each."""
        for concept in (*offered, -1):
            said, there = guess == concept, truth == concept
            self.intersection[concept] += (said & there).sum()
            self.union[concept] += (said | there).sum()
            self.shown[concept] += there.any()

    @property
    def mean(self) -> float:
        """Mean over the concepts that some picture shows."""
        ratio = self.intersection / self.union.clamp(min=1)
        return float(ratio[:-1][self.shown[:-1] > 0].mean())

    @property
    def background(self) -> float:
        """Of what no object covers."""
        return float(self.intersection[-1] / self.union[-1].clamp(min=1))


class Exported:
    """A miniature LSeg from the folder of its export or a bundled row, in float32 on the CPU."""

    def __init__(self, checkpoint: str) -> None:
        folder = export_folder(checkpoint)
        note = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        self.net = LSegNet(ARCHITECTURE, note["block"], note["depth"], with_clip=False).trim()
        clip = tower_folder(folder)
        towers = load_file(clip / "model.safetensors")
        state = {**picture_tower(towers), **load_file(folder / "model.safetensors")}
        self.net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
        self.net.eval().requires_grad_(False)
        miniature = Miniature(clip)
        self.names = {lang: miniature.texts([c.name(lang) for c in concepts()]) for lang in LANGUAGES}
        self.grounds = {lang: miniature.texts(words[:1]) for lang, words in BACKGROUND.items()}

    @torch.inference_mode()
    def features(self, pictures: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> [B, D, H, W], norm 1: every pixel is doubled, as the backbone halves the picture."""
        doubled = pictures.repeat_interleave(2, -2).repeat_interleave(2, -1)
        return torch.cat([self.net.pixel_features((p - MEAN[0]) / STD[0]) for p in doubled.split(PART)])

    @torch.inference_mode()
    def guess(self, features: Tensor, offered: Sequence[int], lang: str) -> Tensor:
        """One picture's features [D, H, W] -> the concept of each pixel [H, W], -1 for background."""
        texts = torch.cat([self.grounds[lang], self.names[lang][list(offered)]])
        best = self.net.regularized(label_maps(features[None], texts))[0].argmax(0)
        return torch.tensor([-1, *offered])[best]


@dataclass(frozen=True)
class Exam:
    """Pictures of one kind of concept, encoded, with their truth."""

    features: Tensor  # [B, D, H, W]
    truth: Tensor  # [B, H, W]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.features, self.truth, strict=True)


def exam(model: Exported, which: Sequence[int], atlas: Atlas, count: int = SCENES, seed: int = SEED) -> Exam:
    """New compositions of these concepts, encoded."""
    settings = SceneSettings(
        kinds=(0.4, 0.6, 0, 0),
        looks=(1, 0, 0, 0, 0, 0),
        augment=0.4,
        poses=0.0,
        pairs="new",
        concepts=tuple(which),
    )
    scenes = render(sample(count, seed, atlas, settings), atlas, SIZE)
    return Exam(model.features(scenes.picture), labelled(scenes))


def offers(truth: Tensor, extra: int, g: torch.Generator) -> list[int]:
    """A picture's own concepts, then distractors by lot from all others."""
    own = sorted(set(truth.unique().tolist()) - {-1})
    others = [i for i in torch.randperm(len(concepts()), generator=g).tolist() if i not in own]
    return [*own, *others[:extra]]


def measure(model: Exported, pictures: Exam, extra: int | None, lang: str) -> IoU:
    """IoU with `extra` distractors a picture; with all labels when None."""
    total = IoU.empty()
    g = torch.Generator().manual_seed(SEED)
    for features, truth in pictures:
        offered = list(range(len(concepts()))) if extra is None else offers(truth, extra, g)
        total.add(model.guess(features, offered, lang), truth, offered)
    return total


def evaluate(
    checkpoint: str, count: int = SCENES, say: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """All measures as rows of the report card."""
    model, atlas = Exported(checkpoint), open_atlas()
    rows = Rows("lseg", checkpoint, say)

    for split, which in (("seen", seen()), ("never seen", unseen())):
        pictures = exam(model, which, atlas, count)
        for lang in LANGUAGES:
            few = measure(model, pictures, DISTRACTORS, lang)
            rows.add("mIoU, own labels and 4 others", split, lang, few.mean)
            rows.add("IoU of background", split, lang, few.background)
            more = measure(model, pictures, DISTRACTORS + ABSENT, lang)
            rows.add("mIoU lost to 20 absent labels", split, lang, few.mean - more.mean)
        rows.add("mIoU, all labels", split, "en", measure(model, pictures, None, "en").mean)
    return rows.measured
