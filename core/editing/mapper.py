"""StyleCLIP by a latent mapper (Patashnik et al. 2021, section 5): a small network, trained for one text, changes any w.

    w' = w + 0.1 M(w)

Names are those of the published checkpoints, "course" among them. The published PixelNorm divides over dimension 1 of its
input, which for W+ [B, L, D] are the vectors of a group and not the numbers of each vector; the same is done here.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.editing.optimization import See
from core.editing.stylegan2 import EqualLinear, Generator, PixelNorm
from core.runtime import Cancel

FACTOR = 0.1
OCTAVES = (
    2 / 9
)  # of the doublings of a side: two of the nine up to 1024 pixels are coarse, the next two medium
DEPTH, RATE = 4, 0.01


def groups(latents: int) -> dict[str, slice]:
    """The coarse, medium and fine vectors of W+: 0-3, 4-7 and the rest up from 256 pixels, as published; fewer below that."""
    each = 2 * max(1, round(latents // 2 * OCTAVES))
    return {"course": slice(0, each), "medium": slice(each, 2 * each), "fine": slice(2 * each, latents)}


class Mapping(nn.Module):
    """One mapper: PixelNorm, then linear layers of one width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mapping = nn.Sequential(
            PixelNorm(), *(EqualLinear(width, width, RATE, leaky=True) for _ in range(DEPTH))
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.mapping(x)
        return y


class LevelsMapper(nn.Module):
    """A mapper for each group of layers, coarse, medium and fine; a group that is left out stays as it is."""

    def __init__(self, width: int, latents: int, without: Sequence[str] = ()) -> None:
        super().__init__()
        self.slices = groups(latents)
        self.groups = [
            name for name, part in self.slices.items() if part.start < latents and name not in without
        ]
        for name in self.groups:
            setattr(self, f"{name}_mapping", Mapping(width))

    def forward(self, w_plus: Tensor) -> Tensor:
        """W+ [B, L, D] -> M(w), the same shape."""
        parts = [
            getattr(self, f"{name}_mapping")(w_plus[:, part])
            if name in self.groups
            else torch.zeros_like(w_plus[:, part])
            for name, part in self.slices.items()
        ]
        return torch.cat(parts, 1)


class SingleMapper(nn.Module):
    """One mapper for all layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mapping = Mapping(width).mapping

    def forward(self, w_plus: Tensor) -> Tensor:
        """W+ [B, L, D] -> M(w), the same shape."""
        y: Tensor = self.mapping(w_plus)
        return y


class StyleSpaceMapper(nn.Module):
    """A mapper for each vector of StyleSpace but those in `without`, which stay as they are."""

    def __init__(self, widths: Sequence[int], without: Sequence[int] = ()) -> None:
        super().__init__()
        self.mapped = [i for i in range(len(widths)) if i not in without]
        for i in self.mapped:
            setattr(self, f"mapper_{i}", Mapping(widths[i]))

    def forward(self, styles: Sequence[Tensor]) -> list[Tensor]:
        """StyleSpace, each [B, C] -> M(s), the same shapes."""
        return [
            getattr(self, f"mapper_{i}")(style) if i in self.mapped else torch.zeros_like(style)
            for i, style in enumerate(styles)
        ]


@dataclass(frozen=True)
class MapperSettings:
    """The published training has 50,000 steps of 2 latents at rate 0.5 with Ranger; the weights are those of its command.

    clip, distance, likeness: weights of 1 - cosine with the text, of the mean squared change of w, and of 1 - cosine of CLIP's
    features before and after (in the paper, of a face network's).
    """

    steps: int = 400
    batch: int = 8
    rate: float = 0.5
    clip: float = 1.0
    distance: float = 0.8
    likeness: float = 0.1
    without: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Trained:
    """A step of a mapper's training: its number and the means of its losses."""

    number: int
    clip: float
    distance: float
    loss: float


def train(
    mapper: LevelsMapper,
    generator: Generator,
    latents: Tensor,
    text: Tensor,
    see: See,
    settings: MapperSettings | None = None,
    cancel: Cancel | None = None,
) -> Iterator[Trained]:
    """Trains the mapper for one text, yielding each step; ends early when `cancel` is set.

    Args:
        latents: [N, L, D] the W+ that it learns to change. text: [1, D] CLIP's normalised feature.
    """
    s = settings or MapperSettings()
    rng = random.Random(s.seed)
    # The published optimizer is Ranger, which is Adam with a warm-up and averaged steps; plain Adam stands for it.
    optimizer = torch.optim.Adam(mapper.parameters(), lr=s.rate)
    for step in range(s.steps):
        if cancel is not None and cancel.is_set():
            return
        w = latents[[rng.randrange(len(latents)) for _ in range(s.batch)]]
        change = FACTOR * mapper(w)
        features = F.normalize(see(generator(w + change)), dim=-1)
        clip = (1 - (features * text).sum(-1)).mean()
        distance = change.square().mean()
        loss = s.clip * clip + s.distance * distance
        if s.likeness:
            with torch.no_grad():
                before = F.normalize(see(generator(w)), dim=-1)
            loss = loss + s.likeness * (1 - (features * before).sum(-1)).mean()
        for group in optimizer.param_groups:
            group["lr"] = s.rate * min(1.0, (step + 1) / (0.05 * s.steps + 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield Trained(step, float(clip.detach()), float(distance.detach()), float(loss.detach()))


@torch.no_grad()
def edited(mapper: nn.Module, w_plus: Tensor, strength: float = 1.0) -> Tensor:
    """w + 0.1 M(w), or a part or a multiple of that way."""
    changed: Tensor = w_plus + strength * FACTOR * mapper(w_plus)
    return changed
