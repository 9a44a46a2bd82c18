"""The image towers of CLIP seen from inside: one forward pass gives the image feature and the patch features.

CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020, section 2.4) has two kinds of image encoder, a
ResNet with attention pooling and a ViT. Both answer with one vector; what each place of the image would say
comes from the value path of the last attention, as in MaskCLIP (Zhou et al. 2022,
https://arxiv.org/abs/2112.01071, section 3.2). The models themselves are open_clip's and transformers'; only
the value path and the attention maps, which those libraries do not hand out, are computed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def padded(ids: Sequence[Sequence[int]], length: int, pad: int = 0) -> Tensor:
    """Ids of N texts as [N, L], each filled up to `length` behind its end."""
    tokens = torch.full((len(ids), length), pad)
    for row, text in zip(tokens, ids, strict=True):
        row[: len(text)] = torch.tensor(text)
    return tokens


@dataclass(frozen=True)
class VisionOutput:
    """What one pass through an image tower gives; nothing is normalised yet."""

    image_features: Tensor  # [B, D]
    patch_features: Tensor  # [B, h, w, D], value path of the last attention, in the joint space


@dataclass(frozen=True)
class Seen:
    """What one pass through an image tower leaves at each of its stages; nothing is normalised yet."""

    image_features: Tensor  # [B, D]
    maps: dict[str, Tensor]  # by stage: [B, C, h, w] of a ResNet, [B, 1 + h*w, W] of a ViT, class token first


class VisionTower(Protocol):
    """An image encoder that can be taken apart."""

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The stages, shallow to deep."""

    def __call__(self, pixels: Tensor) -> VisionOutput:
        """Encodes `pixels` [B, 3, H, W], already normalised with the row's mean and deviation."""

    def attention(self, pixels: Tensor) -> Tensor:
        """Attention weights [B, layers, heads, 1 + h*w, 1 + h*w]; row 0 is what the class token looks at."""

    def stages(self, pixels: Tensor) -> dict[str, Tensor]:
        """Feature maps [B, C, h, w] by stage name, shallow to deep, with gradients."""

    def see(self, pixels: Tensor) -> Seen:
        """Image features and every stage in one pass, with gradients."""


def attention_weights(queries: Tensor, keys: Tensor, heads: int) -> Tensor:
    """Softmax of scaled dot products: [B, Q, W] and [B, T, W] -> [B, heads, Q, T]."""
    q = queries.unflatten(-1, (heads, -1)).transpose(1, 2)
    k = keys.unflatten(-1, (heads, -1)).transpose(1, 2)
    return (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(dim=-1)


def as_grid(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """Patch tokens [B, h*w, W] -> feature map [B, W, h, w]."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, rows, columns)


def _blocks(count: int) -> tuple[str, ...]:
    return tuple(f"block{i}" for i in range(1, count + 1))


def value_path(block: Any, tokens: Tensor) -> Tensor:
    """One of open_clip's transformer blocks with every token looking at itself alone: [B, T, W] -> [B, T, W]."""
    width = tokens.shape[-1]
    attention = block.attn
    value = F.linear(
        block.ln_1(tokens), attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :]
    )
    x = tokens + block.ls_1(attention.out_proj(value))
    return x + block.ls_2(block.mlp(block.ln_2(x)))


class OpenClipViT:
    """open_clip's VisionTransformer."""

    def __init__(self, visual: nn.Module) -> None:
        self.visual: Any = visual

    @property
    def grid(self) -> tuple[int, int]:
        return self.visual.grid_size

    @property
    def stage_names(self) -> tuple[str, ...]:
        return _blocks(len(self.visual.transformer.resblocks))

    def __call__(self, pixels: Tensor) -> VisionOutput:
        blocks = self.visual.transformer.resblocks
        output = self.visual.forward_intermediates(
            pixels, indices=[len(blocks) - 2], output_fmt="NLC", output_extra_tokens=True
        )
        x = torch.cat(
            [output["image_intermediates_prefix"][0], output["image_intermediates"][0]], dim=1
        )  # [B, 1 + h*w, W], what enters the last block
        x = value_path(blocks[-1], x)
        patch_features = self.visual.ln_post(x[:, 1:]) @ self.visual.proj
        return VisionOutput(output["image_features"], patch_features.unflatten(1, self.grid))

    def attention(self, pixels: Tensor) -> Tensor:
        blocks = self.visual.transformer.resblocks
        output = self.visual.forward_intermediates(
            pixels, indices=list(range(len(blocks))), output_fmt="NLC", output_extra_tokens=True
        )
        entering = [self.visual._embeds(pixels)] + [
            torch.cat(pair, dim=1)
            for pair in zip(
                output["image_intermediates_prefix"][:-1], output["image_intermediates"][:-1], strict=True
            )
        ]
        maps = []
        for block, x in zip(blocks, entering, strict=True):
            q, k, _ = F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, -1)
            maps.append(attention_weights(q, k, block.attn.num_heads))
        return torch.stack(maps, dim=1)

    def stages(self, pixels: Tensor) -> dict[str, Tensor]:
        maps = self.visual.forward_intermediates(pixels, intermediates_only=True)["image_intermediates"]
        return dict(zip(self.stage_names, maps, strict=True))

    def see(self, pixels: Tensor) -> Seen:
        output = self.visual.forward_intermediates(pixels, output_fmt="NLC", output_extra_tokens=True)
        pairs = zip(output["image_intermediates_prefix"], output["image_intermediates"], strict=True)
        maps = [torch.cat(pair, dim=1) for pair in pairs]
        return Seen(output["image_features"], dict(zip(self.stage_names, maps, strict=True)))


class OpenClipResNet:
    """open_clip's ModifiedResNet with attention pooling (CLIP section 2.4)."""

    stage_names = ("stem", "layer1", "layer2", "layer3", "layer4")

    def __init__(self, visual: nn.Module) -> None:
        self.visual: Any = visual

    def __call__(self, pixels: Tensor) -> VisionOutput:
        output = self.visual.forward_intermediates(pixels, indices=[4])
        pool = self.visual.attnpool
        x = output["image_intermediates"][0]  # [B, C, h, w]
        patch_features = pool.c_proj(pool.v_proj(x.permute(0, 2, 3, 1)))
        return VisionOutput(output["image_features"], patch_features)

    def attention(self, pixels: Tensor) -> Tensor:
        pool = self.visual.attnpool
        x = self.visual.forward_intermediates(pixels, indices=[4], intermediates_only=True)
        tokens = x["image_intermediates"][0].flatten(2).transpose(1, 2)  # [B, h*w, C]
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1) + pool.positional_embedding
        maps = attention_weights(pool.q_proj(tokens), pool.k_proj(tokens), pool.num_heads)
        return maps[:, None]

    def stages(self, pixels: Tensor) -> dict[str, Tensor]:
        maps = self.visual.forward_intermediates(pixels, intermediates_only=True)["image_intermediates"]
        return dict(zip(self.stage_names, maps, strict=True))

    def see(self, pixels: Tensor) -> Seen:
        output = self.visual.forward_intermediates(pixels)
        maps = dict(zip(self.stage_names, output["image_intermediates"], strict=True))
        return Seen(output["image_features"], maps)


class TransformersViT:
    """The ViT of transformers' Chinese-CLIP with its projection."""

    def __init__(self, vision_model: nn.Module, visual_projection: nn.Module) -> None:
        self.vision: Any = vision_model
        self.projection = visual_projection

    @property
    def grid(self) -> tuple[int, int]:
        side = self.vision.config.image_size // self.vision.config.patch_size
        return side, side

    @property
    def stage_names(self) -> tuple[str, ...]:
        return _blocks(len(self.vision.encoder.layers))

    def _entering(self, pixels: Tensor) -> list[Tensor]:
        """What enters each block, and last what leaves the last one: [B, 1 + h*w, W] each."""
        xs = [self.vision.pre_layrnorm(self.vision.embeddings(pixels))]
        for layer in self.vision.encoder.layers:
            xs.append(layer(xs[-1], None))
        return xs

    def __call__(self, pixels: Tensor) -> VisionOutput:
        *_, x, leaving = self._entering(pixels)
        block = self.vision.encoder.layers[-1]
        image_features = self.projection(self.vision.post_layernorm(leaving[:, 0]))
        x = x + block.self_attn.out_proj(block.self_attn.v_proj(block.layer_norm1(x)))
        x = x + block.mlp(block.layer_norm2(x))
        patch_features = self.projection(self.vision.post_layernorm(x[:, 1:]))
        return VisionOutput(image_features, patch_features.unflatten(1, self.grid))

    def attention(self, pixels: Tensor) -> Tensor:
        maps = []
        for block, x in zip(self.vision.encoder.layers, self._entering(pixels)[:-1], strict=True):
            y = block.layer_norm1(x)
            attn = block.self_attn
            maps.append(attention_weights(attn.q_proj(y), attn.k_proj(y), attn.num_heads))
        return torch.stack(maps, dim=1)

    def stages(self, pixels: Tensor) -> dict[str, Tensor]:
        return {name: as_grid(x[:, 1:], *self.grid) for name, x in self.see(pixels).maps.items()}

    def see(self, pixels: Tensor) -> Seen:
        leaving = self._entering(pixels)[1:]
        image_features = self.projection(self.vision.post_layernorm(leaving[-1][:, 0]))
        return Seen(image_features, dict(zip(self.stage_names, leaving, strict=True)))
