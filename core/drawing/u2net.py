"""U2-Net (Qin et al. 2020, https://arxiv.org/abs/2005.09007): what in an image is the subject.

A U-shaped network whose every stage is a small U-shaped network (the paper's RSU blocks, section 3.1), with
six side outputs that are fused (section 3.2). Module names are those of the published weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core import checkpoints
from core.checkpoints import Checkpoint
from core.clip.encoders import OPENAI_MEAN, OPENAI_STD, put_state

ROW = "u2net"
SIDE = 320
# Kind of block, its height (0: dilated instead of pooled), channels in, inside and out.
ENCODER = (
    (7, 3, 32, 64), (6, 64, 32, 128), (5, 128, 64, 256), (4, 256, 128, 512), (0, 512, 256, 512), (0, 512, 256, 512),
)  # fmt: skip
DECODER = ((7, 128, 16, 64), (6, 256, 32, 64), (5, 512, 64, 128), (4, 1024, 128, 256), (0, 1024, 256, 512))


class _Convolution(nn.Module):
    """Convolution, normalisation, ReLU."""

    def __init__(self, inside: int, out: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv_s1 = nn.Conv2d(inside, out, 3, padding=dilation, dilation=dilation)
        self.bn_s1 = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn_s1(self.conv_s1(x)))


def _enlarge(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)


class _Block(nn.Module):
    """RSU of some height: down by pooling, through a dilated bottom, and up again, plus its input.

    Height 0 is RSU-4F, for small maps: four layers of growing dilation and no pooling.
    """

    def __init__(self, height: int, inside: int, middle: int, out: int) -> None:
        super().__init__()
        self.height, self.pools = height or 4, height > 0
        dilations = [1] * (height - 1) + [2] if height else [1, 2, 4, 8]
        self.rebnconvin = _Convolution(inside, out)
        for i, dilation in enumerate(dilations, start=1):
            setattr(self, f"rebnconv{i}", _Convolution(out if i == 1 else middle, middle, dilation))
        for i in range(self.height - 1, 0, -1):
            dilation = 1 if height else dilations[i - 1]
            setattr(self, f"rebnconv{i}d", _Convolution(2 * middle, out if i == 1 else middle, dilation))

    def forward(self, x: Tensor) -> Tensor:
        entry = x = self.rebnconvin(x)
        passed = []
        for i in range(1, self.height + 1):
            # The bottom layer and the one above it see the same size.
            if self.pools and 1 < i < self.height:
                x = F.max_pool2d(x, 2, ceil_mode=True)
            x = getattr(self, f"rebnconv{i}")(x)
            passed.append(x)
        x = passed.pop()
        for i in range(self.height - 1, 0, -1):
            beside = passed.pop()
            x = getattr(self, f"rebnconv{i}d")(torch.cat([_enlarge(x, beside), beside], dim=1))
        return x + entry


class U2Net(nn.Module):
    """Pictures [B, 3, H, W], normalised, to the probability of the subject [B, 1, H, W]."""

    def __init__(self) -> None:
        super().__init__()
        for i, block in enumerate(ENCODER, start=1):
            setattr(self, f"stage{i}", _Block(*block))
        for i, block in enumerate(DECODER, start=1):
            setattr(self, f"stage{i}d", _Block(*block))
        for i, channels in enumerate([*(block[3] for block in DECODER), ENCODER[-1][3]], start=1):
            setattr(self, f"side{i}", nn.Conv2d(channels, 1, 3, padding=1))
        self.outconv = nn.Conv2d(len(ENCODER), 1, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        x, passed = pixels, []
        for i in range(1, len(ENCODER) + 1):
            x = getattr(self, f"stage{i}")(F.max_pool2d(x, 2, ceil_mode=True) if i > 1 else x)
            passed.append(x)
        up = [passed.pop()]
        for i in range(len(DECODER), 0, -1):
            beside = passed.pop()
            up.append(getattr(self, f"stage{i}d")(torch.cat([_enlarge(up[-1], beside), beside], dim=1)))
        sides = [_enlarge(getattr(self, f"side{i}")(x), pixels) for i, x in enumerate(reversed(up), start=1)]
        return self.outconv(torch.cat(sides, dim=1)).sigmoid()

    @torch.inference_mode()
    def subject(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in 0..1 to their subjects [B, H, W], stretched to 0..1."""
        small = F.interpolate(pictures, (SIDE, SIDE), mode="bilinear", antialias=True)
        small = small / small.amax((1, 2, 3), keepdim=True).clamp_min(1e-6)
        mean, std = (pictures.new_tensor(v).view(3, 1, 1) for v in (OPENAI_MEAN, OPENAI_STD))
        found = self((small - mean) / std)
        low, high = found.amin((1, 2, 3), keepdim=True), found.amax((1, 2, 3), keepdim=True)
        return _enlarge((found - low) / (high - low).clamp_min(1e-6), pictures)[:, 0]


def load_u2net(paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype) -> U2Net:
    """The published weights, from their local file.

    Raises:
        Refusal: "bad_checkpoint", "corrupt_weights", "unsafe_weights".
    """
    (path,) = paths.values()
    with torch.device("meta"):
        model = U2Net()
    put_state(model, checkpoints.load_state_dict(path), row)
    return model.to(device, dtype).eval().requires_grad_(False)
