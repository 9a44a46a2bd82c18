"""What GLIP is trained with: words for places, boxes for words (Li et al. 2022, section 3.1; ATSS, Zhang et al. 2020).

Each of the A anchors of an image is compared with each of the L words of the prompt, and a sigmoid focal loss asks for the
words of the phrase whose box the anchor belongs to. Which anchors belong to a box is decided from their overlap alone
(`assign`); only those learn where the box is, and how central in it they are.

Letters: B images, A anchors of all levels, K boxes of an image (filled up with empty ones), L words. Boxes are xyxy.
https://arxiv.org/abs/2112.03857, https://arxiv.org/abs/1912.02424
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

ALPHA, GAMMA = 0.25, 2.0
NEAREST = 9  # anchors of a level that a box looks at
BOX_WEIGHT = 2.0


@dataclass(frozen=True)
class Losses:
    """The three terms as the paper weighs them, and the anchors they come from."""

    alignment: Tensor
    box: Tensor
    centerness: Tensor
    positives: Tensor  # anchors that belong to a box

    @property
    def total(self) -> Tensor:
        return self.alignment + self.box + self.centerness


def token_loss(logits: Tensor, targets: Tensor, words: Tensor, weight: Tensor | None = None) -> Tensor:
    """Sigmoid focal loss of places with words, summed (equation 3's S against its target T).

    Args:
        logits: [B, A, L].
        targets: [B, A, L], 1 where a word belongs to the place.
        words: [B, L], above 0 at words and 0 at padding, which counts for nothing.
        weight: [B, A, L] or broadcastable, how much each pair counts; 1 without it.
    """
    logits = logits.float()
    probability = logits.sigmoid()
    right = torch.where(targets > 0, probability, 1 - probability)
    share = torch.where(targets > 0, ALPHA, 1 - ALPHA)
    surprise = F.binary_cross_entropy_with_logits(logits, (targets > 0).float(), reduction="none")
    loss = share * (1 - right).pow(GAMMA) * surprise * (words > 0)[:, None]
    return (loss if weight is None else loss * weight).sum()


def areas(boxes: Tensor) -> Tensor:
    """[..., 4] -> [...]; 0 for a box without a width or a height."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def overlaps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union, and union, of boxes that are broadcast against each other: [..., 4] twice -> [...] twice."""
    corner = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    shared = corner.clamp(min=0).prod(-1)
    union = areas(a) + areas(b) - shared
    return shared / union.clamp(min=1e-6), union


def giou_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """1 - GIoU of pairs of boxes: [N, 4] twice -> [N] in 0..2 (Rezatofighi et al. 2019)."""
    iou, union = overlaps(boxes, targets)
    hull = areas(
        torch.cat(
            [torch.minimum(boxes[:, :2], targets[:, :2]), torch.maximum(boxes[:, 2:], targets[:, 2:])], dim=1
        )
    )
    return 1 - iou + (hull - union) / hull.clamp(min=1e-6)


def centerness(anchors: Tensor, boxes: Tensor) -> Tensor:
    """How central the middle of an anchor is in its box: [N, 4] twice -> [N], 1 in the middle, 0 on an edge."""
    middle = (anchors[:, :2] + anchors[:, 2:]) / 2
    before, after = (middle - boxes[:, :2]).clamp(min=0), (boxes[:, 2:] - middle).clamp(min=0)
    least, most = torch.minimum(before, after), torch.maximum(before, after)
    return (least / most.clamp(min=1e-6)).prod(-1).sqrt()


@torch.no_grad()
def assign(
    anchors: Tensor, levels: Sequence[int], boxes: Tensor, present: Tensor, nearest: int = NEAREST
) -> Tensor:
    """Which box each anchor belongs to (ATSS, algorithm 1): [B, A] index into K, -1 for none.

    A box looks at the `nearest` anchors of each level whose middles are next to its own, and takes those that overlap it by
    at least the mean plus the standard deviation of these overlaps and lie with their middle inside it. An anchor that
    several boxes want belongs to the one it overlaps most.

    Args:
        anchors: [A, 4] of all levels, one level after the other.
        levels: how many anchors each level has.
        boxes: [B, K, 4]; `present` [B, K] says which of them there are.
    """
    iou, _ = overlaps(boxes[:, :, None], anchors)  # [B, K, A]
    middle = (anchors[:, :2] + anchors[:, 2:]) / 2
    far = (((boxes[..., :2] + boxes[..., 2:]) / 2)[:, :, None] - middle).square().sum(-1)  # [B, K, A]
    starts = [sum(levels[:i]) for i in range(len(levels))]
    near = torch.cat(
        [
            start + far[..., start : start + size].topk(min(nearest, size), largest=False).indices
            for start, size in zip(starts, levels, strict=True)
        ],
        dim=-1,
    )  # [B, K, candidates]
    found = iou.gather(2, near)
    enough = found.mean(-1) + found.std(-1)
    to_edges = torch.cat([middle - boxes[:, :, None, :2], boxes[:, :, None, 2:] - middle], dim=-1)
    candidate = torch.zeros_like(iou, dtype=torch.bool).scatter_(2, near, True)
    wanted = candidate & (iou >= enough[..., None]) & (to_edges.amin(-1) > 0.01) & present[..., None]
    best, which = torch.where(wanted, iou, -1.0).max(1)
    return torch.where(best >= 0, which, -1)


def detection_losses(
    logits: Tensor,
    boxes: Tensor,
    central: Tensor,
    anchors: Tensor,
    levels: Sequence[int],
    truth: Tensor,
    present: Tensor,
    positive_map: Tensor,
    words: Tensor,
    weight: Tensor | None = None,
) -> Losses:
    """The losses of a batch (section 3.1: L = L_cls + L_loc, with words in place of classes).

    Args:
        logits: [B, A, L] of places with words. boxes: [B, A, 4] as decoded. central: [B, A] logits of centerness.
        anchors, levels: as `assign` takes them.
        truth: [B, K, 4]; `present` [B, K] says which boxes there are.
        positive_map: [B, K, L], above 0 where a word belongs to a box.
        words: [B, L], above 0 at words.
        weight: as `token_loss` takes it.
    """
    owner = assign(anchors, levels, truth, present)
    positive = owner >= 0
    count = positive.sum().clamp(min=1)
    rows = owner.clamp(min=0)
    told = positive_map.gather(1, rows[..., None].expand(-1, -1, positive_map.shape[-1]))  # [B, A, L]
    alignment = token_loss(logits, told * positive[..., None], words, weight) / count
    goal = truth.gather(1, rows[..., None].expand(-1, -1, 4))[positive]
    wanted = centerness(anchors.expand(len(truth), -1, -1)[positive], goal)
    inside = F.binary_cross_entropy_with_logits(central[positive].float(), wanted, reduction="sum") / count
    off = (giou_loss(boxes[positive].float(), goal) * wanted).sum() / wanted.sum().clamp(min=1e-6)
    return Losses(alignment, BOX_WEIGHT * off, inside, count)
