"""What the CLIP recipe minimises: the symmetric contrastive loss, its true pairs, and the roles of objects in a pair."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.classroom.world.captions import Caption, claim_table
from core.classroom.world.concepts import concepts
from core.classroom.world.specs import RELATIONS, Spec

# What the first and the second object of a pair are to each other, by relation.
ROLES = ("left", "right", "above", "below", "front", "behind")


def soft_cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy against rows of `truth` (weights >= 0), each divided by its sum; rows of zeros do not count."""
    total = truth.sum(1)
    loss = -(truth * logits.log_softmax(1)).sum(1) / total.clamp(min=1e-6)
    return loss[total > 0].mean()


def contrast(
    image: Tensor, text: Tensor, truth: Tensor, scale: Tensor, swapped: Tensor | None = None
) -> Tensor:
    """The symmetric loss of CLIP (figure 3) with several true texts a picture.

    image, text [B, D] normalised; truth [B, B] 0/1 (picture, text); swapped [M, D]: texts true of no picture."""
    logits = scale * image @ text.T
    rows, target = logits, truth
    if swapped is not None and len(swapped):
        rows = torch.cat([logits, scale * image @ swapped.T], 1)
        target = torch.cat([truth, truth.new_zeros(len(truth), len(swapped))], 1)
    return (soft_cross_entropy(rows, target) + soft_cross_entropy(logits.T, truth.T)) / 2


def two_way(image: Tensor, told: Tensor, swapped: Tensor, scale: Tensor) -> Tensor:
    """Which of two word orders fits the picture: cross-entropy of [true, swapped]; all [M, D], normalised."""
    margin = scale * (image * (told - swapped)).sum(1)
    return F.softplus(-margin).mean()


def true_pairs(captions: Sequence[Caption], spec: Spec) -> Tensor:
    """[B pictures, B captions] 1 where a caption is known to be true of a picture."""
    b = len(captions)
    order = {text: n for n, text in enumerate(dict.fromkeys(c.text for c in captions))}
    same = torch.tensor([order[c.text] for c in captions])
    truth = same[:, None] == same[None]
    claim = torch.tensor([c.claim for c in captions])
    single = spec.kind == 0
    shown = claim_table()[claim.clamp(min=0)][:, spec.concept[:, 0]].T > 0  # [pictures, captions]
    return (truth | (shown & (claim >= 0)[None] & single[:, None]) | torch.eye(b, dtype=torch.bool)).float()


def content(spec: Spec) -> Tensor:
    """[B, C] share of each concept among the objects of a scene; rows sum to one."""
    counts = torch.zeros(len(spec), len(concepts()))
    counts.scatter_add_(1, spec.concept, spec.present.float())
    return counts / counts.sum(1, keepdim=True)


class Roles(nn.Module):
    """Who stands where: a pair's feature holds each of its concepts turned by the role it plays.

    "A left of B" and "B left of A" name the same concepts, so against the anchors alone both look the same. Here
    every role turns the anchors by a matrix of its own (a tensor-product binding, Smolensky 1990), and pictures and
    captions of pairs are classified against the turned anchors of both roles. Never shipped.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        turned = torch.stack([nn.init.orthogonal_(torch.empty(width, width)) for _ in ROLES])
        self.matrix = nn.Parameter((torch.eye(width) + turned) / 2**0.5)

    def loss(self, features: Tensor, anchors: Tensor, spec: Spec, scale: Tensor, smoothing: float) -> Tensor:
        """Cross-entropy of both roles. features [N, D] of the N scenes of `spec`, all of which tell a relation."""
        turned = F.normalize(torch.einsum("cd,rde->rce", anchors, self.matrix), dim=-1)  # [R, C, D]
        features = F.normalize(features, dim=-1)
        parts = []
        for r in range(1, len(RELATIONS)):
            rows = torch.nonzero(spec.relation == r)[:, 0]
            for slot in (0, 1) if len(rows) else ():
                logits = scale * features[rows.to(features.device)] @ turned[2 * (r - 1) + slot].T
                label = spec.concept[rows, slot].to(features.device)
                parts.append(F.cross_entropy(logits, label, label_smoothing=smoothing, reduction="sum"))
        return torch.stack(parts).sum() / (2 * len(features)) if parts else features.sum() * 0
