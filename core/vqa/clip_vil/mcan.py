"""MCAN, the answering head behind CLIP-ViL's grid features (Yu et al. 2019, https://arxiv.org/abs/1906.10770).

    words  = LSTM(embeddings)                      -> encoder: self-attention over words,                   L layers
    places = linear(grid features)                 -> decoder: self-attention over places, then guided
                                                      attention in which each place reads the words,        L layers
    answer = sigmoid(linear(norm(flat(places) + flat(words))))

`flat` is the attentional reduction (AttFlat): a small network weighs the tokens, and the weighted sums are projected. Its
weights over the grid say where the head looks. Names of the tensors are those of MILVLG/mcan-vqa.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

EPSILON = 1e-6
MASKED = -1e9


@dataclass(frozen=True)
class MCANSettings:
    """Sizes of a head; the defaults are those of MCAN small.

    tokens, answers: sizes of the vocabularies. features: C of the grid. words: width of the word embeddings. ff: width inside the
    feed-forward networks. flat_mlp, glimpses, flat_out: of AttFlat. places: rows and columns that have learned embeddings, as in
    CLIP-ViL's pre-training code; 0 for none, as in MCAN.
    """

    tokens: int
    answers: int
    features: int = 2048
    words: int = 300
    hidden: int = 512
    heads: int = 8
    layers: int = 6
    ff: int = 2048
    flat_mlp: int = 512
    glimpses: int = 1
    flat_out: int = 1024
    dropout: float = 0.1
    places: int = 0


class Norm(nn.Module):
    """Layer normalisation over the unbiased deviation, to which epsilon is added outside of the root."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.a_2 = nn.Parameter(torch.ones(size))
        self.b_2 = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        """[..., size] -> the same."""
        mean, deviation = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
        return self.a_2 * (x - mean) / (deviation + EPSILON) + self.b_2


class FC(nn.Module):
    """A linear layer with ReLU and dropout."""

    def __init__(self, into: int, out: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(into, out)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[..., into] -> [..., out]."""
        return self.dropout(self.linear(x).relu())


class MLP(nn.Module):
    """Two linear layers."""

    def __init__(self, into: int, mid: int, out: int, dropout: float) -> None:
        super().__init__()
        self.fc = FC(into, mid, dropout)
        self.linear = nn.Linear(mid, out)

    def forward(self, x: Tensor) -> Tensor:
        """[..., into] -> [..., out]."""
        return self.linear(self.fc(x))


class Attention(nn.Module):
    """Multi-head attention; `weights` of the last call stay for whoever looks."""

    def __init__(self, s: MCANSettings) -> None:
        super().__init__()
        self.heads = s.heads
        self.linear_v, self.linear_k, self.linear_q, self.linear_merge = (
            nn.Linear(s.hidden, s.hidden) for _ in range(4)
        )
        self.dropout = nn.Dropout(s.dropout)

    def weigh(self, query: Tensor, key: Tensor, mask: Tensor) -> Tensor:
        """How far each query reads each key: [B, heads, Q, K]; mask [B, K] is True where a key is padding."""
        q, k = self._split(self.linear_q(query)), self._split(self.linear_k(key))
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        return scores.masked_fill(mask[:, None, None], MASKED).softmax(-1)

    def forward(self, query: Tensor, key: Tensor, mask: Tensor) -> Tensor:
        """[B, Q, D], [B, K, D] -> [B, Q, D]."""
        read = self.dropout(self.weigh(query, key, mask)) @ self._split(self.linear_v(key))
        return self.linear_merge(read.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FFN(nn.Module):
    """The feed-forward network of a layer."""

    def __init__(self, s: MCANSettings) -> None:
        super().__init__()
        self.mlp = MLP(s.hidden, s.ff, s.hidden, s.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> the same."""
        return self.mlp(x)


class SelfAttention(nn.Module):
    """A layer of the encoder: words read words (SA)."""

    def __init__(self, s: MCANSettings) -> None:
        super().__init__()
        self.mhatt, self.ffn = Attention(s), FFN(s)
        self.dropout1, self.dropout2 = nn.Dropout(s.dropout), nn.Dropout(s.dropout)
        self.norm1, self.norm2 = Norm(s.hidden), Norm(s.hidden)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """[B, L, D] -> the same."""
        words = self.norm1(words + self.dropout1(self.mhatt(words, words, mask)))
        return self.norm2(words + self.dropout2(self.ffn(words)))


class GuidedAttention(nn.Module):
    """A layer of the decoder: places read places, then the words (SGA)."""

    def __init__(self, s: MCANSettings) -> None:
        super().__init__()
        self.mhatt1, self.mhatt2, self.ffn = Attention(s), Attention(s), FFN(s)
        self.dropout1, self.dropout2, self.dropout3 = (nn.Dropout(s.dropout) for _ in range(3))
        self.norm1, self.norm2, self.norm3 = Norm(s.hidden), Norm(s.hidden), Norm(s.hidden)

    def among(self, places: Tensor, mask: Tensor) -> Tensor:
        """The first half: places have read places."""
        return self.norm1(places + self.dropout1(self.mhatt1(places, places, mask)))

    def forward(self, places: Tensor, words: Tensor, mask: Tensor, word_mask: Tensor) -> Tensor:
        """[B, P, D], [B, L, D] -> [B, P, D]."""
        places = self.among(places, mask)
        places = self.norm2(places + self.dropout2(self.mhatt2(places, words, word_mask)))
        return self.norm3(places + self.dropout3(self.ffn(places)))


class MCA(nn.Module):
    """Encoder and decoder: every layer of the decoder reads what the last layer of the encoder says."""

    def __init__(self, s: MCANSettings) -> None:
        super().__init__()
        self.enc_list = nn.ModuleList([SelfAttention(s) for _ in range(s.layers)])
        self.dec_list = nn.ModuleList([GuidedAttention(s) for _ in range(s.layers)])

    def encode(self, words: Tensor, mask: Tensor) -> list[Tensor]:
        """Words after each layer."""
        after = []
        for layer in self.enc_list:
            words = layer(words, mask)
            after.append(words)
        return after

    def decode(self, places: Tensor, words: Tensor, mask: Tensor, word_mask: Tensor) -> list[Tensor]:
        """Places after each layer."""
        after = []
        for layer in self.dec_list:
            places = layer(places, words, mask, word_mask)
            after.append(places)
        return after

    def forward(
        self, words: Tensor, places: Tensor, word_mask: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Words [B, L, D] and places [B, P, D] after the last layers."""
        words = self.encode(words, word_mask)[-1]
        return words, self.decode(places, words, mask, word_mask)[-1]


class AttFlat(nn.Module):
    """Attentional reduction: tokens to one vector."""

    def __init__(self, s: MCANSettings) -> None:
        super().__init__()
        self.mlp = MLP(s.hidden, s.flat_mlp, s.glimpses, s.dropout)
        self.linear_merge = nn.Linear(s.hidden * s.glimpses, s.flat_out)

    def weigh(self, x: Tensor, mask: Tensor) -> Tensor:
        """How far each glimpse reads each token: [B, N, G], sums to one over tokens."""
        return self.mlp(x).masked_fill(mask[..., None], MASKED).softmax(1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, N, D] -> [B, flat_out]."""
        return self.linear_merge((self.weigh(x, mask).transpose(1, 2) @ x).flatten(1))


@dataclass(frozen=True)
class Looked:
    """An answer with what the head looked at."""

    logits: Tensor  # [B, A]
    over_grid: Tensor  # [B, P], the mean over glimpses; sums to one
    over_words: Tensor  # [B, L]
    guided: Tensor  # [B, P, L] how far each place read each word in the last layer, the mean over heads


class MCAN(nn.Module):
    """A question and grid features -> one logit for each answer."""

    def __init__(self, s: MCANSettings) -> None:
        super().__init__()
        self.settings = s
        self.embedding = nn.Embedding(s.tokens, s.words)
        self.lstm = nn.LSTM(s.words, s.hidden, batch_first=True)
        self.img_feat_linear = nn.Linear(s.features, s.hidden)
        self.backbone = MCA(s)
        self.attflat_img, self.attflat_lang = AttFlat(s), AttFlat(s)
        self.proj_norm = Norm(s.flat_out)
        self.proj = nn.Linear(s.flat_out, s.answers)
        if s.places:
            self.rows, self.columns = (nn.Embedding(s.places, s.hidden) for _ in range(2))

    def ready(self, features: Tensor, ids: Tensor, grid: tuple[int, int] | None) -> tuple[Tensor, ...]:
        """Words, places, and where either is padding: a token 0, and a place whose features are all zero."""
        word_mask, mask = ids == 0, features.abs().sum(-1) == 0
        words = self.lstm(self.embedding(ids))[0]
        places = self.img_feat_linear(features)
        if self.settings.places:
            assert grid is not None, "learned rows and columns need the shape of the grid"
            rows, columns = (self._spread(size, places.device) for size in grid)
            places = places + (self.rows(rows)[:, None] + self.columns(columns)).flatten(0, 1)
        return words, places, word_mask, mask

    def _spread(self, size: int, device: torch.device) -> Tensor:
        """The embeddings of so many rows or columns: those that were learned, further apart where the grid has fewer or more."""
        known = self.settings.places
        return (torch.arange(size, device=device) * (known - 1) / max(size - 1, 1)).round().long()

    def forward(self, features: Tensor, ids: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """Logits [B, A] of features [B, P, C] and token ids [B, L]; the net as published ends with their sigmoid.

        Args:
            features: of places; a row of zeros is padding.
            ids: token 0 is padding.
            grid: rows and columns of the places, where these have embeddings.
        """
        words, places, word_mask, mask = self.ready(features, ids, grid)
        words, places = self.backbone(words, places, word_mask, mask)
        return self.answer(words, places, word_mask, mask)

    def answer(self, words: Tensor, places: Tensor, word_mask: Tensor, mask: Tensor) -> Tensor:
        """Both sides made one vector each; their sum decides."""
        fused = self.attflat_lang(words, word_mask) + self.attflat_img(places, mask)
        return self.proj(self.proj_norm(fused))

    def look(self, features: Tensor, ids: Tensor, grid: tuple[int, int] | None = None) -> Looked:
        """`forward` with the attention that it came from."""
        words, places, word_mask, mask = self.ready(features, ids, grid)
        words = self.backbone.encode(words, word_mask)[-1]
        after = self.backbone.decode(places, words, mask, word_mask)
        last = self.backbone.dec_list[-1]
        assert isinstance(last, GuidedAttention)
        entering = after[-2] if len(after) > 1 else places
        guided = last.mhatt2.weigh(last.among(entering, mask), words, word_mask).mean(1)
        return Looked(
            self.answer(words, after[-1], word_mask, mask),
            self.attflat_img.weigh(after[-1], mask).mean(-1),
            self.attflat_lang.weigh(words, word_mask).mean(-1),
            guided,
        )


def answer_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy, summed over answers and batch as published; targets [B, A] are soft scores in [0, 1]."""
    return nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
