"""What published answers ask of CLIPSeg, GroupViT, TIPSv2 and SAM 3; see `core.checkpoints.known`. Every function gets the
name of a row, the images and texts of an answer, and a device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from core.segmentation.clipseg import CLIPSeg
from core.segmentation.groupvit import GroupViT
from core.segmentation.sam3 import SAM3
from core.segmentation.tips import TIPS

# The drawn image `meadow`: texts -> the colour of what they mean.
DRAWN = {
    "a red circle": (220, 40, 40),
    "a blue square": (40, 70, 200),
    "a yellow triangle": (250, 200, 30),
}


@torch.inference_mode()
def _maps(row: str, image: Image.Image, texts: Sequence[str], device: str) -> torch.Tensor:
    """Logits [N, S, S] of each text by itself."""
    with CLIPSeg.load(row, device, torch.float32).use() as loaded:
        seen = loaded.activations(loaded.pixels(image))
        return loaded.maps(seen, loaded.texts(texts)).float().cpu()


def clipseg_corner(
    row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str
) -> list[list[float]]:
    """The corner [3, 3] of the first text's map."""
    return _maps(row, images[0], texts, device)[0, :3, :3].tolist()


@torch.inference_mode()
def clipseg_text(
    row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str
) -> list[list[float]]:
    """The first three numbers of what the decoder reads of each text."""
    with CLIPSeg.load(row, device, torch.float32).use() as loaded:
        return loaded.texts(texts)[:, :3].float().tolist()


def overlaps(row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str) -> list[float]:
    """For each text the IoU of its mask with what is drawn, or the share of the image where nothing of it is drawn."""
    (image,) = images
    maps = _maps(row, image, texts, device)
    maps = F.interpolate(maps[None], image.size[::-1], mode="bilinear", align_corners=False)[0]
    levels = np.asarray(image)
    found = []
    for text, mask in zip(texts, (maps > 0).numpy(), strict=True):
        if text not in DRAWN:
            found.append(float(mask.mean()))
            continue
        truth = (levels == DRAWN[text]).all(-1)
        found.append(float((mask & truth).sum() / (mask | truth).sum()))
    return found


def groupvit_logits(
    row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str
) -> list[list[float]]:
    """The logits of each whole image with each text."""
    model = GroupViT.load(row, device, torch.float32)
    read = model.encode_text(texts, ("{}",))
    encoded = [model.encode(image) for image in images]
    return [(one.logit_scale * read @ one.image_features).tolist() for one in encoded]


@torch.inference_mode()
def tips_logits(
    row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str
) -> list[list[float]]:
    """The logits of each whole image, squeezed into a square, with each bare text."""
    with TIPS.load(row, device, torch.float32).use() as loaded:
        cosines = loaded.image_features(images) @ loaded.text_features(texts).T
        return (loaded.logit_scale * cosines).tolist()


def tips_text(
    row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str
) -> list[list[float]]:
    """The first three numbers of each bare text's feature, norm 1."""
    return TIPS.load(row, device, torch.float32).encode_text(texts)[:, :3].tolist()


def sam3_boxes(
    row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str
) -> list[list[float]]:
    """The instances of the texts: score, left, top, right, bottom in pixels."""
    (image,) = images
    sides = np.array([*image.size, *image.size])
    return [
        [float(score), *(box * sides).tolist()]
        for found in SAM3.load(row, device, torch.float32).concepts(image, texts)
        for score, box in zip(found.scores, found.boxes, strict=True)
    ]
