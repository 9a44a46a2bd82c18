"""An image tower walked step by step: every stage and every attention of one pass, kept where gradients reach them.

The libraries' own forward passes use fused attention, which never writes the weights down. Here each block is run from
its own layers, so that the weights exist; a test holds the image feature against the library's. CLIP's two kinds of tower
are described in Radford et al. 2021 (https://arxiv.org/abs/2103.00020, section 2.4).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from core.clip.mobile import FastViT
from core.clip.siglip import SiglipViT
from core.clip.towers import OpenClipResNet, OpenClipViT, TransformersViT, VisionTower, attention_weights

POOL = "pool"


@dataclass
class Walk:
    """What one pass leaves behind; nothing is normalised. B images, T tokens, W width."""

    grid: tuple[int, int]  # h, w of the places that attention reads
    class_token: bool  # whether token 0 of `stages` and `attention` stands for the whole image
    image_features: Tensor = field(default_factory=lambda: torch.empty(0))  # [B, D]
    stages: dict[str, Tensor] = field(default_factory=dict)  # [B, C, h, w] of a ResNet, [B, T, W] of a ViT
    attention: dict[str, Tensor] = field(
        default_factory=dict
    )  # [B, heads, T, T]; "pool" may have T' != T rows


def walk(tower: VisionTower, pixels: Tensor) -> Walk:
    """Runs `pixels` [B, 3, H, W] (normalised) through a tower.

    "pool" is the attention that makes the image feature of a ResNet [B, heads, 1 + h*w, 1 + h*w] or of SigLIP
    [B, heads, 1, h*w]; a ViT with a class token has none.

    Raises:
        TypeError: for a tower of another kind.
    """
    for kind, steps in WALKS.items():
        if isinstance(tower, kind):
            return steps(tower, pixels)
    raise TypeError(f"{type(tower).__name__} cannot be walked")


def _mix(weights: Tensor, values: Tensor) -> Tensor:
    """[B, heads, Q, T] and values [B, T, W] -> [B, Q, W]."""
    heads = weights.shape[1]
    return (weights @ values.unflatten(-1, (heads, -1)).transpose(1, 2)).transpose(1, 2).flatten(2)


def _open_clip_vit(tower: OpenClipViT, pixels: Tensor) -> Walk:
    visual = tower.visual
    made = Walk(tower.grid, True)
    x = made.stages["embed"] = visual._embeds(pixels)
    for name, block in zip(tower.stage_names, visual.transformer.resblocks, strict=True):
        q, k, v = F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, -1)
        weights = made.attention[name] = attention_weights(q, k, block.attn.num_heads)
        x = x + block.ls_1(block.attn.out_proj(_mix(weights, v)))
        x = made.stages[name] = x + block.ls_2(block.mlp(block.ln_2(x)))
    made.image_features = visual._pool(x)[0] @ visual.proj
    return made


def _open_clip_resnet(tower: OpenClipResNet, pixels: Tensor) -> Walk:
    pool = tower.visual.attnpool
    made = Walk((0, 0), False, stages=tower.stages(pixels))
    x = made.stages[tower.stage_names[-1]]  # [B, C, h, w]
    made.grid = x.shape[2], x.shape[3]
    tokens = x.flatten(2).transpose(1, 2)
    tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1) + pool.positional_embedding
    weights = made.attention[POOL] = attention_weights(
        pool.q_proj(tokens), pool.k_proj(tokens), pool.num_heads
    )
    made.image_features = pool.c_proj(_mix(weights, pool.v_proj(tokens))[:, 0])
    return made


def _layer(layer: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """One block of transformers' ViTs: what leaves it, and its attention."""
    attn, y = layer.self_attn, layer.layer_norm1(x)
    weights = attention_weights(attn.q_proj(y), attn.k_proj(y), attn.num_heads)
    x = x + attn.out_proj(_mix(weights, attn.v_proj(y)))
    return x + layer.mlp(layer.layer_norm2(x)), weights


def _transformers_vit(tower: TransformersViT, pixels: Tensor) -> Walk:
    vision = tower.vision
    made = Walk(tower.grid, True)
    x = made.stages["embed"] = vision.pre_layrnorm(vision.embeddings(pixels))
    for name, layer in zip(tower.stage_names, vision.encoder.layers, strict=True):
        x, made.attention[name] = _layer(layer, x)
        made.stages[name] = x
    made.image_features = tower.projection(vision.post_layernorm(x[:, 0]))
    return made


def _siglip_vit(tower: SiglipViT, pixels: Tensor) -> Walk:
    vision, head = tower.vision, tower.vision.head
    made = Walk(tower.grid, False)
    x = made.stages["embed"] = vision.embeddings(pixels)
    for name, layer in zip(tower.stage_names, vision.encoder.layers, strict=True):
        x, made.attention[name] = _layer(layer, x)
        made.stages[name] = x
    x, attention = vision.post_layernorm(x), head.attention
    query, key, value = attention.in_proj_weight.chunk(3)
    query_bias, key_bias, value_bias = attention.in_proj_bias.chunk(3)
    probe = F.linear(head.probe.expand(len(x), -1, -1), query, query_bias)
    weights = made.attention[POOL] = attention_weights(probe, F.linear(x, key, key_bias), attention.num_heads)
    mixed = attention.out_proj(_mix(weights, F.linear(x, value, value_bias)))
    made.image_features = (mixed + head.mlp(head.layernorm(mixed)))[:, 0]
    return made


def _fast_vit(tower: FastViT, pixels: Tensor) -> Walk:
    made = Walk((0, 0), False, stages=tower.stages(pixels))
    for number, (x, weights) in enumerate(tower.walked(made.stages["stage3"]), start=1):
        made.attention[f"stage4.{number}"] = weights
        made.stages[tower.stage_names[-1]] = x
    made.grid = x.shape[2], x.shape[3]
    # The mean over all places, written as an attention that is the same everywhere, with as many heads as the others.
    places = tower.places(x).flatten(1, 2)  # [B, T, D]
    even = torch.full_like(weights[:, :, :1], 1 / places.shape[1])  # [B, heads, 1, T]
    even = made.attention[POOL] = even.requires_grad_(torch.is_grad_enabled())
    made.image_features = (even.mean(1) @ places)[:, 0]
    return made


WALKS: dict[type, Any] = {
    OpenClipViT: _open_clip_vit,
    OpenClipResNet: _open_clip_resnet,
    TransformersViT: _transformers_vit,
    SiglipViT: _siglip_vit,
    FastViT: _fast_vit,
}
