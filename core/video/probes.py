"""What published answers ask of X-CLIP; see `core.checkpoints.known`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from PIL import Image

from core.video.actionclip.xclip import XCLIP


@torch.inference_mode()
def xclip_logits(
    row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str
) -> list[list[float]]:
    """The logits of a clip, given as its frames, with each text."""
    with XCLIP.load(row, device, torch.float32).use() as loaded:
        tokens = loaded.clip(loaded.pixels(images))
        whole, places = tokens[len(images)], tokens[len(images) + 1 :]
        read = loaded.prompted(loaded.texts(texts), places)
        return [(loaded.logit_scale * read @ F.normalize(whole.float(), dim=-1)).float().tolist()]
