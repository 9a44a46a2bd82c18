"""SigLIP 2: the same two towers, asked yes or no about every label by itself.

SigLIP (Zhai et al. 2023, https://arxiv.org/abs/2303.15343, section 3.2) replaces the softmax over a batch by a
sigmoid for every pair, with a learned bias b beside the learned scale exp(t):

    probability = sigmoid(exp(t) * cosine + b)

so the probabilities of several labels do not sum to one. SigLIP 2 (Tschannen et al. 2025,
https://arxiv.org/abs/2502.14786, section 2.1) adds languages: text is put into lower case, cut into the pieces of a
multilingual tokenizer and padded to 64 places. The text feature is read at the last place, which mostly is padding, and
padding is attended to: a text always fills all 64 places. The weights are read by transformers' classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core import runtime
from core.checkpoints import Checkpoint
from core.clip.encoders import DualEncoder, TransformersPreprocess, from_transformers
from core.clip.tokenizers import Tokenizer, from_file
from core.clip.towers import Seen, VisionOutput, as_grid, attention_weights, padded

PAD, END = "<pad>", "<eos>"
CONTEXT = 64  # places of a text, also where the row's configuration leaves them to transformers' default


def siglip_tokenizer(file: Path, context_length: int) -> tuple[Any, Tokenizer]:
    """The row's tokenizer as SigLIP 2 was trained with it: lower case, an end piece, nothing in front.

    The published settings name a tokenizer class that keeps capitals, so the file's own defaults are not used.

    Returns:
        The library's object, and what cuts its ids.
    """
    library, _ = from_file(file, context_length)
    end = library.get_vocab(with_added_tokens=True)[END]

    def encode(texts: Sequence[str]) -> list[list[int]]:
        encodings = library.encode_batch([text.lower() for text in texts], add_special_tokens=False)
        return [[*encoding.ids, end] for encoding in encodings]

    return library, Tokenizer(encode, context_length, library.token_to_id("<unk>"))


class SiglipText:
    """SigLIP's text tower: every place attends to every other, and the last one gives the feature."""

    def __init__(self, model: Any, tokenize: Tokenizer, pad: int) -> None:
        self.model, self.tokenize, self.pad = model, tokenize, pad

    def __call__(self, ids: Sequence[Sequence[int]], device: str) -> Tensor:
        tokens = padded(ids, self.tokenize.context_length, self.pad)  # [N, 64]
        return self.model.get_text_features(input_ids=tokens.to(device)).pooler_output


class SiglipViT:
    """SigLIP's ViT: no class token; a learned probe attends to the patches and becomes the image feature."""

    def __init__(self, vision_model: nn.Module) -> None:
        self.vision: Any = vision_model

    @property
    def grid(self) -> tuple[int, int]:
        side = self.vision.config.image_size // self.vision.config.patch_size
        return side, side

    @property
    def stage_names(self) -> tuple[str, ...]:
        return tuple(f"block{i}" for i in range(1, 1 + len(self.vision.encoder.layers)))

    def _patches(self, pixels: Tensor) -> Tensor:
        """What the probe reads: [B, h*w, W]."""
        return self.vision(pixels).last_hidden_state

    def _pooled(self, mixed: Tensor) -> Tensor:
        """The rest of the pooling head behind its attention: [..., W] -> [..., W]."""
        head = self.vision.head
        return mixed + head.mlp(head.layernorm(mixed))

    def __call__(self, pixels: Tensor) -> VisionOutput:
        output = self.vision(pixels)
        x, attention = output.last_hidden_state, self.vision.head.attention
        width = x.shape[-1]
        # A probe that attends to one place alone passes on that place's value.
        value = F.linear(x, attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :])
        patch_features = self._pooled(attention.out_proj(value))
        return VisionOutput(output.pooler_output, patch_features.unflatten(1, self.grid))

    def attention(self, pixels: Tensor) -> Tensor:
        """The probe's attention as the only layer [B, 1, heads, 1 + h*w, 1 + h*w]: row 0 is the probe.

        The blocks before it have no token that reads the whole image; patches are shown as reading themselves.
        """
        x, pool = self._patches(pixels), self.vision.head.attention
        width, heads = x.shape[-1], pool.num_heads
        probe = self.vision.head.probe.expand(len(x), -1, -1)
        query = F.linear(probe, pool.in_proj_weight[:width], pool.in_proj_bias[:width])
        keys = F.linear(
            x, pool.in_proj_weight[width : 2 * width], pool.in_proj_bias[width : 2 * width]
        )  # [B, h*w, W]
        read = attention_weights(query, keys, heads)  # [B, heads, 1, h*w]
        maps = torch.eye(1 + x.shape[1], dtype=x.dtype, device=x.device).expand(len(x), heads, -1, -1).clone()
        maps[:, :, 0, 0] = 0
        maps[:, :, 0, 1:] = read[:, :, 0]
        return maps[:, None]

    def stages(self, pixels: Tensor) -> dict[str, Tensor]:
        return self.see(pixels).maps

    def see(self, pixels: Tensor) -> Seen:
        """Image features and every block as [B, W, h, w]: there is no class token to keep apart."""
        x, maps = self.vision.embeddings(pixels), {}
        for name, layer in zip(self.stage_names, self.vision.encoder.layers, strict=True):
            x = layer(x, None)
            maps[name] = as_grid(x, *self.grid)
        return Seen(self.vision.head(self.vision.post_layernorm(x)), maps)


def load_siglip(paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype) -> DualEncoder:
    """A SigLIP 2 model of fixed image size as transformers' class."""
    transformers = runtime.import_whole("transformers")
    folder = paths["config.json"].parent
    model = from_transformers(transformers.SiglipModel, folder, row, dtype)
    length = model.config.text_config.max_position_embeddings
    library, tokenize = siglip_tokenizer(paths["tokenizer.json"], length)
    processor = transformers.SiglipImageProcessor.from_pretrained(folder, local_files_only=True)
    return DualEncoder(
        row,
        model,
        vision=SiglipViT(model.vision_model),
        text=SiglipText(model, tokenize, library.get_vocab(with_added_tokens=True)[PAD]),
        preprocess=TransformersPreprocess(processor),
        device=device,
        dtype=dtype,
    )
