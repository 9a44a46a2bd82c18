"""Contrast over pairs of modalities (Guzhov et al. 2022, section 3.2; AudioCLIP's published loss).

With B sounds, images and texts that belong together, each pair of modalities has a [B, B] matrix of scaled cosines, whose
diagonal is right in both directions:

    loss = sum over P given pairs of (CE over rows + CE over columns) / P!

so three pairs are averaged over their six terms, and one pair alone is not halved.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

MODALITIES = ("audio", "image", "text")
Pair = tuple[str, str]
PAIRS: tuple[Pair, ...] = (("audio", "image"), ("audio", "text"), ("image", "text"))
SCALE_RANGE = (1.0, 100.0)
THRESHOLD = 0.5  # a cosine that counts as even, where several labels may be right


def scale(logit_scale: Tensor) -> Tensor:
    """exp(t) between 1 and 100."""
    return logit_scale.exp().clamp(*SCALE_RANGE)


def logits(features: Mapping[str, Tensor], scales: Mapping[Pair, Tensor | float]) -> dict[Pair, Tensor]:
    """Scaled cosines of the pairs that have a scale and both of whose modalities are given.

    Args:
        features: [B, D] of each modality, normalised.
        scales: exp(t) of a pair.
    """
    return {
        (a, b): scales[a, b] * features[a] @ features[b].mT
        for a, b in PAIRS
        if (a, b) in scales and a in features and b in features
    }


def loss(pairs: Iterable[Tensor], weights: Tensor | None = None) -> Tensor:
    """The contrastive loss of matrices [B, B] or [G, B, B].

    Args:
        pairs: one matrix for each pair.
        weights: [B] of the samples, as `sample_weights` makes them.
    """
    matrices = list(pairs)
    total = torch.zeros((), dtype=matrices[0].dtype, device=matrices[0].device)
    for matrix in matrices:
        right = torch.arange(matrix.shape[-1], device=matrix.device)
        for way in (matrix, matrix.mT):
            rows = way.reshape(-1, way.shape[-1])
            target = right.repeat(len(rows) // len(right))
            total = total + F.cross_entropy(rows, target, weight=weights)
    return total / math.factorial(len(matrices))


def sample_weights(labels: Iterable[Iterable[str]], weights: Mapping[str, float]) -> Tensor:
    """[B] the sum of the weights of each sample's labels."""
    return torch.tensor([sum(weights[label] for label in row) for row in labels])


def probabilities(logits: Tensor) -> Tensor:
    """One label is right: softmax over the last axis."""
    return logits.softmax(-1)


def several(cosines: Tensor) -> Tensor:
    """Several labels may be right: the published sigmoid of the cosine less one half."""
    return torch.sigmoid(cosines - THRESHOLD)
