"""StyleCLIP by latent optimization (Patashnik et al. 2021, section 4): a latent is changed until CLIP says what the text says.

The loss is 1 - cosine of image and text, plus the squared distance from where the latent began, plus, if wanted, how far the
image has moved from the one at the beginning. For that last part the paper uses a network that recognises faces, which no
library ships; here CLIP's own feature of the two images stands in for it, and 0, the published command's value, leaves it out.

As in the published code the image goes to CLIP without CLIP's mean and deviation, in -1 to 1, and is resized by repeating every
pixel 7 times and averaging. For an image of 1024 pixels that is a map of 7168 pixels a side; `resized` gives the same numbers
without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from core.editing.stylegan2 import Generator
from core.runtime import Cancel

RAMP_UP, RAMP_DOWN = 0.05, 0.25  # shares of the steps
See = Callable[[Tensor], Tensor]  # images [B, 3, H, W] in -1..1 -> CLIP's features [B, D], with gradients


@dataclass(frozen=True)
class OptimizationSettings:
    """The published command: 300 steps, rate 0.1, distance 0.008, likeness 0; its notebook has 40 steps.

    distance: weight of the squared distance; several give one edit each, all in one batch. likeness: weight of 1 - cosine of
    CLIP's features of the first image and this one. stylespace: whether S is changed in place of W+; its ToRGB layers stay.
    """

    steps: int = 40
    rate: float = 0.1
    distance: tuple[float, ...] = (0.008,)
    likeness: float = 0.0
    stylespace: bool = False


@dataclass(frozen=True)
class Step:
    """The state before a step: images [B, 3, H, W], losses [B] and the latents that made the images."""

    number: int
    images: Tensor
    clip: Tensor
    moved: Tensor  # [B] squared distance from the beginning
    loss: Tensor
    latents: tuple[Tensor, ...]


def box(inputs: int, outputs: int) -> Tensor:
    """[outputs, inputs] the mean over the stretch of pixels, whole or in part, that falls to each output pixel."""
    edges = torch.arange(outputs + 1, dtype=torch.float64) * inputs / outputs
    pixels = torch.arange(inputs, dtype=torch.float64)
    low = torch.maximum(edges[:-1, None], pixels)
    high = torch.minimum(edges[1:, None], pixels + 1)
    return ((high - low).clamp(min=0) * outputs / inputs).float()


def resized(images: Tensor, side: int = 224) -> Tensor:
    """Images [B, 3, S, S] -> [B, 3, side, side]: each pixel 7 times, then the mean of blocks, as one box filter."""
    weights = box(images.shape[-1], side).to(images)
    return weights @ images @ weights.T


def rate_at(step: int, steps: int, peak: float) -> float:
    """The learning rate: up over the first part of the steps, half a cosine down over the last; the first step stands still."""
    t = step / steps
    down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - t) / RAMP_DOWN))
    return peak * down * min(1.0, t / RAMP_UP)


def optimize(
    generator: Generator,
    w_plus: Tensor,
    text: Tensor,
    see: See,
    settings: OptimizationSettings | None = None,
    cancel: Cancel | None = None,
) -> Iterator[Step]:
    """Yields the state at the beginning and after each step; the last one is the answer. Ends early when `cancel` is set.

    Args:
        w_plus: [1, L, D] where to begin. text: [1, D] CLIP's normalised feature of the text. Either may have one row for each
            of the settings' distances, too.
    """
    s = settings or OptimizationSettings()
    weight = torch.tensor(s.distance).to(w_plus)
    count = len(weight)
    if s.stylespace:
        with torch.no_grad():
            start = [style.expand(count, -1).clone() for style in generator.styles(w_plus)]
        free = [i for i in range(len(start)) if i not in generator.to_rgb]
    else:
        start, free = [w_plus.expand(count, -1, -1).clone()], [0]
    latents = list(start)
    for i in free:
        latents[i] = start[i].detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([latents[i] for i in free], lr=s.rate, betas=(0.9, 0.999), eps=1e-8)
    first: Tensor | None = None

    for step in range(s.steps + 1):
        # 1. the image and what CLIP sees in it
        images = generator.synthesise(latents) if s.stylespace else generator(latents[0])
        features = F.normalize(see(images), dim=-1)
        clip = 1 - (features * text).sum(-1)
        # 2. how far it has moved
        moved = torch.stack([(latents[i] - start[i]).square().flatten(1).sum(1) for i in free]).sum(0)
        loss = clip + weight * moved
        if s.likeness:
            first = features.detach() if first is None else first
            loss = loss + s.likeness * (1 - (features * first).sum(-1))
        yield Step(
            step, images.detach(), clip.detach(), moved.detach(), loss.detach(), tuple(x.detach().clone() for x in latents)
        )  # fmt: skip
        if step == s.steps or (cancel is not None and cancel.is_set()):
            return
        # 3. a step; every edit of the batch has its own loss, and Adam keeps them apart
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, s.steps, s.rate)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()


def text_feature(features: Tensor) -> Tensor:
    """The normalised mean [1, D] of the features of one text in several wordings [T, D]."""
    return F.normalize(F.normalize(features, dim=-1).mean(0, keepdim=True), dim=-1)
