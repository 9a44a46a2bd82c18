"""ViLD's baseline: every proposal cut out at 1x and 1.5x and seen by CLIP (Gu et al. 2022, section 3.2)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from core import inputs
from core.clip.encoders import DualEncoder
from core.detection import boxes as of_boxes

CROPPED_SIDE = 1024  # crops are cut from an image of this long side at most


def pixels(picture: Image.Image, boxes: np.ndarray, encoder: DualEncoder) -> tuple[Tensor, Tensor]:
    """Pixels of the crops at 1x and 1.5x as an encoder wants them: [M, 3, S, S] each.

    Args:
        picture: RGB.
        boxes: [M, 4] xyxy pixels of its file.
        encoder: its own preprocessing says the size and the colours.
    """
    # Preprocessing is the same line for every level of a channel: what it makes of black and of white says which.
    dark, light = (encoder.preprocess(Image.new("RGB", (32, 32), (v, v, v))) for v in (0, 255))
    share = min(1.0, CROPPED_SIDE / max(picture.size))
    shown = picture if share == 1 else picture.resize([max(1, round(s * share)) for s in picture.size])
    levels = torch.from_numpy(np.array(shown, dtype=np.float32) / 255).permute(2, 0, 1)[None]
    around = torch.from_numpy(inputs.to_pixels(picture, boxes)).float() * share
    first, wide = (
        of_boxes.crops(levels, [of_boxes.enlarged(around, factor, *shown.size)], dark.shape[-1])
        for factor in of_boxes.SCALES
    )
    dark, light = dark[:, :1, :1], light[:, :1, :1]
    return dark + (light - dark) * first, dark + (light - dark) * wide


def embeddings(picture: Image.Image, boxes: np.ndarray, encoder: DualEncoder) -> Tensor:
    """What an encoder says of crops, [M, D]: the sum of its features at both scales, norm 1; arguments as of `pixels`."""
    seen = torch.cat(pixels(picture, boxes, encoder)).to(encoder.device, encoder.dtype)
    first, wide = F.normalize(encoder.vision(seen).image_features.float(), dim=-1).chunk(2)
    return F.normalize(first + wide, dim=-1)
