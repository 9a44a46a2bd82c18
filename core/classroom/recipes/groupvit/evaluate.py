"""Measure a miniature GroupViT, which never saw a mask: masks by its own names, and by the right name of each group.

    python -m core.classroom evaluate groupvit --checkpoint classroom-groupvit [--json] [--record]

Scenes are single objects and pairs that no training scene composes. Labels are a picture's own and four others; the
background threshold is the best of `THRESHOLDS` on other scenes. With oracle labels each group gets the label that most of
its pixels have: what is lost between the two is naming, what is left to 1 is grouping (the paper's section 4.5).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from core.classroom.recipes.common.export import MEAN, STD
from core.classroom.recipes.common.fresh import row_of
from core.classroom.recipes.common.masks import DISTRACTORS, PART, SCENES, IoU, labelled, offers
from core.classroom.recipes.common.rows import Rows
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.concepts import concepts
from core.classroom.world.scenes import render
from core.classroom.world.specs import SceneSettings, sample
from core.classroom.world.wording import LANGUAGES, phrase
from core.segmentation import grouping
from core.segmentation.groupvit import GroupViT
from core.segmentation.oracle import oracle_labels

TEMPLATES = {"en": "a photo of {}", "zh": "一张{}的照片"}
SEED, TUNING = 12_000, 12_500
THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
SINGLES = SceneSettings(kinds=(1, 0, 0, 0), looks=(1, 0, 0, 0, 0, 0), augment=0.4, poses=0.0, pairs="new")
PAIRS = SceneSettings(kinds=(0, 1, 0, 0), looks=(1, 0, 0, 0, 0, 0), augment=0.4, poses=0.0, pairs="new")


class Candidate:
    """A miniature GroupViT, a bundled row or the folder of an export, in float32 on the CPU; with the features of names."""

    def __init__(self, checkpoint: str) -> None:
        model = GroupViT.load(row_of(checkpoint, "groupvit"), "cpu", torch.float32)
        with model.use() as loaded:
            self.model, self.scale = loaded.model, loaded.logit_scale
        self.size = int(self.model.vision_model.config.image_size)
        self.names = {
            lang: torch.from_numpy(
                model.encode_text([phrase(c.name(lang), lang) for c in concepts()], [TEMPLATES[lang]])
            )
            for lang in LANGUAGES
        }

    @torch.inference_mode()
    def look(self, images: Tensor) -> list[Look]:
        """[B, 3, H, W] in [0, 1] -> what is known of each image before any label."""
        looks = []
        for part in images.split(PART):
            grouped = grouping.encode(self.model, (part - MEAN[0]) / STD[0])
            maps = grouping.compose(grouped.assignments)[-1].unflatten(2, grouped.grid)
            maps = F.interpolate(maps, part.shape[-2:], mode="bilinear", align_corners=False)
            features = F.normalize(grouped.group_features, dim=-1)
            whole = F.normalize(grouped.image_features, dim=-1)
            looks += [Look(*parts) for parts in zip(maps.argmax(1), features, whole, strict=True)]
        return looks


class Look:
    """One picture: the group of each pixel [H, W], group features [G, D], image feature [D]."""

    def __init__(self, groups: Tensor, features: Tensor, whole: Tensor) -> None:
        self.groups, self.features, self.whole = groups, features, whole

    def name(self, texts: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """The best label of each group [G] and its score [G]."""
        scores = grouping.group_scores(self.features @ texts.T, texts @ self.whole, scale)
        best, label = scores.max(1)
        return label, best


def masks(
    model: Candidate, looks: Sequence[Look], truths: Tensor, thresholds: Sequence[float], lang: str
) -> dict[float, IoU]:
    """IoU by threshold."""
    totals = {threshold: IoU.empty() for threshold in thresholds}
    g = torch.Generator().manual_seed(SEED)
    for look, truth in zip(looks, truths, strict=True):
        offered = offers(truth, DISTRACTORS, g)
        label, best = look.name(model.names[lang][offered], model.scale)
        names = torch.tensor(offered)[label]
        for threshold, total in totals.items():
            line = min(threshold, float(best.max()))
            total.add(torch.where(best < line, -1, names)[look.groups], truth, offered)
    return totals


def oracle(looks: Sequence[Look], truths: Tensor) -> IoU:
    """IoU when every group has its right name."""
    total = IoU.empty()
    for look, truth in zip(looks, truths, strict=True):
        names = torch.from_numpy(oracle_labels(look.groups.numpy(), truth.numpy(), len(concepts())))
        total.add(names[look.groups], truth, sorted(set(truth.unique().tolist()) - {-1}))
    return total


def scenes(
    model: Candidate, atlas: Atlas, settings: SceneSettings, count: int, seed: int
) -> tuple[list[Look], Tensor]:
    """Pictures as the model sees them, and the concept of each pixel [B, H, W]."""
    made = render(sample(count, seed, atlas, settings), atlas, model.size)
    return model.look(made.picture), labelled(made)


def measure(
    model: Candidate, atlas: Atlas, settings: SceneSettings, count: int, lang: str
) -> tuple[float, float, float]:
    """mIoU of what is named, mIoU with right names, and the background threshold, chosen on other scenes."""
    tuning = masks(model, *scenes(model, atlas, settings, count // 2, TUNING), THRESHOLDS, lang)
    threshold = max(THRESHOLDS, key=lambda t: tuning[t].mean)
    looks, truths = scenes(model, atlas, settings, count, SEED)
    found = masks(model, looks, truths, (threshold,), lang)[threshold]
    return found.mean, oracle(looks, truths).mean, threshold


def evaluate(
    checkpoint: str, count: int = SCENES, say: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """All measures as rows of the report card."""
    model, atlas = Candidate(checkpoint), open_atlas()
    rows = Rows("groupvit", checkpoint, say)

    for split, settings in (("one thing", SINGLES), ("new pairs", PAIRS)):
        for lang in LANGUAGES:
            found, right, threshold = measure(model, atlas, settings, count, lang)
            rows.add("foreground mIoU, own labels and 4 others", split, lang, found)
            rows.add("background threshold", split, lang, threshold)
        rows.add("foreground mIoU, oracle labels", split, "en", right)
    return rows.measured
