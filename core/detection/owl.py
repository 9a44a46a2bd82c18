"""OWL-ViT (Minderer et al. 2022, https://arxiv.org/abs/2205.06230) and OWLv2 (2023, https://arxiv.org/abs/2306.09683).

Today's descendants of ViLD whose weights are on the Hub: every patch of a ViT proposes one box and has one embedding, and a
label answers for a patch with a sigmoid of its own:

    logit = (cosine(region, text) + shift) * scale        shift and scale are the patch's (section 3.1)

OWLv2 also says how likely a patch is a thing at all, whatever it is called. That makes it the source of proposals of the rows
that name crops with CLIP. The models are transformers'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from core import inputs, runtime
from core.checkpoints import Checkpoint
from core.clip import encoders
from core.clip.towers import padded
from core.detection.vild import Regions, array

PROPOSALS = 300  # the likeliest patches of OWLv2 that are kept
OVERLAP = 0.7  # IoU above which the less likely of two of them goes, as in an RPN


class LoadedOWL:
    """What the pool keeps of a row: the model on its device, its tokenizer, its image processor."""

    def __init__(
        self,
        model: Any,
        tokenize: Callable[[Sequence[str]], list[list[int]]] | None,
        processor: Any,
        device: str,
        dtype: torch.dtype,
        every: bool = False,
    ) -> None:
        self.model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.tokenize, self.processor, self.device, self.dtype = tokenize, processor, device, dtype
        self.every = every  # whether every patch of OWLv2 proposes, as in published answers
        self.tower = model.owlv2 if hasattr(model, "owlv2") else model.owlvit

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        return runtime.network_bytes(self.model)

    def see(self, image: Image.Image) -> Regions:
        """Every patch of OWL-ViT, or the likeliest ones of OWLv2."""
        model = self.model
        pixels = self.processor(images=image, return_tensors="pt")["pixel_values"].to(self.device, self.dtype)
        grid = model.image_embedder(pixels)[0]
        seen = grid.flatten(1, 2)  # [1, M, W]
        boxes = model.box_predictor(seen, grid)[0].float()  # centre and size, shares
        corners = torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], dim=1)
        # OWLv2 pads an image to a square before it shrinks it, OWL-ViT squeezes it into one.
        padded = hasattr(model, "objectness_head")
        file_size = inputs.size_of(image)
        width, height = (max(file_size),) * 2 if padded else file_size
        corners = corners * corners.new_tensor([width, height, width, height])
        limits = corners.new_tensor([*file_size, *file_size])
        corners = torch.minimum(corners.clamp(min=0), limits)
        if padded:
            objectness = model.objectness_predictor(seen)[0].float().sigmoid()
        else:
            objectness = torch.ones(len(corners), device=corners.device)
        kept = (
            _apart(corners, objectness)
            if padded and not self.every
            else torch.arange(len(corners), device=corners.device)
        )
        head = model.class_head
        embeddings = F.normalize(head.dense0(seen)[0].float(), dim=-1)
        shift = head.logit_shift(seen)[0, :, 0].float()
        scale = head.elu(head.logit_scale(seen))[0, :, 0].float() + 1
        proposals = array(corners[kept])
        return Regions(
            proposals=proposals,
            boxes=proposals,
            objectness=array(objectness[kept]),
            embeddings={"native": array(embeddings[kept])},
            backgrounds={},
            shift=array(shift[kept]),
            scale=array(scale[kept]),
        )

    def texts(self, lines: Sequence[str]) -> np.ndarray | None:
        """Projected features [N, D], norm 1; None where another row's CLIP names the crops."""
        if self.tokenize is None:
            return None
        ids = self.tokenize(lines)
        batch = padded(ids, max(map(len, ids)))
        features = self.tower.get_text_features(batch.to(self.device)).pooler_output
        return array(F.normalize(features.float(), dim=-1))


def _apart(boxes: torch.Tensor, objectness: torch.Tensor) -> torch.Tensor:
    """Indices of the likeliest boxes that do not stand for each other, best first."""
    from torchvision.ops import nms

    big = torch.nonzero(((boxes[:, 2:] - boxes[:, :2]) >= 1).all(1))[:, 0]
    if not len(big):  # an image of a pixel or two: there is always something to name
        big = objectness.argmax()[None]
    return big[nms(boxes[big], objectness[big], OVERLAP)[:PROPOSALS]]


def load_owl(paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype) -> LoadedOWL:
    """A published OWL-ViT or OWLv2 in transformers' form; its tokenizer is CLIP's. A row that requires a CLIP asks that one."""
    transformers = runtime.import_whole("transformers")
    name = row.options["family"]
    folder = paths["config.json"].parent
    model = encoders.from_transformers(
        getattr(transformers, f"{name}ForObjectDetection"), folder, row, dtype, ("position_ids", "box_bias")
    )
    processor = getattr(transformers, f"{name}ImageProcessor").from_pretrained(folder, local_files_only=True)
    length = model.config.text_config.max_position_embeddings
    tokenize = None if row.requires else encoders.open_clip_tokenizer(paths, row, length)
    every = row.options.get("proposals") == "all"
    return LoadedOWL(model, tokenize, processor, device, dtype, every)
