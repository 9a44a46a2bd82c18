"""Modulated deformable convolution for learning on a CPU (Zhu et al. 2019, https://arxiv.org/abs/1811.11168, equation 1).

The same sums as `torchvision.ops.deform_conv2d`, whose backward pass on a CPU takes ten times as long: what each of the nine
places sees is a weighted bag of its four neighbours, and then one product does the convolution.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TAPS = 9


def modulated_conv(
    x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None, stride: int
) -> Tensor:
    """A 3x3 convolution, padded by 1, of places that are moved and weighed.

    Args:
        x: [B, C, H, W]. offset: [B, 18, h, w], down and right of each of the nine places. mask: [B, 9, h, w].
        weight: [O, C, 3, 3]. bias: [O].

    Returns: [B, O, h, w] in float32.
    """
    batch, channels, height, width = x.shape
    h, w = offset.shape[-2:]
    step = torch.arange(-1, 2, device=x.device)
    moved = offset.float().unflatten(1, (TAPS, 2))  # [B, 9, 2, h, w]
    y = (
        moved[:, :, 0]
        + torch.arange(h, device=x.device)[:, None] * stride
        + step.repeat_interleave(3)[:, None, None]
    )
    z = moved[:, :, 1] + torch.arange(w, device=x.device) * stride + step.repeat(3)[:, None, None]
    top, left = y.detach().floor(), z.detach().floor()
    down, right = y - top, z - left
    rows = torch.stack([top, top, top + 1, top + 1], -1)  # [B, 9, h, w, 4]
    columns = torch.stack([left, left + 1, left, left + 1], -1)
    shares = torch.stack([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right], -1)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    shares = shares * mask.float()[..., None] * inside
    index = (rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)).long()
    index = index + (torch.arange(batch, device=x.device) * height * width)[:, None, None, None, None]
    seen = F.embedding_bag(
        index.permute(0, 2, 3, 1, 4).flatten(0, 3),
        x.permute(0, 2, 3, 1).flatten(0, 2).float(),
        per_sample_weights=shares.permute(0, 2, 3, 1, 4).flatten(0, 3),
        mode="sum",
    )  # [B * h * w * 9, C]
    kernel = weight.permute(2, 3, 1, 0).flatten(0, 2)  # [9 * C, O]
    made = seen.view(batch * h * w, TAPS * channels) @ kernel
    made = made if bias is None else made + bias
    return made.view(batch, h, w, -1).permute(0, 3, 1, 2)
