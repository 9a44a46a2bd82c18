"""InstructPix2Pix (Brooks et al. 2023, arXiv:2211.09800) in small: a UNet that changes a 32-pixel image as a text says.

The network is the library's `UNet2DConditionModel`. It differs from the published one in size and in three things. It works on
the pixels themselves, folded into 12 channels of half the side, where that one works on the latents of an autoencoder. It reads
the states of all words of a miniature CLIP's text tower by cross-attention, and beside them the text's feature, which is added
to the time. It predicts v (Salimans & Ho 2022), which still says something where the image is almost all noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core import runtime
from core.editing.settings import CLASSROOM

FOLD = 2  # pixels of a side that become channels
_OWN = CLASSROOM["instruct"]
STEPS, TEXT_GUIDANCE, IMAGE_GUIDANCE = _OWN["steps"], _OWN["text_guidance"], _OWN["image_guidance"]
ARCHITECTURE: dict[str, Any] = {
    "sample_size": 16,
    "in_channels": 24,
    "out_channels": 12,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [64, 80],
    "layers_per_block": 1,
    "norm_num_groups": 16,
    "attention_head_dim": 4,
    "cross_attention_dim": 128,
    "class_embed_type": "projection",
    "projection_class_embeddings_input_dim": 192,
}
SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "clip_sample": True,
    "set_alpha_to_one": True,
}


@dataclass(frozen=True)
class Condition:
    """What texts say: the states [B, L, W] of their words, which of them are words [B, L], the features [B, D] of the texts."""

    words: Tensor
    real: Tensor
    feature: Tensor

    def __len__(self) -> int:
        return len(self.words)

    def where(self, kept: Tensor, other: Condition) -> Condition:
        """Row by row this condition where `kept` [B] says so, and otherwise the first row of `other`."""
        length = self.words.shape[1]
        words = F.pad(other.words[:1], (0, 0, 0, length - other.words.shape[1]))
        real = F.pad(other.real[:1], (0, length - other.real.shape[1]))
        return Condition(
            torch.where(kept[:, None, None], self.words, words),
            torch.where(kept[:, None], self.real, real),
            torch.where(kept[:, None], self.feature, other.feature[:1]),
        )


@torch.no_grad()
def condition(clip: Any, ids: Tensor) -> Condition:
    """Reads texts with the text tower of an open_clip CLIP.

    Args:
        ids: [B, L] of its tokenizer, 0 where a text has ended; <eot> is the highest.
    """
    end = ids.argmax(1)
    length = int(end.max()) + 1
    hidden = clip.token_embedding(ids[:, :length]) + clip.positional_embedding[:length]
    hidden = clip.ln_final(clip.transformer(hidden, attn_mask=clip.attn_mask[:length, :length]))
    feature = clip.text_projection(hidden[torch.arange(len(ids)), end])
    feature = F.normalize(feature, dim=-1) * feature.shape[-1] ** 0.5
    return Condition(hidden, torch.arange(length, device=end.device) <= end[:, None], feature)


def fold(images: Tensor) -> Tensor:
    """Images [B, 3, H, W] in [0, 1] -> [B, 12, H / 2, W / 2] in [-1, 1]."""
    return F.pixel_unshuffle(images * 2 - 1, FOLD)


def unfold(folded: Tensor) -> Tensor:
    """The images that `fold` folded, in [0, 1]."""
    return (F.pixel_shuffle(folded, FOLD) / 2 + 0.5).clamp(0, 1)


class EditorNetwork(nn.Module):
    """The UNet, called with folded images and a `Condition`."""

    def __init__(self, architecture: dict[str, Any] | None = None) -> None:
        super().__init__()
        # diffusers asks transformers for classes that it lacks while another thread imports it.
        for name in ("transformers", "diffusers"):
            runtime.import_whole(name)
        from diffusers.models.attention_processor import AttnProcessor
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        self.architecture = architecture or ARCHITECTURE
        self.unet: Any = UNet2DConditionModel(**self.architecture)
        # On a CPU the library's fused attention is slower backwards.
        self.unet.set_attn_processor(AttnProcessor())

    def forward(self, noisy: Tensor, time: Tensor, source: Tensor, text: Condition) -> Tensor:
        """The predicted v [B, 12, h, w] of noisy images at times [B], beside folded sources (zeros: no source)."""
        given: Tensor = self.unet(
            torch.cat([noisy, source], 1),
            time,
            encoder_hidden_states=text.words,
            encoder_attention_mask=text.real,
            class_labels=text.feature,
        ).sample
        return given


def schedule(steps: int | None = None) -> Any:
    """The library's DDIM scheduler with the miniature's noise, set to so many steps."""
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    made = DDIMScheduler(**SCHEDULE)
    if steps is not None:
        made.set_timesteps(steps)
    return made


@torch.no_grad()
def guided(
    network: EditorNetwork,
    noisy: Tensor,
    time: Tensor,
    source: Tensor | None,
    text: Condition,
    nothing: Condition,
    text_guidance: float = TEXT_GUIDANCE,
    image_guidance: float = IMAGE_GUIDANCE,
) -> Tensor:
    """The prediction with both guidances (InstructPix2Pix, equation 3); without a source that of the text alone.

    Args:
        noisy: [B, 12, h, w]. time: [] or [B]. source: [B, 12, h, w] or None. nothing: the condition of the empty text.
    """
    count = len(noisy)
    none = torch.zeros_like(noisy)
    with_text = torch.ones(count, dtype=torch.bool, device=noisy.device)
    without = text.where(~with_text, nothing)
    # A guidance of 1 drops out, and with it a pass of the network.
    views: list[tuple[float, Tensor, Condition]] = []
    if source is None:
        views = [(text_guidance, none, text), (1 - text_guidance, none, without)]
    else:
        views = [
            (text_guidance, source, text),
            (image_guidance - text_guidance, source, without),
            (1 - image_guidance, none, without),
        ]
    views = [view for view in views if view[0] != 0]
    joined = Condition(*(torch.cat([getattr(v[2], f) for v in views]) for f in ("words", "real", "feature")))
    given = network(
        noisy.repeat(len(views), 1, 1, 1),
        time.expand(count * len(views)) if time.ndim == 0 else time.repeat(len(views)),
        torch.cat([view[1] for view in views]),
        joined,
    )
    made = torch.zeros_like(noisy)
    for (weight, _, _), part in zip(views, given.chunk(len(views)), strict=True):
        made = made + weight * part
    return made


def denoise(
    network: EditorNetwork,
    noisy: Tensor,
    source: Tensor | None,
    text: Condition,
    nothing: Condition,
    steps: int = STEPS,
    strength: float = 1.0,
    text_guidance: float = TEXT_GUIDANCE,
    image_guidance: float = IMAGE_GUIDANCE,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields the image so far [B, 12, h, w] and the image that the network foresees, after each step; deterministic (DDIM).

    strength: the share of the schedule that is run; `noisy` must have the noise of its beginning.
    """
    plan = schedule(steps)
    for time in plan.timesteps[steps - max(1, round(steps * strength)) :]:
        v = guided(network, noisy, time, source, text, nothing, text_guidance, image_guidance)
        made = plan.step(v, time, noisy)
        noisy = made.prev_sample
        yield noisy, made.pred_original_sample
