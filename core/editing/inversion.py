"""From an image back to the latent that makes it, after e4e (Tov et al. 2021, arXiv:2102.02766): one w, and what each layer
adds.

e4e asks that what layers add stays small, because edits work on images whose vectors of W+ are nearly one vector of W. The
network here is small and plain: a few convolutions, then two linear heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

CHANNELS = (48, 64, 80)


class Encoder(nn.Module):
    """Images [B, 3, S, S] in -1..1 -> W+ [B, L, D].

    Args:
        size: pixels of a side, 8 times a whole number. width: D. latents: L.
    """

    def __init__(
        self, size: int, width: int, latents: int, channels: tuple[int, int, int] = CHANNELS
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for count in channels:
            layers += [
                nn.Conv2d(inputs, count, 3, stride=2, padding=1),
                nn.GroupNorm(8, count),
                nn.SiLU(),
                nn.Conv2d(count, count, 3, padding=1),
                nn.SiLU(),
            ]
            inputs = count
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.trunk = nn.Sequential(nn.Linear(inputs * (size // 8) ** 2, 2 * width), nn.SiLU())
        self.one = nn.Linear(2 * width, width)
        self.added = nn.Linear(2 * width, latents * width)
        nn.init.zeros_(self.added.weight)
        nn.init.zeros_(self.added.bias)

    def forward(self, images: Tensor) -> Tensor:
        one, added = self.parts(images)
        return one[:, None] + added

    def parts(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The one w [B, D], and what is added to it in each layer [B, L, D]."""
        seen = self.trunk(self.body(images))
        one: Tensor = self.one(seen)
        return one, self.added(seen).view(len(one), -1, one.shape[-1])


@torch.no_grad()
def invert(encoder: Encoder, images: Tensor) -> Tensor:
    """The W+ [B, L, D] of images [B, 3, S, S] in 0..1."""
    found: Tensor = encoder(images * 2 - 1)
    return found
