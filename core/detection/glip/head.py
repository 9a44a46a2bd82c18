"""GLIP's head: a dynamic head on every level, fused with the words, and what it says of each place.

Dynamic head (Dai et al. 2021, https://arxiv.org/abs/2106.08322): a level reads itself and its two neighbours through deformable
convolutions, weighs what it read by its mean, and bends it with a rectifier whose slopes depend on the image. Each block
is preceded by deep fusion. Then, of every place: inner products with every word (equation 3), a box, and centerness.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from core.detection.glip.deform import modulated_conv
from core.detection.glip.fusion import LIMIT, BertLayer, VLFuse

PRIOR = 0.01  # the probability that a fresh head gives every word


def h_sigmoid(x: Tensor) -> Tensor:
    """A sigmoid of straight lines."""
    return F.relu6(x + 3) / 6


class DynamicReLU(nn.Module):
    """The larger of two lines for each channel, whose slopes and offsets the mean of the map decides."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // 4), nn.ReLU(), nn.Linear(channels // 4, 4 * channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        lines = h_sigmoid(self.fc(x.mean((2, 3)))) - 0.5
        a1, b1, a2, b2 = lines[..., None, None].chunk(4, dim=1)  # [B, C, 1, 1] each
        return torch.maximum(x * (2 * a1 + 1) + b1, x * (2 * a2) + b2)


class BranchConv(nn.Module):
    """A 3x3 convolution, deformable and modulated where offsets are given, and a norm."""

    def __init__(self, channels: int, groups: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(channels, channels, 3, stride=stride, padding=1)
        self.bn = nn.GroupNorm(groups, channels)
        nn.init.normal_(self.conv.weight, std=0.01)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, offset: Tensor | None, mask: Tensor | None) -> Tensor:
        """[B, C, h, w]; offsets [B, 18, ...] and masks [B, 9, ...] of at least as many places as come out."""
        if offset is None or mask is None:
            return self.bn(self.conv(x))
        height, width = ((side - 1) // self.stride + 1 for side in x.shape[-2:])
        offset, mask = as_read(offset, height, width), as_read(mask, height, width)
        weight, bias = self.conv.weight, self.conv.bias
        if x.device.type == "cpu":
            # torchvision's has no vector instructions there and a slow gradient.
            return self.bn(modulated_conv(x, offset, mask, weight, bias, self.stride))
        return self.bn(deform_conv2d(x, offset, weight, bias, stride=self.stride, padding=1, mask=mask))


def as_read(buffer: Tensor, height: int, width: int) -> Tensor:
    """A buffer [B, C, h, w] as a convolution with an output of height x width reads it: the first C * height * width numbers.

    The branch that looks at the coarser level is given the finer level's offsets, and the published kernel strides through them
    by the size of its own output. The released weights were trained that way.
    """
    batch, channels, *size = buffer.shape
    if size == [height, width]:
        return buffer
    return buffer.flatten(1)[:, : channels * height * width].reshape(batch, channels, height, width)


class DyConv(nn.Module):
    """One block of the dynamic head."""

    def __init__(self, channels: int, groups: int, deformable: bool) -> None:
        super().__init__()
        # Of the coarser level, of the level itself, of the finer level.
        self.DyConv = nn.ModuleList(BranchConv(channels, groups, stride) for stride in (1, 1, 2))
        self.AttnConv = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 1, 1), nn.ReLU())
        self.relu = DynamicReLU(channels)
        self.offset = nn.Conv2d(channels, 27, 3, padding=1) if deformable else None
        for conv in (self.AttnConv[1], self.offset):
            if isinstance(conv, nn.Conv2d):
                nn.init.normal_(conv.weight, std=0.01)
                nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def offsets(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Where a level looks, [B, 18, h, w] down and right of nine places, and how much [B, 9, h, w]."""
        if self.offset is None:
            return None, None
        both = self.offset(x)
        return both[:, :18], both[:, 18:].sigmoid()

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Levels [B, C, h, w], fine to coarse."""
        made = []
        for i, x in enumerate(maps):
            offset, mask = self.offsets(x)
            branches = [self.DyConv[1](x, offset, mask)]
            if i > 0:
                branches.append(self.DyConv[2](maps[i - 1], offset, mask))
            if i < len(maps) - 1:
                coarser = self.DyConv[0](maps[i + 1], offset, mask)
                branches.append(F.interpolate(coarser, x.shape[-2:], mode="bilinear", align_corners=True))
            weights = [h_sigmoid(self.AttnConv(branch)) for branch in branches]
            mixed = sum(b * w for b, w in zip(branches, weights, strict=True)) / len(branches)
            made.append(self.relu(mixed))
        return made


class Scale(nn.Module):
    """A learned factor."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


@dataclass(frozen=True)
class Predictions:
    """What the head says of all places of all levels, fine to coarse: R of them."""

    logits: Tensor  # [B, R, L] alignment with every word
    deltas: Tensor  # [B, R, 4] of the anchors' boxes
    centerness: Tensor  # [B, R] logits
    shapes: tuple[tuple[int, int], ...]  # h, w of each level


def as_regions(maps: Sequence[Tensor]) -> Tensor:
    """Levels [B, C, h, w] -> all their places, one level after the other: [B, R, C]."""
    return torch.cat([level.flatten(2).mT for level in maps], dim=1)


class Head(nn.Module):
    """Blocks of fusion and dynamic head, then three small heads.

    Args:
        row: the `head` table of an architecture.
        channels: of the levels.
        words: width of the word features.
        levels: how many levels there are.
    """

    def __init__(self, row: Mapping[str, Any], channels: int, words: int, levels: int) -> None:
        super().__init__()
        tower: list[nn.Module] = []
        for _ in range(row["blocks"]):
            if row["fusion"]:
                tower.append(
                    VLFuse(channels, words, row["fusion_width"], row["fusion_heads"], 1 / row["blocks"])
                )
                tower.append(BertLayer(words, row["word_heads"], row["word_inner"]))
            tower.append(DyConv(channels, row["groups"], row["deformable"]))
        self.dyhead_tower = nn.ModuleList(tower)
        self.log_scale = nn.Parameter(torch.zeros(1))
        # The miniature's levels and words are CLIP's reading of places and phrases. What the tower makes of them is added to
        # it, by a share that begins at nothing: so a name without a box in training is compared as CLIP compares it.
        self.share_v = nn.Parameter(torch.zeros(channels)) if row.get("skip") else None
        self.share_l = nn.Parameter(torch.zeros(words)) if row.get("skip") else None
        self.bias_lang = nn.Parameter(torch.zeros(words))
        self.bias0 = nn.Parameter(torch.full((1,), -math.log((1 - PRIOR) / PRIOR)))
        # A classifier of a fixed list, in the released files and read by no pass.
        self.cls_logits = nn.Conv2d(channels, row["classes"], 1) if row.get("classes") else None
        self.bbox_pred = nn.Conv2d(channels, 4, 1)
        self.centerness = nn.Conv2d(channels, 1, 1)
        self.dot_product_projection_text = nn.Linear(words, channels)
        self.scales = nn.ModuleList(Scale() for _ in range(levels))
        for conv in (self.bbox_pred, self.centerness):
            nn.init.normal_(conv.weight, std=0.01)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def fuse(self, maps: Sequence[Tensor], words: Tensor, mask: Tensor) -> tuple[list[Tensor], Tensor]:
        """The tower: levels [B, C, h, w], words [B, L, D] and their mask [B, L] -> the same, after all blocks."""
        levels = list(maps)
        for block in self.dyhead_tower:
            if isinstance(block, VLFuse):
                levels, words = block(levels, words, mask)
            elif isinstance(block, BertLayer):
                words = block(words, mask)
            else:
                levels = block(levels)
        return levels, words

    def products(self, regions: Tensor, words: Tensor) -> Tensor:
        """S = O P^T (equation 3): regions [B, R, C] and words [B, L, D] -> logits [B, R, L]."""
        unit = F.normalize(words, dim=-1)
        keys = self.dot_product_projection_text(unit / 2)
        bias = unit @ self.bias_lang + self.bias0  # [B, L]
        logits = regions @ keys.mT / self.log_scale.exp() + bias[:, None]
        return logits.clamp(-LIMIT, LIMIT)

    def forward(self, maps: Sequence[Tensor], words: Tensor, mask: Tensor) -> Predictions:
        """Levels [B, C, h, w] fine to coarse, word features [B, L, D], mask [B, L] true at words."""
        entering, read = as_regions(maps), words
        maps, words = self.fuse(maps, words, mask)
        regions = as_regions(maps)
        if self.share_v is not None and self.share_l is not None:
            regions, words = entering + self.share_v * regions, read + self.share_l * words
        deltas = [
            scale(self.bbox_pred(level)).flatten(2).mT for scale, level in zip(self.scales, maps, strict=True)
        ]
        central = [self.centerness(level).flatten(1) for level in maps]
        shapes = tuple((level.shape[-2], level.shape[-1]) for level in maps)
        return Predictions(self.products(regions, words), torch.cat(deltas, 1), torch.cat(central, 1), shapes)
