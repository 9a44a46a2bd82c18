"""What the recipes of masks share: the true concept of each pixel, labels offered beside the own ones, and the mean IoU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.classroom.world.concepts import concepts
from core.classroom.world.scenes import Scenes

SCENES, PART = 192, 8  # of an exam; images that are encoded at once
DISTRACTORS = 4  # labels beside an image's own


def labelled(scenes: Scenes) -> Tensor:
    """[B, H, W] the concept of each pixel, -1 where no object is seen."""
    visible = scenes.visible.float()  # disjoint
    which = scenes.spec.concept.to(visible.device)[:, :, None, None] + 1
    return (visible * which).sum(1).long() - 1


def offers(truth: Tensor, extra: int, g: torch.Generator) -> list[int]:
    """A picture's own concepts, then distractors by lot from all others."""
    own = sorted(set(truth.unique().tolist()) - {-1})
    others = [i for i in torch.randperm(len(concepts()), generator=g).tolist() if i not in own]
    return [*own, *others[:extra]]


@dataclass
class IoU:
    """Intersections and unions by concept; background is the last."""

    intersection: Tensor
    union: Tensor
    visible: Tensor  # images that show the concept

    @classmethod
    def empty(cls) -> IoU:
        return cls(*(torch.zeros(len(concepts()) + 1, dtype=torch.double) for _ in range(3)))

    def add(self, guess: Tensor, truth: Tensor, offered: Sequence[int]) -> None:
        """One picture: the concept of each pixel as guessed and as it is, -1 for background; [H, W] each."""
        for concept in (*offered, -1):
            answer, area = guess == concept, truth == concept
            self.intersection[concept] += (answer & area).sum()
            self.union[concept] += (answer | area).sum()
            self.visible[concept] += area.any()

    @property
    def mean(self) -> float:
        """Mean over the concepts that some image shows."""
        ratio = self.intersection / self.union.clamp(min=1)
        return float(ratio[:-1][self.visible[:-1] > 0].mean())

    @property
    def background(self) -> float:
        """Of what no object covers."""
        return float(self.intersection[-1] / self.union[-1].clamp(min=1))
