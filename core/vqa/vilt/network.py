"""ViLT's network (Kim et al. 2021, https://arxiv.org/abs/2102.03334, section 3): transformers' classes, heads on one body.

    words [L]  + kind 0 ─┐
                          ├─ one transformer ─ words [L, W], patches [h w, W], and the pooled first word [W]
    patches [h w] + kind 1 ┘

A head reads the pooled word (answers, matching) or the words (masked words). A row of the Hub has one head; the miniature has
three on one body, under the names that the classes have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.vilt import modeling_vilt as vilt
from transformers.models.vilt.configuration_vilt import ViltConfig

Task = Literal["answer", "match", "fill", "compare"]
TASKS: tuple[Task, ...] = get_args(Task)
CLASSES: dict[Task, Any] = {
    "answer": vilt.ViltForQuestionAnswering,
    "match": vilt.ViltForImageAndTextRetrieval,
    "fill": vilt.ViltForMaskedLM,
    "compare": vilt.ViltForImagesAndTextClassification,
}
# What a head's tensors begin with, where it is not part of the body.
HEADS: dict[Task, str] = {
    "answer": "classifier",
    "match": "rank_output",
    "fill": "mlm_score",
    "compare": "classifier",
}


@dataclass(frozen=True)
class Reading:
    """What the body makes of an image and a text; nothing is normalised."""

    words: Tensor  # [B, L, W]
    patches: Tensor  # [B, 1 + h w, W], the class token first, then in reading order
    pooled: Tensor  # [B, W]


class ViltNetwork(nn.Module):
    """A body with some of ViLT's heads: `vilt`, `classifier`, `rank_output`, `mlm_score`."""

    classifier: Any
    rank_output: Any
    mlm_score: Any

    def __init__(self, config: ViltConfig, tasks: Sequence[Task]) -> None:
        super().__init__()
        self.config, self.tasks = config, tuple(tasks)
        whole = {task: CLASSES[task](config) for task in self.tasks}
        self.vilt: vilt.ViltModel = whole[self.tasks[0]].vilt
        for task, model in whole.items():
            setattr(self, HEADS[task], getattr(model, HEADS[task]))
        if "fill" in whole:
            # The words are read and written by one table (section 3.2).
            self.mlm_score.decoder.weight = self.vilt.embeddings.text_embeddings.word_embeddings.weight

    def read(self, ids: Tensor, mask: Tensor, image: Tensor, kind: int = 1) -> Reading:
        """Reads texts beside images.

        Args:
            ids: [B, L].
            mask: [B, L], 1 for words, 0 for padding.
            image: [B, 1 + h w, W], as of `image_tokens`.
            kind: 1, and 2 for the second of two images.
        """
        seen = torch.ones(image.shape[:2], dtype=mask.dtype, device=image.device)
        output = self.vilt(
            input_ids=ids, attention_mask=mask, image_embeds=image, pixel_mask=seen, image_token_type_idx=kind
        )
        length = ids.shape[1]
        hidden = output.last_hidden_state
        return Reading(hidden[:, :length], hidden[:, length:], output.pooler_output)

    def answers(self, pooled: Tensor) -> Tensor:
        """Logits [B, N] of the pooled word [B, W]."""
        return self.classifier(pooled)

    def matches(self, pooled: Tensor) -> Tensor:
        """One logit [B]: above zero where text and image belong together."""
        return self.rank_output(pooled)[:, 0]

    def written(self, words: Tensor) -> Tensor:
        """Logits [..., V] of the vocabulary for words [..., W]."""
        return self.mlm_score(words)


def image_tokens(body: vilt.ViltModel, pixels: Tensor) -> Tensor:
    """Pixels [B, 3, H, W] as tokens [B, 1 + h w, W], the class token first, then patches in reading order.

    Equal to the library's `visual_embed` for images without padding, which hands out the patches in a random order.
    """
    embeddings: Any = body.embeddings
    patches = embeddings.patch_embeddings(pixels)  # [B, W, h, w]
    config: Any = body.config
    side = config.image_size // config.patch_size
    first, places = embeddings.position_embeddings.split([1, side * side], dim=1)
    places = places.transpose(1, 2).unflatten(2, (side, side))
    if patches.shape[-2:] != (side, side):
        places = F.interpolate(places, size=patches.shape[-2:], mode="bilinear", align_corners=True)
    tokens = (patches + places).flatten(2).transpose(1, 2)
    start = (embeddings.cls_token + first).to(tokens.dtype).expand(len(tokens), -1, -1)
    return torch.cat([start, tokens], dim=1)


WORDS = "vilt.embeddings.text_embeddings.word_embeddings.weight"


def named(state: Mapping[str, Tensor], tasks: Sequence[Task]) -> dict[str, Tensor]:
    """A checkpoint's tensors under the names of a `ViltNetwork`. Counters of places are left out, and the table of words, which
    the head of masked words shares, is there twice."""
    whole = {name: tensor for name, tensor in state.items() if not name.endswith("position_ids")}
    if "fill" in tasks:
        whole.setdefault("mlm_score.decoder.weight", whole[WORDS])
        # The authors' checkpoints keep the bias one level higher.
        if "mlm_score.bias" in whole:
            bias = whole.pop("mlm_score.bias")
            whole.setdefault("mlm_score.decoder.bias", bias)
    return whole


def without_weights(config: ViltConfig, tasks: Sequence[Task]) -> ViltNetwork:
    """The network before its weights are put in; it takes no memory and no time."""
    with torch.device("meta"):
        network = ViltNetwork(config, tasks)
    text: Any = network.vilt.embeddings.text_embeddings
    text.position_ids = torch.arange(config.max_position_embeddings)[None]
    text.token_type_ids = torch.zeros_like(text.position_ids)
    return network
