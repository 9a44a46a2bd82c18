"""GLIP: detection as grounding (Li et al., CVPR 2022, https://arxiv.org/abs/2112.03857).

Regions of an image O [R, C] and words of a prompt P [L, D] are encoded, fused in the head, and multiplied (figure 2):

    logits [R, L] = O P^T

What differs from the published code: kernels are torchvision's, prompts are not padded to 256 words (padding changes no
other word), and overlaps are suppressed as the published GPU code means to. The sizes are rows of `architectures.toml`,
so that the miniature is these same classes in small.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core import runtime
from core.detection.glip import boxes
from core.detection.glip.backbone import Backbone
from core.detection.glip.head import Head, Predictions

BERT_POSITIONS = 512


@cache
def architectures() -> dict[str, Any]:
    """The rows of `architectures.toml`."""
    path = Path(__file__).parents[1] / "architectures.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


class Bert(nn.Module):
    """BERT as the word encoder, under the released names."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        super().__init__()
        transformers = runtime.import_whole("transformers")
        config = transformers.BertConfig(
            vocab_size=row["vocabulary"],
            hidden_size=row["width"],
            num_hidden_layers=row["layers"],
            num_attention_heads=row["heads"],
            intermediate_size=row["inner"],
            max_position_embeddings=BERT_POSITIONS,
        )
        model = transformers.BertModel(config, add_pooling_layer=False)
        # Part of the released files.
        positions = torch.arange(BERT_POSITIONS)[None]
        model.embeddings.register_buffer("position_ids", positions, persistent=True)
        self.body = nn.ModuleDict({"model": model})

    def settle(self) -> None:
        """Makes what no file holds, where the class was built without memory."""
        embeddings: Any = self.body["model"].embeddings
        embeddings.token_type_ids = torch.zeros(1, BERT_POSITIONS, dtype=torch.long)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token ids [B, L] and mask [B, L] -> features [B, L, D] of the last layer."""
        return self.body["model"](
            input_ids=ids,
            attention_mask=mask.long(),
            token_type_ids=torch.zeros_like(ids),
            position_ids=torch.arange(ids.shape[1], device=ids.device)[None],
        ).last_hidden_state


class Anchors(nn.Module):
    """One square a place on every level."""

    def __init__(self, strides: Sequence[int], scale: float) -> None:
        super().__init__()
        self.strides = tuple(strides)
        cells = nn.Module()
        for i, cell in enumerate(boxes.cell_anchors(strides, scale)):
            cells.register_buffer(str(i), cell)
        self.cell_anchors: Any = cells

    def forward(self, shapes: Sequence[tuple[int, int]]) -> Tensor:
        """h, w of each level -> anchors [R, 4], xyxy pixels of the image as the network sees it."""
        return boxes.spread(list(self.cell_anchors.buffers()), self.strides, shapes)


class GLIPNet(nn.Module):
    """The whole network under the names of the released checkpoint.

    Args:
        architecture: a row of `architectures.toml`.
        fusion: in place of the row's word on deep fusion, for the ablation.
    """

    def __init__(self, architecture: str, fusion: bool | None = None) -> None:
        super().__init__()
        row = architectures()[architecture]
        head = dict(row["head"])
        if fusion is not None:
            head["fusion"] = fusion
        self.backbone = Backbone(row["backbone"], row["channels"])
        language = row["language"]
        self.language_backbone = Bert(language) if language["kind"] == "bert" else None
        self.rpn: Any = nn.ModuleDict(
            {
                "head": Head(head, row["channels"], language["width"], len(row["strides"])),
                "anchor_generator": Anchors(row["strides"], row["anchor"]),
            }
        )

    @property
    def head(self) -> Head:
        """What depends on the words."""
        return self.rpn["head"]

    def features(self, pixels: Tensor) -> list[Tensor]:
        """[B, 3, H, W] normalised, sides multiples of 32 -> levels [B, C, h, w], fine to coarse; no word is read."""
        return self.backbone(pixels)

    def anchors(self, shapes: Sequence[tuple[int, int]]) -> Tensor:
        """h, w of each level -> anchors [R, 4], xyxy pixels of the image as the network sees it."""
        return self.rpn["anchor_generator"](shapes)

    def forward(self, pixels: Tensor, words: Tensor, mask: Tensor) -> Predictions:
        """Pictures [B, 3, H, W], word features [B, L, D], mask [B, L] true at words."""
        return self.head(self.features(pixels), words, mask)
