"""ESResNeXt: a ResNeXt over the three bands of a spectrogram, with attention over frequency and time (Guzhov et al. 2021).

Names and shapes are those of the published files, and torchvision's for what a ResNeXt has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.audio.fbsp import BANDS, FrontEnd, FrontEndSettings

EXPANSION = 4
# Odd stages look along the frequency, even ones along the time, the last one at both.
KERNELS = ((3, 1), (1, 5), (3, 1), (1, 5), (3, 5))


@dataclass(frozen=True)
class EncoderSettings:
    """An audio encoder; the defaults are the published one's (ResNeXt-50 32x4d).

    blocks, planes: of the stages. stem: channels of the first convolution. groups, group_width: of the middle convolutions.
    attention: the five attention blocks. outputs: D.
    """

    front_end: FrontEndSettings = field(default_factory=FrontEndSettings)
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    planes: tuple[int, ...] = (64, 128, 256, 512)
    stem: int = 64
    groups: int = 32
    group_width: int = 4
    attention: bool = True
    outputs: int = 1024

    @classmethod
    def of(cls, options: dict[str, Any]) -> EncoderSettings:
        """From plain values, as a row of the registry or a training's note has them."""
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in options.items()}
        return cls(**{**values, "front_end": FrontEndSettings(**values.get("front_end", {}))})


@dataclass(frozen=True)
class Seen:
    """What the encoder computes on the way to its features; N is batch times channels."""

    decibels: Tensor  # [B, C, 3, F, T]
    stem: Tensor
    stages: tuple[Tensor, ...]  # each after its attention
    maps: tuple[Tensor, ...]  # of the attention blocks, 0 to 1; none without attention
    pooled: Tensor  # [N, 4 * planes]
    features: Tensor  # [B, D]


class Bottleneck(nn.Module):
    """1x1, grouped 3x3 and 1x1 convolutions beside a shortcut."""

    def __init__(self, inputs: int, planes: int, stride: int, groups: int, group_width: int) -> None:
        super().__init__()
        width, outputs = planes * group_width // 64 * groups, EXPANSION * planes
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, F, T] -> [N, 4 * planes, F', T']."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + shortcut)


class Attention(nn.Module):
    """Which places of a stage's output matter, seen from its input: weights in 0..1."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.conv_depth = nn.Conv2d(inputs, inputs, kernel, padding=padding, groups=inputs)
        self.conv_point = nn.Conv2d(inputs, outputs, 1)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """[N, C, F, T] -> [N, C', *size]."""
        x = F.adaptive_max_pool2d(x, tuple(size))
        return torch.sigmoid(self.bn(self.conv_point(self.conv_depth(x))))


class ESResNeXt(FrontEnd):
    """Sounds to features."""

    def __init__(self, settings: EncoderSettings) -> None:
        super().__init__(settings.front_end)
        s = self.encoder = settings
        self.conv1 = nn.Conv2d(BANDS, s.stem, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(s.stem)
        inputs = s.stem
        for stage, (count, planes) in enumerate(zip(s.blocks, s.planes, strict=True), 1):
            outputs = EXPANSION * planes
            blocks = [
                Bottleneck(inputs if i == 0 else outputs, planes, 2 if i == 0 < stage - 1 else 1, s.groups, s.group_width)
                for i in range(count)
            ]  # fmt: skip
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            if s.attention:
                self.add_module(f"att{stage}", Attention(inputs, outputs, KERNELS[stage - 1]))
            inputs = outputs
        if s.attention:
            self.add_module(f"att{len(s.blocks) + 1}", Attention(inputs, inputs, KERNELS[-1]))
        self.fc = nn.Linear(inputs, s.outputs)

    def see(self, decibels: Tensor) -> Seen:
        """Decibels [B, C, 3, F, T] of `FrontEnd` -> all that the network makes of them.

        Each channel goes through the network alone; what is pooled of them is added up before the last layer.
        """
        x = decibels.flatten(0, 1)  # [BC, 3, F, T]
        x = stem = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        stages, maps = [], []
        count = len(self.encoder.blocks)
        for stage in range(1, count + 1):
            entering, x = x, getattr(self, f"layer{stage}")(x)
            if self.encoder.attention:
                maps.append(getattr(self, f"att{stage}")(entering, x.shape[-2:]))
                x = x * maps[-1]
            stages.append(x)
        pooled = x.mean((2, 3), keepdim=True)
        if self.encoder.attention:
            maps.append(getattr(self, f"att{count + 1}")(x, (1, 1)))
            pooled = pooled * maps[-1]
        pooled = pooled.flatten(1)  # [BC, D']
        features = self.fc(pooled.unflatten(0, decibels.shape[:2]).sum(1))
        return Seen(decibels, stem, tuple(stages), tuple(maps), pooled, features)

    def forward(self, waveform: Tensor) -> Tensor:
        """Sounds [B, C, A] in the int16 range -> features [B, D], not normalised."""
        return self.see(super().forward(waveform)).features
