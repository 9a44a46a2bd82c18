"""Which boxes of an answer are kept, beyond one least score for all: least scores of single labels, and negative labels.

A negative label is a word that is easily taken for one that is asked for: "wolf" where dogs are looked for. It is part of the
question, so that it can win; its boxes take the place of less sure boxes of other labels, and are not shown themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torchvision.ops import box_iou

from core import inputs
from core.detection import boxes as of_boxes

SAME_THING = 0.5  # IoU above which a box of a negative label takes the place of another
ARTICLE = re.compile(r"^(?:an?|the)\s+")


def plain(name: str) -> str:
    """A label or phrase without what makes no difference here: capitals and an article in front."""
    return ARTICLE.sub("", inputs.clean(name).casefold())


def with_negatives(labels: Sequence[str], negatives: Sequence[str]) -> list[str]:
    """The labels, and behind them the negative ones that are not among them."""
    known = set(map(plain, labels))
    return [*labels, *(name for name in negatives if plain(name) not in known)]


def places(names: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...]:
    """Places of the names that are among the wanted ones."""
    keys = set(map(plain, wanted))
    return tuple(at for at, name in enumerate(names) if plain(name) in keys)


def least_scores(
    names: Sequence[str], threshold: float, by_label: Mapping[str, float], negatives: Sequence[int] = ()
) -> np.ndarray:
    """[N] the least score of each label: its own, or the one of all labels; of a negative one the lowest of them."""
    own = {plain(name): score for name, score in by_label.items()}
    least = np.array([own.get(plain(name), threshold) for name in names], np.float32)
    least[list(negatives)] = least.min()
    return least


def select_visible(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, negatives: Sequence[int]
) -> np.ndarray:
    """[R] bool: boxes that are of no negative label and that no surer box of a negative label lies on.

    Args:
        boxes: [R, 4] xyxy.
        scores: [R].
        labels: [R] the label of each box.
        negatives: the labels that are not shown.
    """
    hidden = np.isin(labels, list(negatives))
    if not hidden.any():
        return ~hidden
    overlaps = box_iou(torch.from_numpy(boxes).double(), torch.from_numpy(boxes[hidden]).double()).numpy()
    surer = scores[hidden][None] > scores[:, None]
    return ~hidden & ~((overlaps > SAME_THING) & surer).any(1)


def choose(
    boxes: np.ndarray,
    scores: np.ndarray,
    least: np.ndarray,
    negatives: Sequence[int],
    overlap: float,
    across_labels: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes [R], labels [R] and scores [R] that are shown, best first.

    Args:
        boxes: [M, 4] xyxy.
        scores: [M, N] of each box and label.
        least: [N] of each label.
        negatives, overlap, across_labels: as of `shown` and of `core.detection.boxes.choose`.
    """
    tensors = (torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(least))
    chosen = of_boxes.choose(*tensors, overlap, across_labels=across_labels)
    box, label, score = (part.numpy() for part in chosen)
    visible = select_visible(boxes[box], score, label, negatives)
    return box[visible], label[visible], score[visible]
