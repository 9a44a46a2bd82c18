"""MetaCLIP 2: CLIP trained on captions of the whole world (Chuang et al. 2025, https://arxiv.org/abs/2507.22062).

The architecture is CLIP's; what is new is the data, captions of more than 300 languages, and a vocabulary that is as large. A
text is cut by XLM-V's tokenizer and begins with <s>; its feature is read at </s>, the first end token. The classes are
transformers'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core import runtime
from core.checkpoints import Checkpoint
from core.clip.encoders import DualEncoder, TransformersPreprocess, from_transformers
from core.clip.tokenizers import Tokenizer, from_file
from core.clip.towers import TransformersViT, padded


class EndText:
    """A causal text tower whose feature is read at the end token; what stands behind it changes nothing."""

    def __init__(self, model: Any, tokenize: Tokenizer, pad: int) -> None:
        self.model, self.tokenize, self.pad = model, tokenize, pad

    def __call__(self, ids: Sequence[Sequence[int]], device: str) -> Tensor:
        tokens = padded(ids, max(map(len, ids)), self.pad)
        return self.model.get_text_features(input_ids=tokens.to(device)).pooler_output


def load_metaclip2(
    paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype
) -> DualEncoder:
    """A MetaCLIP 2 as transformers' class; its vision tower has the same parts as Chinese-CLIP's."""
    transformers = runtime.import_whole("transformers")
    folder = paths["config.json"].parent
    model = from_transformers(transformers.MetaClip2Model, folder, row, dtype, ("position_ids",))
    length = model.config.text_config.max_position_embeddings
    library, tokenize = from_file(paths["tokenizer.json"], length)
    processor = transformers.CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    return DualEncoder(
        row,
        model,
        vision=TransformersViT(model.vision_model, model.visual_projection),
        text=EndText(model, tokenize, library.token_to_id("<pad>")),
        preprocess=TransformersPreprocess(processor),
        device=device,
        dtype=dtype,
    )
