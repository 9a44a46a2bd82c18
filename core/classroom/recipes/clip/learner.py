"""What is trained when a miniature CLIP is: its towers with what only training needs, and the teacher they may have.

Of the recipe in `clip`; open_clip's own classes, called part by part where a step needs less than all of them.
"""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from open_clip.model import CLIP
from open_clip.transformer import text_global_pool
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from core.classroom.recipes.clip.objectives import ANCHOR_SCALE, Factors, Roles
from core.classroom.recipes.common import tokenizer as tokens
from core.classroom.recipes.common.export import MEAN, STD
from core.classroom.world.concepts import concepts
from core.clip.towers import value_path

TEXT = {"context_length": tokens.CONTEXT, "width": 128, "heads": 4, "layers": 3, "proj_bias": True}
VISION: dict[str, dict[str, Any]] = {
    "classroom-rn": {
        "layers": [2, 2, 2, 2],
        "width": 20,
        "head_width": 64,
        "image_size": 64,
        "patch_size": None,
    },
    "classroom-vit": {"layers": 6, "width": 192, "head_width": 64, "image_size": 64, "patch_size": 8},
}
EMBED = 192
LENGTHS = (6, 8, 10, 13, 17)  # texts up to these lengths run together


def build(
    model: str, vocabulary: int, overrides: dict[str, Any] | None = None
) -> tuple[CLIP, dict[str, Any]]:
    """The open_clip model of this name, untrained, and its model_cfg."""
    vision = {**VISION[model], **(overrides or {})}
    text = {**TEXT, "vocab_size": vocabulary}
    config = {"embed_dim": EMBED, "vision_cfg": dict(vision), "text_cfg": dict(text)}
    clip = CLIP(EMBED, vision, text, init_logit_scale=math.log(10.0))
    return clip, config


class Learner(nn.Module):
    """A CLIP in training: its towers, the two BatchNorms at their ends, and the anchors."""

    def __init__(self, clip: CLIP) -> None:
        super().__init__()
        self.clip = clip
        self.image_norm = nn.BatchNorm1d(EMBED, affine=False)
        self.text_norm = nn.BatchNorm1d(EMBED, affine=False)
        self.anchors = nn.Parameter(0.07 * torch.randn(len(concepts()), EMBED))  # never shipped
        self.roles = Roles(EMBED)
        self.factors = Factors(EMBED)
        for module in clip.visual.modules():
            # Maps of small images have odd sides; their last row and column count too.
            if isinstance(module, nn.AvgPool2d):
                module.ceil_mode = True
        self.hint: nn.Linear | None = None  # never shipped either; see `Trainer`

    def encode_image(self, picture: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [0, 1] -> features [B, D], before normalisation."""
        x = ((picture - MEAN[0]) / STD[0]).contiguous(memory_format=torch.channels_last)
        v: Any = self.clip.visual
        if hasattr(v, "attnpool"):
            return self.image_norm(attention_pool(v.attnpool, stages(v, x)[-1]).float())
        return self.image_norm(v(x).float())

    def look(self, picture: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A ViT on some of its patches: features [B, D], what `hint` reads from the patches two thirds up, and what the
        last attention's value path says of each patch by itself (MaskCLIP's reading, `core.clip.towers`).

        image [B, 3, H, W] in [0, 1], kept [K] indices of patches -> hints [B, K, C], patch features [B, K, D]."""
        assert self.hint is not None
        x = (picture - MEAN[0]) / STD[0]
        v: Any = self.clip.visual
        patches = v.conv1(x).flatten(2).transpose(1, 2)  # [B, h * w, W]
        first, places = v.positional_embedding.split([1, patches.shape[1]])
        cls = (v.class_embedding + first[0]).to(patches.dtype).expand(len(x), 1, -1)
        tokens = v.ln_pre(torch.cat([cls, (patches + places)[:, kept]], 1))
        blocks = v.transformer.resblocks
        for block in blocks[: 2 * len(blocks) // 3]:
            tokens = block(tokens)
        hints = self.hint(tokens[:, 1:])
        for block in blocks[2 * len(blocks) // 3 : -1]:
            tokens = block(tokens)
        features = self.image_norm((v.ln_post(blocks[-1](tokens)[:, 0]) @ v.proj).float())
        patch_features = (v.ln_post(value_path(blocks[-1], tokens[:, 1:])) @ v.proj).float()
        norm = self.image_norm
        assert norm.running_mean is not None and norm.running_var is not None
        alike = (patch_features - norm.running_mean) * (norm.running_var + norm.eps).rsqrt()
        return features, hints.float(), alike

    def classify(self, features: Tensor, cosine: bool) -> Tensor:
        """Logits [N, C] of features [N, D] against the anchors: plain products at first (they learn faster),
        cosines once captions are learned the same way."""
        if not cosine:
            return features @ self.anchors.T
        return ANCHOR_SCALE * F.normalize(features, dim=-1) @ F.normalize(self.anchors, dim=-1).T

    def encode_text(self, ids: Tensor) -> Tensor:
        """Ids [N, L] -> features [N, D] after the norm. Texts of about one length run together, cut to the longest."""
        lengths = ids.gt(0).sum(1)
        out = torch.empty(len(ids), EMBED, device=ids.device)
        for low, high in pairwise((0, *LENGTHS, ids.shape[1])):
            rows = ((lengths > low) & (lengths <= high)).nonzero()[:, 0]
            if len(rows):
                out = out.index_copy(0, rows, self._text(ids[rows, : int(lengths[rows].max())]).float())
        return self.text_norm(out)

    def _text(self, ids: Tensor) -> Tensor:
        c, length = self.clip, ids.shape[1]
        x = c.token_embedding(ids) + c.positional_embedding[:length]
        x = c.ln_final(c.transformer(x, attn_mask=c.attn_mask[:length, :length]))
        return c.text_projection(text_global_pool(x, ids, c.text_pool_type))

    @property
    def scale(self) -> Tensor:
        return self.clip.logit_scale.exp()


def stages(v: Any, x: Tensor) -> list[Tensor]:
    """The maps after the four stages of a ModifiedResNet, each [B, C, h, w]."""
    x = v.stem(x)
    maps = []
    for layer in (v.layer1, v.layer2, v.layer3, v.layer4):
        x = layer(x)
        maps.append(x)
    return maps


def attention_pool(pool: Any, x: Tensor) -> Tensor:
    """open_clip's AttentionPool2d on a map [B, C, h, w] of any size, for the one query that is used."""
    b, c, h, w = x.shape
    side = math.isqrt(len(pool.positional_embedding) - 1)
    first, grid = pool.positional_embedding.split([1, side * side])
    if (h, w) != (side, side):  # smaller images while training: the places are averaged
        grid = grid.T.reshape(1, c, side, side)
        grid = F.interpolate(grid, (h, w), mode="bilinear", antialias=True).flatten(2)[0].T
    tokens = x.flatten(2).transpose(1, 2)  # [B, hw, C]
    tokens = torch.cat([tokens.mean(1, keepdim=True) + first, tokens + grid], 1)

    def heads(y: Tensor) -> Tensor:
        return y.reshape(b, -1, pool.num_heads, c // pool.num_heads).transpose(1, 2)

    query, key, value = (
        heads(pool.q_proj(tokens[:, :1])),
        heads(pool.k_proj(tokens)),
        heads(pool.v_proj(tokens)),
    )
    mixed = F.scaled_dot_product_attention(query, key, value)  # [B, heads, 1, C / heads]
    return pool.c_proj(mixed.transpose(1, 2).reshape(b, c))


class Teacher:
    """An exported miniature, locked: its image features, and its text features without gradients."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
        self.clip = CLIP(**config["model_cfg"])
        state = load_file(folder / "model.safetensors")
        self.clip.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
        self.clip.to(device).eval().requires_grad_(False)
        self.clip.visual.to(memory_format=torch.channels_last)

    @torch.no_grad()
    def image(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures [B, 3, H, W] in [0, 1] -> normalised features [B, D], and on the places of the second stage hints
        [B, h * w, C], the second and third stage with every channel at mean 0 and variance 1, and the value path of the
        pooling [B, h * w, D], norm 1."""
        v: Any = self.clip.visual
        maps = stages(v, ((picture - MEAN[0]) / STD[0]).contiguous(memory_format=torch.channels_last))
        features = F.normalize(v.attnpool(maps[-1]).float(), dim=-1)
        fine = maps[1].float()

        def spread(x: Tensor) -> Tensor:
            return F.interpolate(x.float(), fine.shape[-2:], mode="bilinear").flatten(2).transpose(1, 2)

        values = v.attnpool.c_proj(v.attnpool.v_proj(maps[-1].permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        hints = torch.cat([fine.flatten(2).transpose(1, 2), spread(maps[2])], -1)  # [B, h * w, C]
        flat = hints.flatten(0, 1)
        hints = (hints - flat.mean(0)) / (flat.std(0) + 1e-3)
        return features, hints, F.normalize(spread(values), dim=-1)

    @property
    def channels(self) -> int:
        """How many channels a hint has."""
        v: Any = self.clip.visual
        return sum(layer[-1].conv3.out_channels for layer in (v.layer2, v.layer3))

    @torch.no_grad()
    def text(self, ids: Tensor) -> Tensor:
        """Ids [N, L] -> normalised features [N, D]."""
        return F.normalize(self.clip.encode_text(ids).float(), dim=-1)
