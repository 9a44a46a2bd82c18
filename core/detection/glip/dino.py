"""Descendants of GLIP on the Hub, behind GLIP's handle: Grounding DINO (Liu et al., ECCV 2024, https://arxiv.org/abs/2303.05499)
and MM-Grounding-DINO (Zhao et al. 2024, https://arxiv.org/abs/2401.02361).

The same product of regions and words after fusion, with a detection transformer in place of the dynamic head: 900 queries
answer at once, so that nothing has to be suppressed. Words of different sentences do not read each other, and a sentence
ends with a full stop. The classes are transformers'.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from core import runtime
from core.checkpoints import Checkpoint
from core.clip import encoders
from core.detection.glip import boxes, language
from core.detection.glip.grounding import LIMIT, EncodedImage, Found, Pixels
from core.detection.glip.language import Cut, Mode, Span


class Backbone(nn.Module):
    """A model's backbone, whose maps may be given instead of made: all prompts about an image share them."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.given: list[Tensor] = []  # [1, C, h, w] of each level

    def forward(self, pixel_values: Tensor, pixel_mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Maps, each with a mask of the places that are of the picture: all are."""
        if not self.given:
            return self.body(pixel_values, pixel_mask)
        return [(level, torch.ones_like(level[:, 0], dtype=torch.bool)) for level in self.given]


class LoadedDino:
    """What the pool keeps of a row: the model on its device, its tokenizer, how it wants images."""

    def __init__(
        self, model: Any, cut: Callable[[str], Cut], row: Checkpoint, device: str, dtype: torch.dtype
    ) -> None:
        self.model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self._cut, self.device, self.dtype = cut, device, dtype
        self.stop = cut(".").ids[1]
        self.pixels = Pixels(row)
        self.phrase: boxes.Phrase = row.options.get("phrase", "mean")
        self.backbone = model.model.backbone.conv_encoder = Backbone(model.model.backbone.conv_encoder)

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        return runtime.network_bytes(self.model)

    def encode(self, image: Image.Image) -> tuple[tuple[np.ndarray, ...], tuple[int, int]]:
        pixels, seen = self.pixels(image)
        pixels = pixels.to(self.device, self.dtype)
        levels = self.backbone.body(pixels, torch.ones_like(pixels[:, 0], dtype=torch.long))
        return tuple(level[0].float().cpu().numpy() for level, _ in levels), seen

    def cut(self, text: str) -> Cut:
        """A text into words, with a full stop behind them where it has none."""
        cut = self._cut(text)
        *ids, last = cut.ids
        return cut if ids[-1] == self.stop else replace(cut, ids=(*ids, self.stop, last))

    def ground(self, encoded: EncodedImage, text: str, spans: Sequence[Span], mode: Mode) -> Found:
        start = time.perf_counter()
        prompt = language.prompt(self, text, spans, mode)
        ids = torch.tensor([prompt.cut.ids], device=self.device)
        width, height = encoded.seen
        self.backbone.given = [
            torch.from_numpy(level)[None].to(self.device, self.dtype) for level in encoded.levels
        ]
        try:
            said = self.model(
                pixel_values=torch.zeros(1, device=self.device).expand(
                    1, 3, height, width
                ),  # its size is read
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                token_type_ids=torch.zeros_like(ids),
                output_hidden_states=True,
            )
        finally:
            self.backbone.given = []
        head_at = time.perf_counter()
        logits = said.logits[0, :, : ids.shape[1]].float()  # [Q, ids]
        best = boxes.phrase_scores(logits, prompt.tokens, self.phrase).max(1)  # a query is one thing
        kept = best.values.topk(min(LIMIT, len(best.values))).indices
        found = boxes.corners(said.pred_boxes[0, kept].float(), encoded.seen)
        before = self.entering(said, ids)[kept].float()
        timings = {
            "ground": 1000 * (head_at - start),
            "boxes": 1000 * (time.perf_counter() - head_at),
        }
        parts = (found, best.values[kept], best.indices[kept], logits[kept], before)
        corners, scores, phrases, after, first = (part.cpu().numpy() for part in parts)
        return Found(prompt, corners, scores, phrases, after, first, timings)

    def entering(self, said: Any, ids: Tensor) -> Tensor:
        """The product of features that enter the fusion, [Q, ids]: of the places that the queries were chosen from."""
        places = said.enc_outputs_class[0].max(-1).values.topk(said.logits.shape[1]).indices
        regions, words = said.encoder_vision_hidden_states[0], said.encoder_text_hidden_states[0]
        product = self.model.model.encoder_output_class_embed
        mask = torch.ones_like(ids, dtype=torch.bool)
        return product(regions[:, places], words, mask)[0, :, : ids.shape[1]]


def load_dino(paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype) -> LoadedDino:
    """A published Grounding DINO in transformers' form; the row's `family` is how the name of its classes begins."""
    kind = getattr(runtime.import_whole("transformers"), row.options["family"] + "ForObjectDetection")
    model = encoders.from_transformers(kind, paths["config.json"].parent, row, dtype)
    return LoadedDino(model, language.cutter(paths["vocab.txt"]), row, device, dtype)
