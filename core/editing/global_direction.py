"""StyleCLIP by a global direction (Patashnik et al. 2021, section 6): a text is one direction in StyleSpace, for all images.

Once for a generator, every style channel is moved, and CLIP says into which direction of its space the image went: its
relevance. Then a text is a sum: the difference of the features of two texts is compared with the relevance of each channel,
channels that answer less than beta are left out, and the rest are moved by alpha.

The published loop sets one channel after the other in a list of arrays that it copies without the arrays, so that channels
measured earlier stay moved and the last ones are measured on almost one and the same image. `relevance_of` changes one channel
at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from core.editing.optimization import See, text_feature
from core.editing.stylegan2 import Generator
from core.runtime import Cancel

DEVIATIONS = 5.0  # how far a channel is moved to either side
ALPHA, BETA = 4.1, 0.15  # the published demo's
DAMPING = 0.3  # of the regression, for some thousand images
# Channels below which a text is seldom told apart from the neutral one (the authors' README).
FEW = 20


def text_direction(target: Tensor, neutral: Tensor) -> Tensor:
    """[D] from a neutral text to a target, each given in several wordings [T, D]: normalised, averaged, normalised."""
    return F.normalize(text_feature(target) - text_feature(neutral), dim=-1)[0]


def relevance(minus: Tensor, plus: Tensor) -> Tensor:
    """[C, D] where each channel leads in CLIP's space; features [C, N, D] of N images with the channel moved down and up."""
    moved = F.normalize(F.normalize(plus, dim=-1) - F.normalize(minus, dim=-1), dim=-1)
    return F.normalize(moved.mean(1), dim=-1)


def regression(styles: Tensor, features: Tensor, damping: float = DAMPING) -> Tensor:
    """[C, D] how channels go with CLIP's features, without moving any of them: for generators whose single channels say little.

    A ridge regression of styles on features, scaled so that half of the channels answer the way from one image to the next
    by the published threshold or more.

    Args:
        styles: [N, C] of N random images. features: [N, D] CLIP's features of what each shows, normalised.
    """
    y = (styles - styles.mean(0)) / styles.std(0).clamp(min=1e-6)
    x = features - features.mean(0)
    penalty = damping * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    fitted = torch.linalg.solve(x.T @ x + penalty, x.T @ y).T
    ways = features.diff(dim=0)
    scores = fitted @ F.normalize(ways[ways.norm(dim=1) > 1e-3], dim=1).T
    return fitted * (BETA / scores.abs().median())


@dataclass(frozen=True)
class Direction:
    """What a text does to StyleSpace.

    scores: [C] of the measured channels. chosen: which of them are moved. layers: what is added to each vector of StyleSpace,
    [C] each.
    """

    scores: Tensor
    chosen: Tensor
    layers: tuple[Tensor, ...]


def direction(
    channels: Tensor, text: Tensor, deviations: Sequence[Tensor], to_rgb: Sequence[int], beta: float = BETA
) -> Direction:
    """The direction of a text.

    Args:
        channels: [C, D] the relevance of the first channels of the convolutions, in order; further ones are never moved.
        text: [D] of `text_direction`.
        deviations: of the channels of every vector of StyleSpace.
        to_rgb: the vectors of StyleSpace that make colours, which are never moved.
        beta: scores below it are left out.
    """
    scores = channels @ text
    chosen = scores.abs() >= beta
    kept = torch.where(chosen, scores, 0)
    if bool(chosen.any()):
        kept = kept / kept.abs().max()
    layers, start = [], 0
    for i, deviation in enumerate(deviations):
        added = torch.zeros_like(deviation)
        if i not in to_rgb:
            part = kept[start : start + len(deviation)]
            added[: len(part)] = part.to(added)
            start += len(deviation)
        layers.append(added * deviation)
    return Direction(scores, chosen, tuple(layers))


def moved(styles: Sequence[Tensor], layers: Sequence[Tensor], alphas: Sequence[float]) -> list[Tensor]:
    """StyleSpace [B, C] each -> [B, A, C] each: s + alpha * direction for every alpha."""
    return [
        style[:, None] + torch.tensor(alphas).to(style)[None, :, None] * layer
        for style, layer in zip(styles, layers, strict=True)
    ]


@dataclass(frozen=True)
class Channel:
    """One measured channel: its place among all measured ones, and where it leads [D]."""

    number: int
    count: int
    relevance: Tensor


@torch.no_grad()
def relevance_of(
    generator: Generator,
    styles: Sequence[Tensor],
    means: Sequence[Tensor],
    deviations: Sequence[Tensor],
    see: See,
    batch: int = 64,
    cancel: Cancel | None = None,
) -> Iterator[Channel]:
    """Measures every channel of the convolutions on the images of `styles` [N, C] each, one channel at a time.

    means, deviations: of every channel [C]; a channel is set to its mean, five deviations less and five more."""
    layers = [i for i in range(len(styles)) if i not in generator.to_rgb]
    count, number = sum(styles[i].shape[1] for i in layers), 0
    for i in layers:
        for channel in range(styles[i].shape[1]):
            if cancel is not None and cancel.is_set():
                return
            seen = []
            for sign in (-1.0, 1.0):
                # A copy for this channel alone: all others keep what each image has.
                changed = list(styles)
                changed[i] = styles[i].clone()
                changed[i][:, channel] = means[i][channel] + sign * DEVIATIONS * deviations[i][channel]
                parts = [
                    see(generator.synthesise([s[at : at + batch] for s in changed]))
                    for at in range(0, len(styles[i]), batch)
                ]
                seen.append(torch.cat(parts))
            yield Channel(number, count, relevance(seen[0][None], seen[1][None])[0])
            number += 1
