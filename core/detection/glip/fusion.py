"""Deep fusion: word and region features read each other in every block of the head (GLIP section 3.2, equations 4 to 6).

    scores = (O W_q) (P W_k)^T / sqrt(d)        one matrix for both directions
    O <- O + softmax over words (scores) (P W_vP) W_oO
    P <- P + softmax over regions (scores^T) (O W_vO) W_oP

and then the words read each other in one more layer of BERT. In the released code the residual adds to the normalised
features, not to those that came in, and numbers beyond 50,000 are clamped, which matters in half precision alone; the scores
of regions with words are not kept here but computed twice, fused with their softmax, which is faster and as exact.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LIMIT = 50_000.0


class CrossAttention(nn.Module):
    """Attention both ways: a pair of region and word has the same score in both."""

    def __init__(self, regions: int, words: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.v_proj = nn.Linear(regions, width)
        self.l_proj = nn.Linear(words, width)
        self.values_v_proj = nn.Linear(regions, width)
        self.values_l_proj = nn.Linear(words, width)
        self.out_v_proj = nn.Linear(width, regions)
        self.out_l_proj = nn.Linear(width, words)
        for layer in self.children():
            nn.init.xavier_uniform_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def _heads(self, x: Tensor) -> Tensor:
        """[B, n, width] -> [B, heads, n, width / heads]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, regions: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Regions [B, R, C], words [B, L, D], mask [B, L] true at words -> what is added to each."""
        query, key = self._heads(self.v_proj(regions)), self._heads(self.l_proj(words))
        to_regions = F.scaled_dot_product_attention(
            query, key, self._heads(self.values_l_proj(words)), attn_mask=mask[:, None, None]
        )  # [B, heads, R, width / heads]
        to_words = F.scaled_dot_product_attention(key, query, self._heads(self.values_v_proj(regions)))
        return (
            self.out_v_proj(to_regions.transpose(1, 2).flatten(2)),
            self.out_l_proj(to_words.transpose(1, 2).flatten(2)),
        )


class BiAttention(nn.Module):
    """Norms, the attention, and a learned share of what it says."""

    def __init__(self, regions: int, words: int, width: int, heads: int, share: float) -> None:
        super().__init__()
        self.layer_norm_v = nn.LayerNorm(regions)
        self.layer_norm_l = nn.LayerNorm(words)
        self.attn = CrossAttention(regions, words, width, heads)
        self.gamma_v = nn.Parameter(torch.full((regions,), share))
        self.gamma_l = nn.Parameter(torch.full((words,), share))

    def forward(self, regions: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        regions, words = self.layer_norm_v(regions), self.layer_norm_l(words)
        to_regions, to_words = self.attn(regions, words, mask)
        return regions + self.gamma_v * to_regions, words + self.gamma_l * to_words


class VLFuse(nn.Module):
    """All levels of the pyramid as one sequence of regions, fused with the words."""

    def __init__(self, regions: int, words: int, width: int, heads: int, share: float) -> None:
        super().__init__()
        self.b_attn = BiAttention(regions, words, width, heads, share)

    def forward(self, maps: list[Tensor], words: Tensor, mask: Tensor) -> tuple[list[Tensor], Tensor]:
        """Levels [B, C, h, w], words [B, L, D], mask [B, L] -> the same, fused."""
        regions = torch.cat([level.flatten(2).mT for level in maps], dim=1)  # [B, R, C]
        regions, words = self.b_attn(regions, words, mask)
        parts = regions.split([level.shape[-2] * level.shape[-1] for level in maps], dim=1)
        fused = [part.mT.unflatten(2, level.shape[-2:]) for part, level in zip(parts, maps, strict=True)]
        return fused, words


class _SelfAttention(nn.Module):
    """Queries, keys and values under BERT's names."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        scores = (q @ k.mT / q.shape[-1] ** 0.5).clamp(-LIMIT, LIMIT)  # [B, heads, L, L]
        scores = scores.masked_fill(~mask[:, None, None], torch.finfo(scores.dtype).min)
        return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


class _Output(nn.Module):
    """A linear layer, and the norm behind the shortcut."""

    def __init__(self, inner: int, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(x) + shortcut)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self = _SelfAttention(width, heads)
        self.output = _Output(width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.output(self.self(x, mask), x)


class _Intermediate(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, inner)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.dense(x).clamp(-LIMIT, LIMIT))


class BertLayer(nn.Module):
    """One layer of BERT on the words, post-norm, under BERT's names."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.attention = _Attention(width, heads)
        self.intermediate = _Intermediate(width, inner)
        self.output = _Output(inner, width)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """Words [B, L, D], mask [B, L] true at words -> [B, L, D]."""
        x = self.attention(words, mask).clamp(-LIMIT, LIMIT)
        return self.output(self.intermediate(x), x).clamp(-LIMIT, LIMIT)
