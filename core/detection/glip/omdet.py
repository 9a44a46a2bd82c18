"""OmDet-Turbo behind GLIP's handle (Zhao et al. 2024, https://arxiv.org/abs/2403.06892).

A detector of today that answers at once: the labels are read one by one by CLIP's text tower, their features are compared with
900 queries, and a task ("Detect cat, dog.", or the caption) is read by the decoder beside the image. So a label has one number
for a query, and every word of a phrase carries the number of its phrase. The classes are transformers', the backbone is timm's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.ops import batched_nms

from core import runtime
from core.checkpoints import Checkpoint
from core.clip import encoders
from core.clip.tokenizers import Tokenizer, of_open_clip
from core.detection.glip import language
from core.detection.glip.boxes import corners
from core.detection.glip.grounding import LIMIT, EncodedImage, Found
from core.detection.glip.language import Mode, Span

SUPPRESSED = 0.5  # IoU above which the less sure of two boxes of one label goes, as in the library
READ_BY = "ViT-B-32"  # the CLIP whose tokenizer it has


class LoadedOmDet:
    """What the pool keeps of a row: the model on its device, its tokenizer, its image processor."""

    def __init__(self, model: Any, processor: Any, device: str, dtype: torch.dtype) -> None:
        self.model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.processor, self.device, self.dtype = processor, device, dtype
        self.tokenize: Tokenizer = of_open_clip(READ_BY)[1]
        self.cut = language.byte_pair_cutter()

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        return runtime.network_bytes(self.model)

    def encode(self, image: Image.Image) -> tuple[tuple[np.ndarray, ...], tuple[int, int]]:
        pixels = self.processor(images=image, return_tensors="pt")["pixel_values"]
        pixels = pixels.to(self.device, self.dtype)
        maps = self.model.encoder(self.model.vision_backbone(pixels), return_dict=True).extracted_states
        seen = pixels.shape[3], pixels.shape[2]
        return tuple(level[0].float().contiguous().cpu().numpy() for level in maps), seen

    def ids(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids of texts [N, L] and which of them are read."""
        rows, mask = language.padded(self.tokenize(texts))
        return rows.to(self.device), mask.long().to(self.device)

    def ground(self, encoded: EncodedImage, text: str, spans: Sequence[Span], mode: Mode) -> Found:
        start = time.perf_counter()
        prompt = language.prompt(self, text, spans, mode)
        labels = [phrase.text for phrase in prompt.phrases]
        task = text if mode == "grounding" else f"Detect {', '.join(labels)}."
        count = torch.tensor([len(labels)], device=self.device)
        words = self.model.get_language_embedding(*self.ids(labels), *self.ids([task]), count)
        read_at = time.perf_counter()
        levels = [torch.from_numpy(level)[None].to(self.device, self.dtype) for level in encoded.levels]
        said = self.model.decoder(levels, *words, return_dict=True)
        head_at = time.perf_counter()
        logits = said.decoder_classes[-1][0].float()  # [Q, K]
        before = said.encoder_class_logits[0].float()  # [Q, K] of the places that the queries begin as
        found = corners(said.decoder_coords[-1][0].float(), encoded.seen)
        best = logits.sigmoid().flatten().topk(min(len(logits), logits.numel()))
        query, label = best.indices // len(labels), best.indices % len(labels)
        kept = batched_nms(found[query].double(), best.values.double(), label, SUPPRESSED)[:LIMIT]
        query, label, scores = query[kept], label[kept], best.values[kept]
        # A word has the number of its phrase; words of no phrase have none.
        belongs = prompt.belongs().to(logits.device)
        unread = torch.where(belongs.any(0), 0.0, torch.nan)
        after, first = (one[query] @ belongs + unread for one in (logits, before))
        end = time.perf_counter()
        timings = {
            "encode_text": 1000 * (read_at - start),
            "ground": 1000 * (head_at - read_at),
            "boxes": 1000 * (end - head_at),
        }
        parts = (found[query], scores, label, after, first)
        boxes, sure, phrases, aligned, entering = (part.cpu().numpy() for part in parts)
        return Found(prompt, boxes, sure, phrases, aligned, entering, timings)


def settings(file: Path) -> dict[str, Any]:
    """A row's configuration. The published one names its backbone; the library would ask the Hub what that is."""
    values = json.loads(file.read_text(encoding="utf-8"))
    if values.get("backbone_config") is None:
        own = {"model_type": "timm_backbone", "backbone": values.pop("backbone")}
        values["backbone_config"] = own | (values.pop("backbone_kwargs", None) or {})
    for name in ("use_timm_backbone", "use_pretrained_backbone", "backbone_kwargs", "backbone"):
        values.pop(name, None)
    return values


def load_omdet(paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype) -> LoadedOmDet:
    """A published OmDet-Turbo in transformers' form."""
    transformers = runtime.import_whole("transformers")
    folder = paths["config.json"].parent
    config = transformers.OmDetTurboConfig(**settings(paths["config.json"]))
    kind = transformers.OmDetTurboForObjectDetection
    model = encoders.from_transformers(kind, folder, row, dtype, ("position_ids",), config=config)
    processor = transformers.DetrImageProcessor.from_pretrained(folder, local_files_only=True)
    return LoadedOmDet(model, processor, device, dtype)
