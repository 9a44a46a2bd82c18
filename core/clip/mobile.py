"""MobileCLIP 2: a small dual encoder with a convolutional image tower (Faghri et al. 2025, https://arxiv.org/abs/2508.20691).

The image tower is FastViT (Vasu et al. 2023, https://arxiv.org/abs/2303.14189): three stages of convolutions that mix
neighbours, one stage of attention over a grid of 8 x 8 places, and a mean over the places in place of a token for the whole
image. So the image feature is the mean of what each place says in the joint space. The text tower reads in both directions and
all 77 places, padding too. open_clip builds both, timm the image tower.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.checkpoints import Checkpoint
from core.clip.encoders import (
    DualEncoder,
    OpenClipPreprocess,
    in_precision,
    open_clip_settings,
    open_clip_state,
    open_clip_tokenizer,
    put_state,
)
from core.clip.tokenizers import Tokenizer
from core.clip.towers import Seen, VisionOutput, attention_weights, padded


class FastViT:
    """timm's FastViT with its projection."""

    stage_names = ("stem", "stage1", "stage2", "stage3", "stage4")

    def __init__(self, trunk: nn.Module) -> None:
        self.trunk: Any = trunk

    @property
    def blocks(self) -> Sequence[Any]:
        """The blocks of the last stage, which attend."""
        return self.trunk.stages[-1].blocks

    def maps(self, pixels: Tensor) -> list[Tensor]:
        """[B, C, h, w] of the stem and of every stage."""
        maps = [self.trunk.stem(pixels)]
        for stage in self.trunk.stages:
            maps.append(stage(maps[-1]))
        return maps

    def places(self, last: Tensor) -> Tensor:
        """The last stage's map [B, C, h, w] -> what each place says in the joint space, [B, h, w, D]."""
        return self.trunk.head.fc(self.trunk.final_conv(last).permute(0, 2, 3, 1))

    def __call__(self, pixels: Tensor) -> VisionOutput:
        patch_features = self.places(self.maps(pixels)[-1])
        return VisionOutput(patch_features.mean((1, 2)), patch_features)

    def attention(self, pixels: Tensor) -> Tensor:
        """The last stage's attention; there is no token for the whole image: row 0 is the mean of all places."""
        made = [weights for _, weights in self.walked(self.maps(pixels)[-2])]
        read = torch.stack(made, dim=1)  # [B, layers, heads, T, T]
        whole = torch.cat([read.mean(-2, keepdim=True), read], dim=-2)
        return torch.nn.functional.pad(whole, (1, 0))

    def walked(self, entering: Tensor) -> list[tuple[Tensor, Tensor]]:
        """What leaves each block of the last stage [B, C, h, w], and its attention [B, heads, T, T]."""
        stage = self.trunk.stages[-1]
        x = stage.pos_emb(stage.downsample(entering))
        made = []
        for block in stage.blocks:
            mixer = block.token_mixer
            tokens = block.norm(x).flatten(2).transpose(1, 2)  # [B, T, C]
            queries, keys, values = mixer.qkv(tokens).chunk(3, dim=-1)
            weights = attention_weights(queries, keys, mixer.num_heads)
            mixed = weights @ values.unflatten(-1, (mixer.num_heads, -1)).transpose(1, 2)
            mixed = mixer.proj(mixed.transpose(1, 2).flatten(2)).transpose(1, 2).unflatten(2, x.shape[2:])
            x = x + block.layer_scale_1(mixed)
            x = x + block.layer_scale_2(block.mlp(x))
            made.append((x, weights))
        return made

    def stages(self, pixels: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.stage_names, self.maps(pixels), strict=True))

    def see(self, pixels: Tensor) -> Seen:
        maps = self.stages(pixels)
        return Seen(self.places(maps[self.stage_names[-1]]).mean((1, 2)), maps)


class WholeText:
    """open_clip's text tower without a causal mask: every place is read, padding too."""

    def __init__(self, text: nn.Module, tokenize: Tokenizer) -> None:
        self.text: Any = text
        self.tokenize = tokenize

    def __call__(self, ids: Sequence[Sequence[int]], device: str) -> Tensor:
        return self.text(padded(ids, self.text.context_length).to(device))


def load_mobile_clip(
    paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype
) -> DualEncoder:
    """A MobileCLIP 2 with FastViT as open_clip's and timm's classes."""
    import open_clip

    config, preprocess = open_clip_settings(paths, row)
    config = {name: value for name, value in config.items() if name != "custom_text"}
    with torch.device("meta"):
        model = open_clip.CustomTextCLIP(**config)
    put_state(model, in_precision(open_clip_state(paths, row), dtype), row)
    return DualEncoder(
        row,
        model,
        vision=FastViT(model.visual.trunk),
        text=WholeText(model.text, open_clip_tokenizer(paths, row, model.context_length)),
        preprocess=OpenClipPreprocess(
            config["vision_cfg"]["image_size"],
            preprocess["mean"],
            preprocess["std"],
            preprocess["interpolation"],
            preprocess["resize_mode"],
        ),
        device=device,
        dtype=dtype,
    )
