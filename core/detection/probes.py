"""What published answers ask of the detectors; see `core.checkpoints.known`. Every function gets the name of a row, the image
and texts of an answer, and a device, and returns boxes: [score, x1, y1, x2, y2] in pixels, in any order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from core.detection.glip.grounding import GLIP
from core.detection.vild import ViLD


def phrases(row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str) -> list[list[float]]:
    """Boxes of any score for the phrases of a caption."""
    (image,), (caption,) = images, texts
    named = [part.strip() for part in caption.split(".") if part.strip()]
    found = GLIP.load(row, device, torch.float32).ground(image, caption, named, threshold=0.0)
    return _listed(found.scores, found.boxes)


def labels(row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str) -> list[list[float]]:
    """Boxes of any score for a list of labels."""
    (image,) = images
    found = GLIP.load(row, device, torch.float32).detect(image, texts, threshold=0.0)
    return _listed(found.scores, found.boxes)


def patches(row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str) -> list[list[float]]:
    """The box of every patch, with the score of its best text."""
    (image,) = images
    model = ViLD.load(row, device, torch.float32)
    encoded = model.encode(image)
    count = len(encoded.regions.proposals)
    found = model.detect(encoded, texts, "native", proposals=count, threshold=0.0, nms=1.0)
    return _listed(found.scores, found.boxes)


def _listed(scores: np.ndarray, boxes: np.ndarray) -> list[list[float]]:
    return np.concatenate([scores[:, None], boxes], axis=1).astype(float).tolist()
