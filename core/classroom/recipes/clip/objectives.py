"""What the CLIP recipe minimises: the symmetric contrastive loss, its true pairs, and the roles of objects in a pair."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.classroom.world.captions import Caption, claim_table
from core.classroom.world.concepts import concepts
from core.classroom.world.factors import FACTORS, values
from core.classroom.world.specs import RELATIONS, Spec

# Temperatures of the anchors. At CLIP's own, an image of four things could not be sure of any of them; the higher one of
# factors lets them have a small share of a feature, and leaves the rest to concepts.
ANCHOR_SCALE = 16.0
FACTOR_SCALE = 20.0
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
    """The symmetric loss of CLIP (figure 3) with several true texts an image.

    image, text [B, D] normalised; truth [B, B] 0/1 (image, text); swapped [M, D]: texts true of no image."""
    logits = scale * image @ text.T
    rows, target = logits, truth
    if swapped is not None and len(swapped):
        rows = torch.cat([logits, scale * image @ swapped.T], 1)
        target = torch.cat([truth, truth.new_zeros(len(truth), len(swapped))], 1)
    return (soft_cross_entropy(rows, target) + soft_cross_entropy(logits.T, truth.T)) / 2


def choice(image: Tensor, told: Tensor, false: Tensor, scale: Tensor) -> Tensor:
    """Which of a few sentences fits the picture: cross-entropy of the true one among its false ones.

    image, told [M, D], false [M, K, D], all normalised."""
    texts = torch.cat([told[:, None], false], 1)
    logits = scale * torch.einsum("md,mkd->mk", image, texts)
    return F.cross_entropy(logits, torch.zeros(len(image), dtype=torch.long, device=image.device))


def named_factors(captions: Sequence[Caption]) -> Tensor:
    """[B, F] the value of every factor that a caption names, -1 of the others."""
    return torch.tensor([c.named for c in captions])


def true_pairs(captions: Sequence[Caption], spec: Spec, mono: Tensor | None = None) -> Tensor:
    """[B images, B captions] 1 where a caption is known to be true of an image."""
    b = len(captions)
    order = {text: n for n, text in enumerate(dict.fromkeys(c.text for c in captions))}
    same = torch.tensor([order[c.text] for c in captions])
    truth = same[:, None] == same[None]
    claim = torch.tensor([c.claim for c in captions])
    single = spec.kind == 0
    shown = claim_table()[claim.clamp(min=0)][:, spec.concept[:, 0]].T > 0  # [images, captions]
    named = named_factors(captions)
    fits = ((named[None] < 0) | (named[None] == values(spec, mono)[:, None])).all(-1)
    claimed = shown & (claim >= 0)[None] & single[:, None] & fits
    return (truth | claimed | torch.eye(b, dtype=torch.bool)).float()


def content(spec: Spec) -> Tensor:
    """[B, C] share of each concept among the objects of a scene; rows sum to one."""
    counts = torch.zeros(len(spec), len(concepts()))
    counts.scatter_add_(1, spec.concept, spec.present.float())
    return counts / counts.sum(1, keepdim=True)


class Roles(nn.Module):
    """Who stands where: a pair's feature holds each of its concepts turned by the role it plays.

    "A left of B" and "B left of A" name the same concepts, so against the anchors alone both look the same. Here
    every role turns the anchors by a matrix of its own (a tensor-product binding, Smolensky 1990), and images and
    captions of pairs are classified against the turned anchors of both roles. Never shipped.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        turned = torch.stack([nn.init.orthogonal_(torch.empty(width, width)) for _ in ROLES])
        self.matrix = nn.Parameter((torch.eye(width) + turned) / 2**0.5)

    def turned(self, anchors: Tensor) -> Tensor:
        """The anchors [C, D] in every role: [R, C, D], of length one."""
        return F.normalize(torch.einsum("cd,rde->rce", anchors, self.matrix), dim=-1)


def role_loss(features: Tensor, turned: Tensor, spec: Spec, scale: float, smoothing: float) -> Tensor:
    """Cross-entropy of both roles. features [N, D] of the N scenes of `spec`, all of which tell a relation; turned
    [R, C, D] from `Roles`."""
    features = F.normalize(features, dim=-1)
    parts = []
    for r in range(1, len(RELATIONS)):
        rows = torch.nonzero(spec.relation == r)[:, 0]
        for slot in (0, 1) if len(rows) else ():
            logits = scale * features[rows.to(features.device)] @ turned[2 * (r - 1) + slot].T
            label = spec.concept[rows, slot].to(features.device)
            parts.append(F.cross_entropy(logits, label, label_smoothing=smoothing, reduction="sum"))
    return torch.stack(parts).sum() / (2 * len(features)) if parts else features.sum() * 0


def factor_loss(features: Tensor, tables: Sequence[Tensor], truth: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of the value of a factor among all its values, summed over the factors.

    features [N, D], one table [V, D] a factor, truth [N, F] with -1 where a value is not known."""
    features = F.normalize(features, dim=-1)
    total = features.sum() * 0
    for column, table in enumerate(tables):
        rows = torch.nonzero(truth[:, column] >= 0)[:, 0]
        if len(rows):
            logits = FACTOR_SCALE * features[rows.to(features.device)] @ F.normalize(table, dim=-1).T
            label = truth[rows, column].to(features.device)
            total = total + F.cross_entropy(logits, label, label_smoothing=smoothing)
    return total


@torch.no_grad()
def factor_hits(features: Tensor, tables: Sequence[Tensor], truth: Tensor) -> dict[str, Tensor]:
    """Share of right answers by factor, of the features [N, D] whose value is known (0 where none is)."""
    features, hits = F.normalize(features, dim=-1), {}
    for column, (factor, table) in enumerate(zip(FACTORS, tables, strict=True)):
        guess = (features @ F.normalize(table, dim=-1).T).argmax(1)
        label = truth[:, column].to(guess.device)
        hits[f"top1_{factor}"] = (guess == label).float().sum() / (label >= 0).sum().clamp(min=1)
    return hits


class Factors(nn.Module):
    """The anchors of grounds, places, sizes, renderings and numbers: a learned vector for every value, never shipped.

    A feature that points towards the anchor of a concept and a little towards those of its factors composes: "a dog on
    grass" is a sum that also holds for things that were never seen on grass.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.tables = nn.ParameterList(0.07 * torch.randn(len(names), width) for names in FACTORS.values())

    def loss(self, features: Tensor, truth: Tensor, smoothing: float) -> Tensor:
        """Features [N, D] of images or texts against the anchors of the values [N, F] that they show or name."""
        return factor_loss(features, list(self.tables), truth, smoothing)
