"""The image side of GLIP: a backbone of maps and a feature pyramid on it.

Swin Transformer (Liu et al. 2021, https://arxiv.org/abs/2103.14030): attention inside windows of 7 x 7, shifted in every second
block; FPN (Lin et al. 2017) with two more levels, without norms. Modules carry the names of the released checkpoints. The
miniature's backbone is the frozen image tower of a small CLIP (`core.clip.resnet`) under the same pyramid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.clip.resnet import ClipResNetBackbone


class WindowAttention(nn.Module):
    """Self-attention among the places of a window, with a learned bias for each relative position (Swin, equation 4)."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", relative_positions(window))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Windows [B * n, w*w, C] and, where they were shifted, a mask [n, w*w, w*w] of what lies apart."""
        index: Any = self.relative_position_index
        bias = self.relative_position_bias_table[index.flatten()].unflatten(0, index.shape)
        bias = bias.permute(2, 0, 1)[None]  # [1, heads, w*w, w*w]
        if mask is not None:
            bias = (bias + mask[:, None]).repeat(len(x) // len(mask), 1, 1, 1)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)  # [B * n, heads, w*w, C / heads]
        return self.proj(x.transpose(1, 2).flatten(2))


def relative_positions(window: int) -> Tensor:
    """[w*w, w*w] which row of the bias table each pair of places reads."""
    rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    places = torch.stack([rows.flatten(), columns.flatten()])  # [2, w*w]
    down, right = (places[:, :, None] - places[:, None]) + window - 1
    return down * (2 * window - 1) + right


class Mlp(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class SwinBlock(nn.Module):
    """Attention in windows, then an MLP, each behind a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, h, w, C] and the stage's mask for shifted windows."""
        _, h, w, _ = x.shape
        size, shift = self.window, self.shift
        y = F.pad(self.norm1(x), (0, 0, 0, -w % size, 0, -h % size))
        if shift:
            y = y.roll((-shift, -shift), (1, 2))
        y = unwindowed(self.attn(windowed(y, size), mask if shift else None), size, *y.shape[1:3])
        if shift:
            y = y.roll((shift, shift), (1, 2))
        x = x + y[:, :h, :w]
        return x + self.mlp(self.norm2(x))


def windowed(x: Tensor, size: int) -> Tensor:
    """[B, H, W, C] -> [B * n, size * size, C], n windows an image, row by row."""
    return x.unflatten(2, (-1, size)).unflatten(1, (-1, size)).transpose(2, 3).flatten(0, 2).flatten(1, 2)


def unwindowed(x: Tensor, size: int, height: int, width: int) -> Tensor:
    """[B * n, size * size, C] -> [B, H, W, C]."""
    x = x.unflatten(0, (-1, height // size, width // size)).unflatten(3, (size, size))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def shift_mask(height: int, width: int, size: int, shift: int, like: Tensor) -> Tensor:
    """[n, size * size, size * size] of a map rolled by `shift`: -100 between places that are no neighbours, else 0."""
    sides = []
    for side in (height, width):
        side += -side % size
        region = torch.zeros(side, device=like.device)
        region[-size:] = 1
        region[-shift:] = 2
        sides.append(region)
    regions = windowed((3 * sides[0][:, None] + sides[1])[None, :, :, None], size)  # [n, size * size, 1]
    return ((regions != regions.mT) * -100.0).to(like.dtype)


class PatchMerging(nn.Module):
    """Four neighbours to one place of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, h, w, C] -> [B, ceil(h / 2), ceil(w / 2), 2C]."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        x = torch.cat([x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)], dim=-1)
        return self.reduction(self.norm(x))


class SwinStage(nn.Module):
    """Blocks of one width; every second one shifts its windows."""

    def __init__(self, width: int, depth: int, heads: int, window: int, merge: bool) -> None:
        super().__init__()
        self.window, self.shift = window, window // 2
        self.blocks = nn.ModuleList(
            SwinBlock(width, heads, window, self.shift * (i % 2)) for i in range(depth)
        )
        self.downsample = PatchMerging(width) if merge else None

    def forward(self, x: Tensor) -> Tensor:
        mask = shift_mask(x.shape[1], x.shape[2], self.window, self.shift, x)
        for block in self.blocks:
            x = block(x, mask)
        return x


class PatchEmbed(nn.Module):
    """Patches of 4 x 4 pixels to vectors, normed."""

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv2d(3, width, patch, stride=patch)
        self.norm = nn.LayerNorm(width)

    def forward(self, pixels: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, ceil(H / 4), ceil(W / 4), C]."""
        pixels = F.pad(pixels, (0, -pixels.shape[3] % self.patch, 0, -pixels.shape[2] % self.patch))
        return self.norm(self.proj(pixels).permute(0, 2, 3, 1))


class Swin(nn.Module):
    """Four stages at strides 4, 8, 16, 32. Stages whose maps are used (`taken`) have a norm behind them.

    Args:
        width: of the first stage; it doubles.
        depths, heads: of each stage.
        window: side of the windows, in places.
        taken: the stages that the pyramid reads.
    """

    def __init__(
        self, width: int, depths: Sequence[int], heads: Sequence[int], window: int, taken: Sequence[int]
    ) -> None:
        super().__init__()
        self.channels = tuple(width * 2**i for i in range(len(depths)))
        self.patch_embed = PatchEmbed(width, 4)
        self.layers = nn.ModuleList(
            SwinStage(c, depth, h, window, merge=i < len(depths) - 1)
            for i, (c, depth, h) in enumerate(zip(self.channels, depths, heads, strict=True))
        )
        for i in taken:
            self.add_module(f"norm{i}", nn.LayerNorm(self.channels[i]))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """[B, 3, H, W] -> maps [B, C, H / 4, W / 4] ... [B, 8C, H / 32, W / 32]."""
        x = self.patch_embed(pixels)
        maps = []
        for i, layer in enumerate(self.layers):
            x = layer(x)
            norm = self._modules.get(f"norm{i}")
            maps.append((x if norm is None else norm(x)).permute(0, 3, 1, 2))
            if layer.downsample is not None:
                x = layer.downsample(x)  # type: ignore[operator]
        return maps


BODIES: Mapping[str, Any] = {"swin": Swin, "clip_resnet": ClipResNetBackbone}


class TopBlocks(nn.Module):
    """Two coarser levels below the last one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.p6 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.p7 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> list[Tensor]:
        p6 = self.p6(x)
        return [p6, self.p7(F.relu(p6))]


class FPN(nn.Module):
    """One width for all levels; each level adds what the coarser one knows (nearest neighbours).

    Args:
        inputs: channels of each of the body's stages that are taken, by the stage's number.
        channels: of every level.
        top: whether two coarser levels follow.
    """

    def __init__(self, inputs: Mapping[int, int], channels: int, top: bool) -> None:
        super().__init__()
        self.taken = tuple(inputs)
        for i, width in inputs.items():
            inner, layer = nn.Conv2d(width, channels, 1), nn.Conv2d(channels, channels, 3, padding=1)
            for conv in (inner, layer):
                nn.init.kaiming_uniform_(conv.weight, a=1)
                nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
            self.add_module(f"fpn_inner{i + 1}", inner)
            self.add_module(f"fpn_layer{i + 1}", layer)
        self.top_blocks = TopBlocks(channels) if top else None

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The body's maps -> levels [B, channels, h, w], fine to coarse."""
        parts: Any = self._modules
        levels: list[Tensor] = []
        x: Tensor | None = None
        for i in reversed(self.taken):
            inner = parts[f"fpn_inner{i + 1}"](maps[i])
            x = inner if x is None else inner + F.interpolate(x, inner.shape[-2:], mode="nearest")
            levels.insert(0, parts[f"fpn_layer{i + 1}"](x))
        return levels + (self.top_blocks(levels[-1]) if self.top_blocks is not None else [])


class Backbone(nn.Module):
    """A body and its pyramid, as a row of `architectures.toml` describes them."""

    def __init__(self, row: Mapping[str, Any], channels: int) -> None:
        super().__init__()
        options = dict(row)
        kind, taken, top = options.pop("kind"), options.pop("taken"), options.pop("top")
        if kind == "swin":
            options["taken"] = taken
        self.body: Any = BODIES[kind](**options)
        self.fpn = FPN({i: self.body.channels[i] for i in taken}, channels, top)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """[B, 3, H, W] normalised, sides multiples of 32 -> levels [B, channels, h, w], fine to coarse."""
        return self.fpn(self.body(pixels))
