"""Parts that CLIP4Clip and ActionCLIP share: transformer blocks over frames under the names of CLIP's."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

EPSILON = 1e-12  # of the layer norms; CLIP's own towers have 1e-5
HIDDEN = -1e6  # what a hidden place adds to the logits of attention


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), the activation of OpenAI's CLIP."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class ResidualBlock(nn.Module):
    """Attention, then a perceptron, each behind a layer norm and beside a shortcut (CLIP, section 2.4)."""

    def __init__(self, width: int, heads: int, epsilon: float = EPSILON) -> None:
        super().__init__()
        self.heads = heads
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1 = nn.LayerNorm(width, eps=epsilon)
        self.mlp = nn.Sequential(
            OrderedDict(
                c_fc=nn.Linear(width, 4 * width), gelu=QuickGELU(), c_proj=nn.Linear(4 * width, width)
            )
        )
        self.ln_2 = nn.LayerNorm(width, eps=epsilon)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """[B, T, D] and what is added to the attention logits, [B * heads, T, T] -> [B, T, D]."""
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=bias)[0]
        return x + self.mlp(self.ln_2(x))


class FrameTransformer(nn.Module):
    """Blocks over frames: `resblocks.N.*`, as in CLIP's towers."""

    def __init__(self, width: int, layers: int, heads: int, epsilon: float = EPSILON) -> None:
        super().__init__()
        self.heads = heads
        self.resblocks = nn.ModuleList(ResidualBlock(width, heads, epsilon) for _ in range(layers))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Frames [B, T, D] -> [B, T, D]; `mask` [B, T] is 1 where there is a frame."""
        bias = None if mask is None else head_bias(mask, self.heads, x.dtype)
        for block in self.resblocks:
            x = block(x, bias)
        return x


def head_bias(mask: Tensor, heads: int, dtype: torch.dtype) -> Tensor:
    """Masks [B, T] as additions to the attention logits of every head, [B * heads, T, T]; the heads of a sample side by side."""
    bias = (1 - mask.to(dtype))[:, None] * HIDDEN  # [B, 1, T]
    return bias.expand(-1, mask.shape[1], -1).repeat_interleave(heads, 0)
