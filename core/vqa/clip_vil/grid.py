"""Grid features of CLIP's ResNets (Shen et al. 2022, section 3.1), and the features that the paper's captioner reads.

- For questions the attention pooling is skipped: the answer is the map of the last residual stage, [h, w, C], at stride 32. No
  position embedding takes part, so that an image of any size has features.
- For captions the pooling stays, with its positions resized to the larger grid: one feature beside the map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

STRIDE = 32


@dataclass(frozen=True)
class GridView:
    """How an image is made ready; the defaults are those of the published code.

    short, longest: pixels of the short side, and what the long side may have. size: height and width to which it is squashed
    then, whatever its shape; None keeps the shape.
    """

    short: int = 600
    longest: int = 1000
    size: tuple[int, int] | None = (600, 1000)


PUBLISHED = GridView()


def resized(image: Image.Image, view: GridView = PUBLISHED) -> Image.Image:
    """The image as the tower sees it: its short side at `short`, then squashed; bilinear both times."""
    width, height = image.size
    scale = view.short / min(width, height)
    if scale * max(width, height) > view.longest:
        scale = view.longest / max(width, height)
    # Detectron2 rounds halves up, and the side that sets the scale is exact.
    sides = max(1, int(scale * width + 0.5)), max(1, int(scale * height + 0.5))
    image = image.resize(sides, Image.Resampling.BILINEAR)
    if view.size is not None and view.size != (sides[1], sides[0]):
        image = image.resize(view.size[::-1], Image.Resampling.BILINEAR)
    return image


def stages(visual: nn.Module, pixels: Tensor) -> dict[str, Tensor]:
    """The maps [B, C, h, w] of a CLIP ResNet (open_clip's class) by stage; pixels [B, 3, H, W] of any size, normalised."""
    tower: Any = visual
    maps, x = {}, pixels
    for name in ("stem", "layer1", "layer2", "layer3", "layer4"):
        x = getattr(tower, name)(x)
        maps[name] = x
    return maps


def grid_features(visual: nn.Module, pixels: Tensor) -> Tensor:
    """The last stage as features of places: [B, 3, H, W] -> [B, h, w, C]."""
    return stages(visual, pixels)["layer4"].permute(0, 2, 3, 1)


def resized_positions(positions: Tensor, size: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """The positions of an attention pooling for another grid: [1 + h*h, C] -> [1 + h'*w', C]; the first row stays.

    Args:
        mode: "bilinear" as in the paper's repository, "bicubic" as newer versions of timm do it.
    """
    side = round((len(positions) - 1) ** 0.5)
    grid = positions[1:].T.reshape(1, -1, side, side)
    grid = F.interpolate(grid, size=size, mode=mode, align_corners=False)
    return torch.cat([positions[:1], grid[0].flatten(1).T])


@dataclass(frozen=True)
class CaptionFeatures:
    """What the captioner reads of an image."""

    positions: Tensor  # [1 + h*w, C] as they were used
    att: Tensor  # [B, h, w, C] features of places
    fc: Tensor  # [B, D] the feature of the whole image


def caption_features(visual: nn.Module, pixels: Tensor, mode: str = "bilinear") -> CaptionFeatures:
    """Features of places and of the whole image, of pixels [B, 3, H, W]; `mode` as of `resized_positions`."""
    tower: Any = visual
    pool = tower.attnpool
    last = stages(visual, pixels)["layer4"]
    positions = resized_positions(pool.positional_embedding, (last.shape[2], last.shape[3]), mode)
    tokens = last.flatten(2).transpose(1, 2)  # [B, h*w, C]
    tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1) + positions

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)

    read = F.scaled_dot_product_attention(
        heads(pool.q_proj(tokens[:, :1])), heads(pool.k_proj(tokens)), heads(pool.v_proj(tokens))
    )
    fc = pool.c_proj(read.transpose(1, 2).flatten(2))[:, 0]
    return CaptionFeatures(positions, last.permute(0, 2, 3, 1), fc)
