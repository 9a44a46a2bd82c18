"""Anchors, boxes and what is kept of them (GLIP section 3.1 takes these from ATSS and its one anchor for a place).

Boxes are xyxy and, as in the published code, reach to the last pixel inside: their width is x2 - x1 + 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms

WEIGHTS = (10.0, 10.0, 5.0, 5.0)
LARGEST = math.log(1000 / 16)  # of a logarithm of a side's ratio

CANDIDATE = 0.05  # a place's probability for a phrase, before centerness, that it is looked at with
OF_A_LEVEL = 1000
SUPPRESSED = 0.6
Phrase = Literal["mean", "best"]


def cell_anchors(strides: Sequence[int], scale: float) -> list[Tensor]:
    """[1, 4] of each level: a square of `scale` strides around the middle of the first cell."""
    anchors = []
    for stride in strides:
        middle, half = (stride - 1) / 2, (scale * stride - 1) / 2
        anchors.append(torch.tensor([[middle - half, middle - half, middle + half, middle + half]]).round())
    return anchors


def spread(cells: Sequence[Tensor], strides: Sequence[int], shapes: Sequence[tuple[int, int]]) -> Tensor:
    """The anchors of all places of all levels, [R, 4], row by row."""
    anchors = []
    for cell, stride, (height, width) in zip(cells, strides, shapes, strict=True):
        y = torch.arange(height, device=cell.device) * stride
        x = torch.arange(width, device=cell.device) * stride
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        corner = torch.stack([columns, rows], dim=-1).flatten(0, 1)  # [h * w, 2]
        anchors.append(corner.repeat(1, 2) + cell)
    return torch.cat(anchors)


def _middles(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Centres and sides, [..., 2] each."""
    sides = boxes[..., 2:] - boxes[..., :2] + 1
    return (boxes[..., 2:] + boxes[..., :2]) / 2, sides


def encode(boxes: Tensor, anchors: Tensor) -> Tensor:
    """What the head should say of boxes [..., 4] at anchors [..., 4]: the other way of `decode`."""
    (middle, sides), (own_middle, own_sides) = _middles(boxes), _middles(anchors)
    weights = torch.tensor(WEIGHTS, device=boxes.device)
    return weights * torch.cat([(middle - own_middle) / own_sides, (sides / own_sides).log()], dim=-1)


def decode(deltas: Tensor, anchors: Tensor) -> Tensor:
    """The boxes [..., 4] that deltas [..., 4] mean at anchors [..., 4]."""
    own_middle, own_sides = _middles(anchors)
    parts = deltas / torch.tensor(WEIGHTS, device=deltas.device, dtype=deltas.dtype)
    middle = own_middle + parts[..., :2] * own_sides
    half = (own_sides * parts[..., 2:].clamp(max=LARGEST).exp() - 1) / 2
    return torch.cat([middle - half, middle + half], dim=-1)


def corners(relative: Tensor, size: tuple[int, int]) -> Tensor:
    """Middles and sides as shares of an image [R, 4] -> xyxy pixels, clipped to it."""
    width, height = size
    middle, half = relative[:, :2], relative[:, 2:] / 2
    shares = torch.cat([middle - half, middle + half], dim=1).clamp(0, 1)
    return shares * torch.tensor([width, height, width, height], device=relative.device)


@dataclass(frozen=True)
class Kept:
    """The boxes that are left, best first."""

    boxes: Tensor  # [N, 4]
    scores: Tensor  # [N]
    phrases: Tensor  # [N]
    places: Tensor  # [N] which of the R places each comes from


def phrase_scores(logits: Tensor, phrases: Sequence[Sequence[int]], phrase: Phrase = "mean") -> Tensor:
    """Logits [R, L] and the words of each phrase -> probabilities [R, K].

    Args:
        logits: of places and words.
        phrases: the words of each phrase.
        phrase: "mean" over a phrase's words, as GLIP's authors score it, or the "best" word, as those of Grounding DINO do.
    """
    if phrase == "best":
        shares = logits.float().sigmoid()
        columns = [
            shares[:, list(words)].amax(1) if words else torch.zeros_like(shares[:, 0]) for words in phrases
        ]
        return torch.stack(columns, dim=1)
    belongs = torch.zeros(len(phrases), logits.shape[-1])
    for row, words in zip(belongs, phrases, strict=True):
        row[list(words)] = 1 / max(len(words), 1)
    return logits.float().sigmoid() @ belongs.T.to(logits.device)


def suppress_overlaps(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Indices [K] of boxes that do not stand for a surer one, whatever their phrases are; best first.

    Args:
        boxes: [R, 4].
        scores: [R].
    """
    reach = torch.from_numpy(boxes).double() + torch.tensor([0, 0, 1, 1])
    return nms(reach, torch.from_numpy(scores).double(), SUPPRESSED).numpy()


def keep(
    scores: Tensor,
    central: Tensor,
    boxes: Tensor,
    levels: Sequence[int],
    size: tuple[int, int],
    limit: int = 100,
    threshold: float = 0.0,
) -> Kept:
    """Candidates of each level, scored with their centerness, clipped, and suppressed phrase by phrase.

    Args:
        scores: [R, K] probabilities of phrases.
        central: [R] logits of centerness.
        boxes: [R, 4] decoded.
        levels: how many places each level has.
        size: width, height that boxes are clipped to.
        limit, threshold: of what is left.
    """
    found: list[Tensor] = []
    start = 0
    for count in levels:
        part = scores[start : start + count].flatten()
        best = part.where(part > CANDIDATE, -1).topk(min(OF_A_LEVEL, len(part)))
        found.append(best.indices[best.values > 0] + start * scores.shape[1])
        start += count
    chosen = torch.cat(found)
    places, phrases = chosen // scores.shape[1], chosen % scores.shape[1]
    rated = (scores.flatten()[chosen] * central[places].float().sigmoid()).sqrt()
    edges = torch.tensor([*size, *size], device=boxes.device) - 1
    clipped = boxes[places].float().clamp(min=0).minimum(edges)
    # One more pixel makes the plain overlap that of boxes which reach to their last pixel.
    reach = clipped.double() + torch.tensor([0, 0, 1, 1], device=boxes.device)
    left = batched_nms(reach, rated.double(), phrases, SUPPRESSED)[:limit]
    left = left[rated[left] >= threshold]
    return Kept(clipped[left], rated[left], phrases[left], places[left])
