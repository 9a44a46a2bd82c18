"""CLIP's image transformer on the frames of clips: CLIP4Clip's 3-D patches, ActionCLIP's prompts before and inside the network.

Names of tensors are CLIP's (open_clip's `VisionTransformer` has them too). What is added:

    conv2.weight            3-D patches: a patch sees the frame before and the frame behind (CLIP4Clip, section 3.2)
    time_embedding          one vector for each frame, added to its patches (ActionCLIP, section 3.3, pre-network prompt)
    resblocks.N.net.*       a temporal shift stands in front of every block (ActionCLIP, in-network prompt)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from open_clip.transformer import QuickGELU, VisionTransformer
from torch import Tensor, nn

Patches = Literal["2d", "3d"]
Time = Literal["none", "position", "joint"]
SHIFT = 8  # one part in so many of the channels comes from the next frame, as many from the previous one


def shifted(x: Tensor, frames: int, parts: int = SHIFT) -> Tensor:
    """The temporal shift: [B * T, C, ...], the frames of a clip side by side -> the same shape.

    The first C // `parts` channels are those of the next frame, the following ones those of the previous frame; where there is
    no such frame they are zero.
    """
    clips = x.unflatten(0, (-1, frames))  # [B, T, C, ...]
    fold = x.shape[1] // parts
    out = torch.zeros_like(clips)
    out[:, :-1, :fold] = clips[:, 1:, :fold]
    out[:, 1:, fold : 2 * fold] = clips[:, :-1, fold : 2 * fold]
    out[:, :, 2 * fold :] = clips[:, :, 2 * fold :]
    return out.flatten(0, 1)


def pooled_in_time(x: Tensor, frames: int) -> Tensor:
    """Maximum over three neighbouring frames at every second one: [B * T, C, h, w] -> [B * T / 2, C, h, w]."""
    clips = x.unflatten(0, (-1, frames)).transpose(1, 2)  # [B, C, T, h, w]
    less = nn.functional.max_pool3d(clips, (3, 1, 1), (2, 1, 1), (1, 0, 0))
    return less.transpose(1, 2).flatten(0, 1)


class Shifted(nn.Module):
    """A block of the tower behind a temporal shift of its patch tokens; the class token stays."""

    def __init__(self, net: nn.Module, tower: VideoTower, parts: int) -> None:
        super().__init__()
        self.net = net
        self.parts = parts
        self._tower = (tower,)  # hidden from torch: the tower holds the block

    def get_weight_dtype(self) -> torch.dtype:
        """As open_clip asks a block."""
        net: Any = self.net
        return net.get_weight_dtype()

    def shift(self, tokens: Tensor) -> Tensor:
        """[B * T, 1 + h*w, C] -> the same with shifted patches."""
        patches = shifted(tokens[:, 1:].transpose(1, 2), self._tower[0].frames, self.parts)
        return torch.cat([tokens[:, :1], patches.transpose(1, 2)], dim=1)

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        return self.net(self.shift(x) if self._tower[0].is_shifting else x, attn_mask=attn_mask)


class VideoTower(VisionTransformer):
    """CLIP's ViT that knows which frames are one clip.

    Attributes:
        frames: T of the clips that it is given; set it before a pass where patches, shift or time look at it.
        is_timed, is_shifting: whether the time embedding and the temporal shift are in use, where the tower has them.
    """

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        width: int,
        layers: int,
        heads: int,
        output_dim: int,
        *,
        frames: int = 8,
        patches: Patches = "2d",
        time: Time = "none",
        shift: int = 0,
        shifted_blocks: int | None = None,
        quick: bool = True,
    ) -> None:
        """
        Args:
            image_size, patch_size: pixels.
            width, layers, heads, output_dim: of the tower.
            frames: T; the length of the time embedding.
            patches: "3d" adds `conv2`, which then reads the patches.
            time: "position" adds the time embedding to each frame's patches; "joint" also lets the patches of all frames look
                at each other, with one class token a clip.
            shift: parts of the temporal shift (`SHIFT` in the published code); 0 for none.
            shifted_blocks: how many blocks, counted from the last one, have a shift in front; all of them as published when None.
            quick: whether the activation is QuickGELU, as in OpenAI's weights, or GELU.
        """
        super().__init__(
            image_size, patch_size, width, layers, heads, 4.0, output_dim=output_dim, act_layer=QuickGELU if quick else nn.GELU
        )  # fmt: skip
        self.frames = frames
        self.patches, self.time, self.shift = patches, time, shift
        self.is_timed, self.is_shifting = time != "none", bool(shift)
        if patches == "3d":
            self.conv2 = nn.Conv3d(
                3, width, (3, patch_size, patch_size), (1, patch_size, patch_size), (1, 0, 0), bias=False
            )
        if time != "none":
            self.time_embedding = nn.Parameter(width**-0.5 * torch.randn(frames, width))
        if shift:
            first = layers - (layers if shifted_blocks is None else shifted_blocks)
            self.transformer.resblocks = nn.ModuleList(
                Shifted(block, self, shift) if at >= first else block
                for at, block in enumerate(self.transformer.resblocks)
            )

    def _grid(self, x: Tensor) -> Tensor:
        """Frames [B * T, 3, H, W] -> patches [B * T, h*w, W]."""
        if self.patches == "2d":
            return self.conv1(x).flatten(2).transpose(1, 2)
        clips = x.unflatten(0, (-1, self.frames)).transpose(1, 2)  # [B, 3, T, H, W]
        return self.conv2(clips).transpose(1, 2).flatten(0, 1).flatten(2).transpose(1, 2)

    def _embeds(self, x: Tensor) -> Tensor:
        patches = self._grid(x)
        count = len(patches)
        tokens = torch.cat([self.class_embedding.to(patches.dtype).expand(count, 1, -1), patches], dim=1)
        tokens = tokens + self.positional_embedding.to(patches.dtype)  # [B * T, 1 + h*w, W]
        if self.is_timed:
            clips = tokens.unflatten(0, (-1, self.frames))  # [B, T, 1 + h*w, W]
            timed = clips[:, :, 1:] + self.time_embedding.to(patches.dtype)[:, None]
            if self.time == "joint":
                tokens = torch.cat([clips[:, 0, :1], timed.flatten(1, 2)], dim=1)  # [B, 1 + T*h*w, W]
            else:
                tokens = torch.cat([clips[:, :, :1], timed], dim=2).flatten(0, 1)
        return self.ln_pre(tokens)

    def tokens(self, x: Tensor) -> Tensor:
        """What leaves the last block, [B * T, 1 + h*w, W]; of "joint" [B, 1 + T*h*w, W]."""
        return self.transformer(self._embeds(x))

    def pool(self, tokens: Tensor) -> Tensor:
        """The feature of the class token: tokens -> [B * T, D]; of "joint" [B, D]."""
        return self.ln_post(tokens)[:, 0] @ self.proj

    def clips(self, frames: Tensor, time: bool = True, shift: bool = True) -> Tensor:
        """Frames of clips [B, T, 3, H, W] -> their features [B, T, D]; of "joint" one for each clip, [B, 1, D].

        Args:
            frames: the clips.
            time, shift: False switches the time embedding or the temporal shift off for this pass.
        """
        self.frames = frames.shape[1]
        self.is_timed, self.is_shifting = time and self.time != "none", shift and bool(self.shift)
        return self.pool(self.tokens(frames.flatten(0, 1))).unflatten(0, (len(frames), -1))


def grown_patches(conv1: Tensor, depth: int = 3) -> Tensor:
    """CLIP4Clip's start of `conv2`: CLIP's own patch weights [W, 3, P, P] in the middle of [W, 3, depth, P, P], else zero."""
    conv2 = conv1.new_zeros(*conv1.shape[:2], depth, *conv1.shape[2:])
    conv2[:, :, (depth - 1) // 2] = conv1
    return conv2


def with_net(
    state: Mapping[str, Tensor], prefix: str = "visual.", blocks: int | None = None
) -> dict[str, Tensor]:
    """CLIP's tensors under the names of a tower with temporal shift: `resblocks.N.x` -> `resblocks.N.net.x`.

    `blocks`: how many, counted from the last one, have a shift in front; all of them when None.
    """
    head = f"{prefix}transformer.resblocks."
    numbers = [int(name.removeprefix(head).split(".", 1)[0]) for name in state if name.startswith(head)]
    first = 0 if blocks is None else max(numbers, default=-1) + 1 - blocks

    def named(name: str) -> str:
        if not name.startswith(head):
            return name
        number, rest = name.removeprefix(head).split(".", 1)
        return f"{head}{number}.net.{rest}" if int(number) >= first else name

    return {named(name): tensor for name, tensor in state.items()}
