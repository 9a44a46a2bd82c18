"""What CLIP sees of a sketch against what it sees of the image.

CLIPasso (Vinker et al. 2022, https://arxiv.org/abs/2202.05822, section 3.2): the geometric loss compares
feature maps of the middle of the image encoder, the semantic loss the image features; both images go
through the same random warps, of which the encoder's answer should not depend.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from core.clip.encoders import DualEncoder
from core.clip.towers import Seen, VisionTower

# How far two feature maps are apart, as the published code offers it: mean absolute and squared differences, and one minus the
# cosine along the first dimension behind the batch (channels of a ResNet's maps, tokens of a ViT's), mean over the others.
Distance = Literal["l1", "l2", "cosine"]


def distances(kind: Distance, sketch: Tensor, picture: Tensor) -> Tensor:
    """Maps [K, N, C, ...] and maps [K, C, ...] -> [K, N]."""
    if kind == "cosine":
        apart = 1 - F.cosine_similarity(sketch, picture[:, None], dim=2)
    else:
        apart = sketch - picture[:, None]
        apart = apart.abs() if kind == "l1" else apart.square()
    return apart.flatten(2).mean(2)


class PerceptualLoss:
    """Distances of sketches to images in an image encoder.

    Args:
        mean, std: [3], the encoder's normalisation of pixels in 0..1.
        side: of the encoder's square input; images of another size are resized to it.
        stages: weight of the geometric loss by stage of the tower (`core.drawing.guides` has the usual ones).
        semantic: weight of the semantic loss.
        dtype: of the encoder's weights.
        distance: of the geometric loss, for all stages or by stage.
    """

    def __init__(
        self,
        vision: VisionTower,
        mean: Tensor,
        std: Tensor,
        side: int,
        stages: Mapping[str, float],
        semantic: float,
        dtype: torch.dtype = torch.float32,
        distance: Distance | Mapping[str, Distance] = "l2",
    ) -> None:
        self.vision, self.side, self.semantic = vision, side, semantic
        self.mean, self.std = mean.view(3, 1, 1), std.view(3, 1, 1)
        self.stages = {k: v for k, v in stages.items() if v}
        self.dtype = dtype
        self.distance = distance if isinstance(distance, Mapping) else dict.fromkeys(self.stages, distance)

    @classmethod
    def of(
        cls, encoder: DualEncoder, stages: Mapping[str, float], semantic: float, distance: Distance = "l2"
    ) -> PerceptualLoss:
        """With the input size and normalisation of an encoder, read off what it makes of black and white."""
        # A square of any size is scaled to the encoder's, so a flat one comes back as its normalised colour.
        black, white = (encoder.preprocess(Image.new("RGB", (512, 512), grey)) for grey in ("black", "white"))
        std = 1 / (white - black)[:, 0, 0]
        mean = -black[:, 0, 0] * std
        mean, std = mean.to(encoder.device), std.to(encoder.device)
        return cls(encoder.vision, mean, std, black.shape[-1], stages, semantic, encoder.dtype, distance)

    def resize(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] in 0..1 at the encoder's size."""
        if images.shape[-2:] == (self.side, self.side):
            return images
        size = (self.side, self.side)
        return F.interpolate(images, size, mode="bicubic", align_corners=False, antialias=True)

    def see(self, images: Tensor) -> Seen:
        """The features of images [N, 3, H, W] in 0..1; differentiable."""
        seen = self.vision.see(((self.resize(images) - self.mean) / self.std).to(self.dtype))
        return Seen(seen.image_features, {name: seen.maps[name] for name in self.stages})

    def terms(self, sketch: Seen, picture: Seen) -> dict[str, Tensor]:
        """The weighted terms [K N] by stage and "semantic" of N sketches in each of K views.

        Args:
            sketch: of a batch [K N], view by view. picture: of the image in each view, a batch [K].
        """
        views = len(picture.image_features)
        terms = {
            name: weight
            * distances(
                self.distance[name],
                sketch.maps[name].float().unflatten(0, (views, -1)),
                picture.maps[name].float(),
            ).flatten()
            for name, weight in self.stages.items()
        }
        if self.semantic:
            drawn = sketch.image_features.float().unflatten(0, (views, -1))
            cosine = F.cosine_similarity(drawn, picture.image_features.float()[:, None], dim=-1)
            terms["semantic"] = self.semantic * (1 - cosine.flatten())
        return terms

    def __call__(self, sketch: Seen, picture: Seen) -> Tensor:
        """The sum of the terms, [K N]."""
        return torch.stack(list(self.terms(sketch, picture).values())).sum(0)


@dataclass(frozen=True)
class Warps:
    """Random views of a canvas: a change of perspective, then a square part of it at full size.

    Attributes:
        distortion: how far a corner may move, as a share of half a side.
        area: least and greatest share of the canvas that the part keeps.
        ratio: least and greatest width over height of the part.
        fill: the grey beyond the canvas; the paper of CLIPasso uses black, CLIPDraw white.
    """

    distortion: float = 0.5
    area: tuple[float, float] = (0.8, 0.8)
    ratio: tuple[float, float] = (1.0, 1.0)
    fill: float = 0.0

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Matrices [count, 3, 3] from a place of the view to one of the canvas, both in -1..1."""
        corners = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
        moved = corners * (1 - self.distortion * torch.rand(count, 4, 2, generator=generator))
        perspective = _homography(moved, corners)
        area = torch.empty(count).uniform_(*self.area, generator=generator)
        low, high = (torch.tensor(ratio).log().item() for ratio in self.ratio)
        ratio = torch.empty(count).uniform_(low, high, generator=generator).exp()
        scale = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], dim=1).clamp_max(1)  # [count, 2]
        shift = (torch.rand(count, 2, generator=generator) * 2 - 1) * (1 - scale)
        part = torch.diag_embed(torch.cat([scale, torch.ones(count, 1)], dim=1))
        part[:, :2, 2] = shift
        return perspective @ part

    def apply(self, images: Tensor, matrices: Tensor) -> Tensor:
        """Every image [N, 3, H, W] through every warp [M, 3, 3]: [M N, 3, H, W], warp by warp."""
        N, _, H, W = images.shape
        M = len(matrices)
        y, x = torch.meshgrid(
            (torch.arange(H, device=images.device) * 2 + 1) / H - 1,
            (torch.arange(W, device=images.device) * 2 + 1) / W - 1,
            indexing="ij",
        )
        places = torch.stack([x, y, torch.ones_like(x)], dim=-1).to(images.dtype)  # [H, W, 3]
        found = torch.einsum("mij,hwj->mhwi", matrices.to(images), places)
        grid = found[..., :2] / found[..., 2:]  # [M, H, W, 2]
        grid = grid[:, None].expand(M, N, H, W, 2).reshape(M * N, H, W, 2)
        shifted = (images - self.fill).expand(M, N, 3, H, W).reshape(M * N, 3, H, W)
        return F.grid_sample(shifted, grid, mode="bilinear", align_corners=False) + self.fill


def _homography(source: Tensor, goal: Tensor) -> Tensor:
    """The projective maps [M, 3, 3] that take four points [M, 4, 2] to four points [4, 2]."""
    M = len(source)
    x, y = source.unbind(-1)  # [M, 4]
    u, v = (value.expand(M, 4) for value in goal.unbind(-1))
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    rows = torch.cat(
        [
            torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], dim=-1),
            torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], dim=-1),
        ],
        dim=1,
    )  # [M, 8, 8]
    solution = torch.linalg.solve(rows.double(), torch.cat([u, v], dim=1).double())
    return torch.cat([solution.float(), torch.ones(M, 1)], dim=1).view(M, 3, 3)
