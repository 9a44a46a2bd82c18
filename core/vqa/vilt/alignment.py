"""Word-patch alignment: how much of each word lies on each patch (Kim et al. 2021, section 3.3; figure 4).

The alignment is a transport plan. Every word has the same mass, every patch takes the same mass, and moving mass from a word to a
patch costs 1 - cos of their features. IPOT (Xie et al. 2018) finds a cheap plan T by a few rounds of scaling:

    A = exp(-C^T / beta),  T = 1
    repeat:  Q = A * T;  delta = 1 / (N Q sigma);  sigma = 1 / (M Q^T delta);  T = diag(delta) Q diag(sigma)

Shapes: C [B, M, N] of M words and N patches, T [B, N, M]. Each column of T sums to 1 / M, each row tends to 1 / N.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

TRAINING_BETA, TRAINING_ROUNDS = 0.5, 50
SHOWING_BETA, SHOWING_ROUNDS = 0.1, 1000  # of the paper's demo, for pictures of the plan
LEFT_OUT = 1e4  # in the denominators of what is left out
STANDS_OUT = (1.0, 3.0)  # deviations from the mean between which a map is drawn
FLUSHED, NOTHING = 8, 1.2e-38  # every how many rounds parts of a plan below this become zero


@dataclass(frozen=True)
class Alignment:
    """A transport plan and what it costs."""

    cost: Tensor  # [B, M, N]; 0 where left out
    plan: Tensor  # [B, N, M]; 0 where left out
    distance: Tensor  # [B]


def costs(words: Tensor, patches: Tensor, words_out: Tensor, patches_out: Tensor) -> Tensor:
    """1 - cos of words [B, M, W] and patches [B, N, W]: [B, M, N]; 0 where a word or a patch is left out."""
    cosines = F.normalize(words, dim=-1) @ F.normalize(patches, dim=-1).mT
    return (1 - cosines).masked_fill(words_out[:, :, None] | patches_out[:, None], 0.0)


@torch.no_grad()
def ipot(
    cost: Tensor, words_out: Tensor, patches_out: Tensor, beta: float, rounds: int, inner: int = 1
) -> Tensor:
    """The transport plan [B, N, M] of costs [B, M, N].

    Args:
        words_out, patches_out: [B, M] and [B, N], true where left out.
        beta: the smaller, the sharper the plan of one round.
        rounds, inner: how often the plan is renewed, and how often it is scaled each time.
    """
    out = patches_out[:, :, None] | words_out[:, None]  # [B, N, M]
    words = (~words_out).sum(1).to(cost)[:, None, None]
    patches = (~patches_out).sum(1).to(cost)[:, None, None]
    base = (-cost.mT / beta).exp().masked_fill(out, 0.0)
    plan = torch.ones_like(base).masked_fill(out, 0.0)
    sigma = ((~words_out).to(cost) / words[:, 0])[:, :, None]  # [B, M, 1]
    word_floor, patch_floor = (LEFT_OUT * left.to(cost)[:, :, None] for left in (words_out, patches_out))
    # delta is N times what it is above, and so is the plan until the end: a thousand rounds are nothing but small operations.
    ratio = patches / words
    for round_ in range(rounds):
        plan.mul_(base)
        # A processor takes a hundred times as long for numbers below float32's normal ones.
        if round_ % FLUSHED == 0:
            plan.masked_fill_(plan < NOTHING, 0.0)
        for _ in range(inner):
            delta = torch.baddbmm(patch_floor, plan, sigma).reciprocal_()  # [B, N, 1]
            sigma = ratio / torch.baddbmm(word_floor, plan.mT, delta)
        plan.mul_(torch.bmm(delta, sigma.mT))
    return (plan / patches).masked_fill(out, 0.0)


def align(
    words: Tensor,
    patches: Tensor,
    words_out: Tensor,
    patches_out: Tensor,
    beta: float = SHOWING_BETA,
    rounds: int = SHOWING_ROUNDS,
) -> Alignment:
    """The alignment of final features; the gradient of the distance flows through the costs alone."""
    cost = costs(words.float(), patches.float(), words_out, patches_out)
    plan = ipot(cost.detach(), words_out, patches_out, beta, rounds)
    return Alignment(cost, plan, (cost * plan.mT).sum((1, 2)))


def special(ids: Tensor, pad: int = 0) -> Tensor:
    """[B, L] true where a text has no word: its first and its last token, and padding."""
    real = ids != pad
    last = real.sum(1, keepdim=True) - 1
    at = torch.arange(ids.shape[1], device=ids.device)[None]
    return ~real | (at == 0) | (at == last)


def alignment_loss(words: Tensor, patches: Tensor, ids: Tensor, fits: Tensor, pad: int = 0) -> Tensor:
    """The distances of texts that fit less those of texts that do not, over all of them (before its weight of 0.1).

    Args:
        words: [B, L, W]; patches: [B, 1 + h w, W], the class token first.
        ids: [B, L]; fits: [B] of 0 and 1.
    """
    patches_out = torch.zeros(patches.shape[:2], dtype=torch.bool, device=patches.device)
    patches_out[:, 0] = True
    distance = align(words, patches, special(ids, pad), patches_out, TRAINING_BETA, TRAINING_ROUNDS).distance
    return (distance * (2 * fits.to(distance) - 1)).sum() / len(distance)


def heat(weights: np.ndarray) -> np.ndarray:
    """A word's share of every patch [h, w] as a map from 0 to 1: what stands out by one to three deviations; zeros where nothing
    does."""
    deviation = weights.std(ddof=1)
    if not deviation > 0:
        return np.zeros_like(weights)
    low, high = STANDS_OUT
    scores = np.clip((weights - weights.mean()) / deviation, low, high)
    span = scores.max() - scores.min()
    return (scores - scores.min()) / span if span > 0 else np.zeros_like(weights)
