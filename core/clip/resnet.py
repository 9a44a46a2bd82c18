"""The image tower of a small CLIP as a frozen backbone of maps: what the miniatures of segmentation and detection share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

POOLING = ("positional_embedding", "v_proj.weight", "v_proj.bias", "c_proj.weight", "c_proj.bias")


class ClipResNetBackbone(nn.Module):
    """The image tower of a small CLIP without its attention pooling."""

    def __init__(self, layers: tuple[int, int, int, int], width: int) -> None:
        super().__init__()
        from open_clip.modified_resnet import ModifiedResNet

        self.channels = tuple(width * 4 * 2**i for i in range(4))
        self.model: Any = ModifiedResNet(layers, output_dim=1, heads=1, width=width)
        # Pooling mixes places away; what is left is what `stem` and the four layers use.
        self.model.attnpool = None

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """[B, 3, H, W], sides multiples of 32 -> maps at strides 4, 8, 16, 32."""
        x = self.model.stem(pixels)
        maps = []
        for layer in (self.model.layer1, self.model.layer2, self.model.layer3, self.model.layer4):
            x = layer(x)
            maps.append(x)
        return maps


def picture_tower(clip: Mapping[str, Tensor], prefix: str = "pretrained.model.") -> dict[str, Tensor]:
    """The tensors of an open_clip ResNet CLIP's image tower without its pooling, in float32, under a new prefix."""
    return {
        prefix + name.removeprefix("visual."): value.float() if value.is_floating_point() else value
        for name, value in clip.items()
        if name.startswith("visual.") and ".attnpool." not in name
    }


def value_path(clip: Mapping[str, Tensor], placed: bool) -> tuple[Tensor, Tensor]:
    """What the attention pooling of an open_clip ResNet CLIP makes of one place alone, c_proj(v_proj(x)): a linear map.

    Args:
        clip: its state dict.
        placed: whether x is given the mean of the position embeddings first.

    Returns:
        Weight [D, C] and bias [D], from the last stage to the joint space.
    """
    pool = {part: clip[f"visual.attnpool.{part}"].float() for part in POOLING}
    weight = pool["c_proj.weight"] @ pool["v_proj.weight"]
    bias = pool["c_proj.weight"] @ pool["v_proj.bias"] + pool["c_proj.bias"]
    if placed:
        bias = bias + weight @ pool["positional_embedding"][1:].mean(0)
    return weight, bias
