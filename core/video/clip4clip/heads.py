"""The four similarity calculators of CLIP4Clip (Luo et al. 2021, https://arxiv.org/abs/2104.08860, section 3.3, figure 2).

    meanP           the mean of the frames: no parameters, no order
    seqLSTM         an LSTM over the frames, beside a shortcut; then the mean
    seqTransf       positions and a transformer over the frames, beside a shortcut; then the mean
    tightTransf     sentence and frames in one transformer, whose first place says how well they fit

The first three are loose: a clip becomes one vector before any sentence is known, so a million clips can be encoded in advance.
The tight one computes every pair. Names of tensors are those of the published code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from core.video.layers import EPSILON, FrameTransformer, QuickGELU

Header = Literal["meanP", "seqLSTM", "seqTransf", "tightTransf"]
HEADERS: tuple[Header, ...] = get_args(Header)
PAIRS = 4096  # pairs of sentence and clip that the tight head computes at once


@dataclass(frozen=True)
class HeadSettings:
    """One similarity calculator; the numbers are those of the published commands.

    width: D of CLIP's joint space. layers: `cross_num_hidden_layers`. positions: rows of the position tables, CLIP's context.
    dropout: of the tight head's input while it trains. loose: `loose_type`; None for what the header asks for. A model that is
    not loose has the tight head's layers. normalised_frames: whether each frame is normalised before the mean, as the authors do
    and MMAction2 does not.
    """

    header: Header = "meanP"
    width: int = 512
    layers: int = 4
    heads: int = 8
    positions: int = 77
    epsilon: float = EPSILON
    dropout: float = 0.1
    loose: bool | None = None
    normalised_frames: bool = True

    @property
    def is_loose(self) -> bool:
        """Whether clips are encoded without the sentence."""
        return self.header != "tightTransf" if self.loose is None else self.loose


class Pooler(nn.Module):
    """The first token, through a layer norm, a linear map and QuickGELU."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.ln_pool = nn.LayerNorm(width, eps=epsilon)
        self.dense = nn.Linear(width, width)
        self.activation = QuickGELU()

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, L, D] -> [B, D]."""
        return self.activation(self.dense(self.ln_pool(tokens[:, 0])))


class Positions(nn.Module):
    """Adds a learned vector to each place; no kinds of tokens, no norm."""

    def __init__(self, positions: int, width: int, dropout: float) -> None:
        super().__init__()
        self.position_embeddings = nn.Embedding(positions, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, L, D] -> [B, L, D]."""
        return self.dropout(tokens + self.position_embeddings.weight[: tokens.shape[1]])


class Cross(nn.Module):
    """One transformer over sentence and frames."""

    def __init__(self, settings: HeadSettings) -> None:
        super().__init__()
        s = settings
        self.embeddings = Positions(s.positions, s.width, s.dropout)
        self.transformer = FrameTransformer(s.width, s.layers, s.heads, s.epsilon)
        self.pooler = Pooler(s.width, s.epsilon)

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 1 + T, D] and [B, 1 + T] -> all tokens, and what the first one says [B, D]."""
        hidden = self.transformer(self.embeddings(tokens), mask)
        return hidden, self.pooler(hidden)


class Similarity(nn.Module):
    """A similarity calculator: features of frames and sentences -> logits."""

    def __init__(self, settings: HeadSettings) -> None:
        super().__init__()
        s = self.settings = settings
        if s.header == "tightTransf" and s.is_loose:
            raise ValueError("tightTransf is never loose")
        if not s.is_loose:
            self.cross: Any = Cross(s)
            self.similarity_dense: Any = nn.Linear(s.width, 1)
        if s.header in ("seqLSTM", "seqTransf"):
            self.frame_position_embeddings: Any = nn.Embedding(s.positions, s.width)
        if s.header == "seqTransf":
            self.transformerClip: Any = FrameTransformer(s.width, s.layers, s.heads, s.epsilon)
        if s.header == "seqLSTM":
            self.lstm_visual: Any = nn.LSTM(s.width, s.width, batch_first=True)
        self.apply(_start)

    # --- loose -----------------------------------------------------------------------------------------------

    def sequence(self, frames: Tensor, mask: Tensor) -> Tensor:
        """The frames after the sequential head, [B, T, D] -> [B, T, D]."""
        if self.settings.header == "seqLSTM":
            return frames + self.recurrent(frames, mask)
        if self.settings.header == "seqTransf":
            return frames + self.attended(frames, mask)
        return frames

    def recurrent(self, frames: Tensor, mask: Tensor) -> Tensor:
        """The states of the LSTM [B, T, D]; behind the longest clip of the batch the frames themselves."""
        lengths = mask.sum(-1).long().clamp(min=1).cpu()  # a clip without frames counts as one of zeros
        packed = pack_padded_sequence(frames, lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.lstm_visual(packed)[0], batch_first=True)
        return torch.cat([states, frames[:, states.shape[1] :]], dim=1)

    def attended(self, frames: Tensor, mask: Tensor) -> Tensor:
        """The frames with their positions, through the transformer: [B, T, D]."""
        placed = frames + self.frame_position_embeddings.weight[: frames.shape[1]]
        return self.transformerClip(placed, mask)

    def clips(self, frames: Tensor, mask: Tensor) -> Tensor:
        """One vector for each clip, norm 1: frames [B, T, D], of which `mask` [B, T] tells the real ones -> [B, D].

        The mean of the frames, normalised. A clip without any frame is the zero vector.
        """
        frames = self.sequence(frames, mask)
        if self.settings.normalised_frames:
            frames = F.normalize(frames, dim=-1)
        weights = mask.to(frames.dtype)[..., None]
        mean = (frames * weights).sum(1) / weights.sum(1).clamp(min=1)
        return F.normalize(mean, dim=-1)

    # --- tight -----------------------------------------------------------------------------------------------

    def crossed(self, texts: Tensor, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Every sentence [N, D] with every clip [B, T, D]: tokens [N * B, 1 + T, D], and the first one pooled [N * B, D]."""
        pairs = len(texts), len(frames)
        left = texts[:, None, None].expand(*pairs, 1, -1)
        right = frames[None].expand(*pairs, -1, -1)
        seen = torch.cat([mask.new_ones(len(mask), 1), mask], dim=1).expand(*pairs, -1)
        return self.cross(torch.cat([left, right], dim=2).flatten(0, 1), seen.flatten(0, 1))

    def pairs(self, texts: Tensor, frames: Tensor, mask: Tensor) -> Tensor:
        """Logits [N, B] of every pair; no logit scale. Sentences are taken in parts, so that memory stays bounded."""
        step = max(1, PAIRS // max(1, len(frames)))
        rows = [
            self.similarity_dense(self.crossed(part, frames, mask)[1])[:, 0].unflatten(0, (-1, len(frames)))
            for part in texts.split(step)
        ]
        return torch.cat(rows)

    def forward(
        self, texts: Tensor, frames: Tensor, mask: Tensor, logit_scale: Tensor | float = 1.0
    ) -> Tensor:
        """Logits of sentences and clips.

        Args:
            texts: [N, D], as CLIP's text tower leaves them.
            frames: [B, T, D], as its image tower leaves them.
            mask: [B, T], 1 where there is a frame.
            logit_scale: exp(t) of CLIP; the tight head has none.

        Returns:
            [N, B].
        """
        if not self.settings.is_loose:
            return self.pairs(texts, frames, mask)
        return logit_scale * F.normalize(texts, dim=-1) @ self.clips(frames, mask).T


def _start(module: nn.Module) -> None:
    """The published start of what no CLIP gives: normal weights of deviation 0.02."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def contrastive_loss(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy of [N, N] logits whose diagonal is right: sentences choose clips, clips choose sentences, their mean."""
    rows, columns = (-F.log_softmax(m, dim=-1).diagonal().mean() for m in (logits, logits.T))
    return rows, columns, (rows + columns) / 2


@torch.no_grad()
def start_from_clip(head: Similarity, clip: dict[str, Tensor]) -> None:
    """The published start: positions and the first layers of CLIP's *text* transformer, where the shapes agree.

    A miniature's text tower is narrower than its joint space; then the head begins from nothing, as `_start` has it.
    """
    own = head.state_dict()
    places = ("frame_position_embeddings.weight", "cross.embeddings.position_embeddings.weight")
    for name in places:
        if name in own and own[name].shape == clip["positional_embedding"].shape:
            own[name].copy_(clip["positional_embedding"])
    for name, tensor in own.items():
        source = name.removeprefix("cross.").replace("transformerClip.", "transformer.")
        if (
            source.startswith("transformer.resblocks.")
            and source in clip
            and clip[source].shape == tensor.shape
        ):
            tensor.copy_(clip[source])
