"""Measure a miniature LSeg: labels of its own and distractors, all labels, absent labels; seen and never-seen concepts apart.

    python -m core.classroom evaluate lseg --checkpoint classroom-lseg [--json] [--record]

Scenes are pairs of concepts that no training scene composes, or single objects; all concepts of a scene are of one kind,
seen (their masks were trained on) or never seen. Distractors of both kinds come from the same pool, all concepts. A
concept's IoU adds up images that offer it as a label; the mean is over concepts that are shown, background apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from core.classroom.recipes.common.export import MEAN, STD
from core.classroom.recipes.common.fresh import row_of
from core.classroom.recipes.common.masks import DISTRACTORS, PART, SCENES, IoU, labelled, offers
from core.classroom.recipes.common.rows import Rows
from core.classroom.recipes.lseg.train import BACKGROUND
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.concepts import concepts, seen, unseen
from core.classroom.world.scenes import render
from core.classroom.world.specs import SceneSettings, sample
from core.classroom.world.wording import LANGUAGES
from core.segmentation.lseg import LSeg, label_maps

SIZE, ABSENT = 96, 20
SEED = 11_000


class Candidate:
    """A miniature LSeg, a bundled row or the folder of an export, in float32 on the CPU; with the features of all names.

    Attributes:
        block: a regularization block in place of the network's own.
    """

    def __init__(self, checkpoint: str) -> None:
        model = LSeg.load(row_of(checkpoint, "lseg"), "cpu", torch.float32)
        with model.use() as loaded:
            self.net = loaded.net
        self.block: nn.Module | None = None
        names = {lang: model.encode_text([c.name(lang) for c in concepts()]) for lang in LANGUAGES}
        grounds = {lang: model.encode_text(words[:1]) for lang, words in BACKGROUND.items()}
        self.names, self.grounds = (
            {lang: torch.from_numpy(one) for lang, one in features.items()} for features in (names, grounds)
        )

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> [B, D, H, W], norm 1: every pixel is doubled, as the backbone halves the image."""
        doubled = images.repeat_interleave(2, -2).repeat_interleave(2, -1)
        return torch.cat([self.net.pixel_features((p - MEAN[0]) / STD[0]) for p in doubled.split(PART)])

    @torch.inference_mode()
    def guess(self, features: Tensor, offered: Sequence[int], lang: str) -> Tensor:
        """One image's features [D, H, W] -> the concept of each pixel [H, W], -1 for background."""
        texts = torch.cat([self.grounds[lang], self.names[lang][list(offered)]])
        maps = label_maps(features[None], texts)
        regularized = self.net.regularized(maps) if self.block is None else self.block(maps)
        return torch.tensor([-1, *offered])[regularized[0].argmax(0)]


@dataclass(frozen=True)
class Exam:
    """Pictures of one kind of concept, encoded, with their truth."""

    features: Tensor  # [B, D, H, W]
    truth: Tensor  # [B, H, W]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.features, self.truth, strict=True)


def exam(model: Candidate, which: Sequence[int], atlas: Atlas, count: int = SCENES, seed: int = SEED) -> Exam:
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


def measure(model: Candidate, pictures: Exam, extra: int | None, lang: str) -> IoU:
    """IoU with `extra` distractors an image; with all labels when None."""
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
    model, atlas = Candidate(checkpoint), open_atlas()
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
