"""ActionCLIP's post-network prompts: the features of T frames become one (Wang et al. 2021, https://arxiv.org/abs/2109.08472,
section 3.3, figure 3 e).

    meanP        their mean
    Conv_1D      a convolution over three neighbours, beside a shortcut; then the mean
    LSTM         an LSTM, beside a shortcut; then the mean
    Transf       positions and a transformer, beside a shortcut; then the mean (the released models)
    Transf_cls   a class token in a transformer of torch's own kind; what it says

Names of tensors are those of the published code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from core.video.layers import EPSILON, FrameTransformer

Post = Literal["meanP", "Conv_1D", "LSTM", "Transf", "Transf_cls"]
POSTS: tuple[Post, ...] = get_args(Post)


@dataclass(frozen=True)
class PostSettings:
    """One post-network prompt; the numbers are those of the released models.

    frames: T, which the class token's positions need. width: D. positions: rows of the table of `Transf`. epsilon: of its norms.
    """

    post: Post = "Transf"
    frames: int = 8
    width: int = 512
    layers: int = 6
    heads: int = 8
    positions: int = 77
    epsilon: float = EPSILON
    dropout: float = 0.1  # of torch's layers, while they train


class ClassToken(nn.Module):
    """A class token beside the frames in torch's own encoder: post-norm, ReLU, a last norm; no shortcut around it."""

    def __init__(self, settings: PostSettings) -> None:
        super().__init__()
        s = settings
        layer = nn.TransformerEncoderLayer(s.width, s.heads, 2048, s.dropout, batch_first=True)
        self.transformer_enc = nn.TransformerEncoder(
            layer, s.layers, nn.LayerNorm(s.width), enable_nested_tensor=False
        )
        self.cls_token = nn.Parameter(torch.zeros(1, 1, s.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, s.frames + 1, s.width))
        for table in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(table, std=0.02)

    def forward(self, frames: Tensor) -> Tensor:
        """[B, T, D] -> [B, D]."""
        tokens = torch.cat([self.cls_token.expand(len(frames), -1, -1), frames], dim=1) + self.pos_embed
        return self.transformer_enc(tokens)[:, 0]


def quarter_shift(width: int) -> Tensor:
    """The kernel that `Conv_1D` starts as, [D, 1, 3]: a quarter of the channels takes the previous place, half of them their
    own, a quarter the next one."""
    kernel = torch.zeros(width, 1, 3)
    quarter = width // 4
    kernel[:quarter, 0, 0] = 1
    kernel[quarter : quarter + width // 2, 0, 1] = 1
    kernel[-quarter:, 0, 2] = 1
    return kernel


class PostPrompt(nn.Module):
    """The frames of a clip as one feature, not normalised: `forward` takes [B, T, D], gives [B, D]."""

    def __init__(self, settings: PostSettings) -> None:
        super().__init__()
        s = self.settings = settings
        if s.post != "meanP":
            # The published code has it for all of them and reads it in `Transf` alone.
            self.frame_position_embeddings: Any = nn.Embedding(s.positions, s.width)
        if s.post == "Transf":
            self.transformer: Any = FrameTransformer(s.width, s.layers, s.heads, s.epsilon)
        if s.post == "LSTM":
            self.lstm_visual: Any = nn.LSTM(s.width, s.width, batch_first=True)
        self.apply(_start)
        if s.post == "Transf_cls":
            self.transformer = ClassToken(s)
        if s.post == "Conv_1D":
            self.shift: Any = nn.Conv1d(s.width, s.width, 3, padding=1, groups=s.width, bias=False)
            self.shift.weight = nn.Parameter(quarter_shift(s.width))

    def sequence(self, frames: Tensor) -> Tensor:
        """What is averaged, [B, T, D]; of `Transf_cls` the frames as they came."""
        match self.settings.post:
            case "Transf":
                return frames + self.attended(frames)
            case "LSTM":
                return frames + self.lstm_visual(frames)[0]
            case "Conv_1D":
                return frames + self.convolved(frames)
            case _:
                return frames

    def attended(self, frames: Tensor) -> Tensor:
        """The frames with their positions, through the transformer: [B, T, D]."""
        return self.transformer(frames + self.frame_position_embeddings.weight[: frames.shape[1]])

    def convolved(self, frames: Tensor) -> Tensor:
        """The convolution as it was published, [B, T, D]: the numbers of [T, D] are read as [D, T], not transposed, so its
        neighbours are channels of one frame. The released numbers of the paper come from this code."""
        count, frames_, width = frames.shape
        return self.shift(frames.reshape(count, width, frames_)).transpose(1, 2)

    def forward(self, frames: Tensor) -> Tensor:
        if self.settings.post == "Transf_cls":
            return self.transformer(frames)
        return self.sequence(frames).mean(1)


def _start(module: nn.Module) -> None:
    """The published start: normal weights of deviation 0.02."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
