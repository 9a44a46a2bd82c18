"""An image in pieces: each box is cropped and classified alone, beside the answer for the whole image.

One vector for a whole image cannot say what each animal of a flock does. Cropping every box and giving each
to CLIP can; it is the first idea of ViLD (Gu et al. 2022, https://arxiv.org/abs/2104.13921, section 3.2).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from core import inputs, runtime
from core.clip import encoders
from core.clip.zero_shot import Classification, ZeroShot, normalise
from core.errors import Refusal

MAX_BOXES = 64
MIN_SIDE = 4  # pixels of the image; anything smaller is a slip of the hand

# Image features of crops by checkpoint, image and box: new labels encode no crop again.
CROP_FEATURES: runtime.ByteCache[np.ndarray] = runtime.ByteCache()


@dataclass(frozen=True)
class CropClassification:
    """The answer for each box, then the whole image's, then what they were made of."""

    labels: tuple[str, ...]
    boxes: np.ndarray  # [R, 4], xyxy pixels of the caller's file, as they were asked for
    seen: np.ndarray  # [R, 4], the squares that the tower saw
    probabilities: np.ndarray  # [R, N]; rows sum to one where normalisation is "softmax"
    cosines: np.ndarray  # [R, N]
    whole: Classification
    crop_features: np.ndarray  # [R, D], norm 1
    seconds: float

    @property
    def best(self) -> np.ndarray:
        """The index of each box's best label [R]."""
        return self.cosines.argmax(axis=1)

    def to_json(self) -> dict[str, Any]:
        """The answers as plain values: boxes in their order, labels best first."""
        crops = []
        for box, probabilities, cosines in zip(self.boxes, self.probabilities, self.cosines, strict=True):
            results = [
                {"label": self.labels[i], "probability": float(probabilities[i]), "cosine": float(cosines[i])}
                for i in np.argsort(-cosines, kind="stable")
            ]
            crops.append({"box": [float(value) for value in box], "results": results})
        return {
            "checkpoint": self.whole.checkpoint,
            "seconds": round(self.seconds, 4),
            "whole": self.whole.to_json()["results"],
            "crops": crops,
            **self.whole.notes.to_json(),
        }


def grid(width: int, height: int, rows: int, columns: int) -> np.ndarray:
    """Boxes [rows * columns, 4] that tile an image, row by row: xyxy pixels.

    Raises:
        Refusal: "too_many_boxes" past 64, "no_boxes" for fewer than one row or column.
    """
    if rows < 1 or columns < 1:
        raise Refusal("no_boxes")
    if rows * columns > MAX_BOXES:
        raise Refusal("too_many_boxes", count=rows * columns, limit=MAX_BOXES)
    y, x = np.mgrid[:rows, :columns].astype(float)
    boxes = np.stack([x / columns, y / rows, (x + 1) / columns, (y + 1) / rows], axis=-1).reshape(-1, 4)
    return boxes * np.array([width, height, width, height])


def check_boxes(boxes: Any, width: int, height: int, shares: bool = False) -> np.ndarray:
    """Boxes from outside -> [R, 4] float64 in the image, left before right, top before bottom.

    Args:
        boxes: R rows of four numbers, xyxy pixels of a width x height image; what hangs over its edge is cut.
        width, height: pixels.
        shares: whether the numbers are shares of width and height instead.

    Raises:
        Refusal: "no_boxes", "too_many_boxes", "bad_boxes" (not four finite numbers each), "box_too_small".
    """
    try:
        found = np.asarray(boxes, dtype=float)
    except (TypeError, ValueError):
        raise Refusal("bad_boxes") from None
    if found.size == 0:
        raise Refusal("no_boxes")
    if found.ndim != 2 or found.shape[1] != 4 or not np.isfinite(found).all():
        raise Refusal("bad_boxes")
    if len(found) > MAX_BOXES:
        raise Refusal("too_many_boxes", count=len(found), limit=MAX_BOXES)
    size = np.array([width, height], float)
    corners = np.sort(found.reshape(-1, 2, 2), axis=1) * (size if shares else 1)
    corners = corners.clip(0, size).reshape(-1, 4)
    if (corners[:, 2:] - corners[:, :2]).min() < min(MIN_SIDE, width, height):
        raise Refusal("box_too_small", limit=MIN_SIDE)
    return corners


def squares(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """The smallest square around each box that lies in the image: [R, 4], whole pixels.

    A tower cuts the middle square out of what it is given; a long box would lose its ends. Where the square
    would leave the image it is moved; where it is larger than the image, the image's edge cuts it.
    """
    limits = np.array([width, height], float)
    centre, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    wanted = np.minimum(sides.max(axis=1, keepdims=True), limits)  # [R, 2]
    start = (centre - wanted / 2).clip(0, limits - wanted)
    corners = np.concatenate([np.floor(start), np.ceil(start + wanted)], axis=1)
    return np.minimum(corners, np.tile(limits, 2)).astype(int)


def encode_crops(model: ZeroShot, image: Image.Image, boxes: np.ndarray) -> np.ndarray:
    """Image features [R, D] of the parts `boxes` [R, 4] (whole pixels of the file); the new ones run as one batch."""
    digest = inputs.digest(image)
    keys = [(*model.key, digest, tuple(box)) for box in boxes.tolist()]
    known = {key: feature for key in keys if (feature := CROP_FEATURES.get(key)) is not None}
    missing = list(dict.fromkeys(key for key in keys if key not in known))
    if missing:
        full = inputs.full_size(image)
        parts = [full.crop(key[-1]) for key in missing]
        for key, feature in zip(missing, encode_pictures(model, parts), strict=True):
            known[key] = feature
            CROP_FEATURES.put(key, feature, feature.nbytes)
    return np.stack([known[key] for key in keys])


def classify_crops(
    model: ZeroShot,
    image: Image.Image,
    boxes: np.ndarray,
    labels: str | Sequence[str],
    templates: str | Sequence[str] | None = None,
) -> CropClassification:
    """Ranks the same labels for the whole image and for every box.

    Args:
        model: the classifier.
        image: RGB, from `core.inputs.image`.
        boxes: [R, 4] xyxy pixels of its file, from `grid` or `check_boxes`; a square around each is what the tower sees.
        labels: N texts.
        templates: as for `ZeroShot.classify`.

    Raises:
        Refusal: what `ZeroShot.classify` refuses.
    """
    start = time.perf_counter()
    whole = model.classify(image, labels, templates)
    seen = squares(boxes, *inputs.size_of(image))
    crop_features = encode_crops(model, image, seen)  # [R, D]
    cosines = crop_features @ whole.text_features.T  # [R, N]
    logits = whole.logit_scale * cosines + whole.logit_bias
    return CropClassification(
        labels=whole.labels,
        boxes=boxes,
        seen=seen,
        probabilities=normalise(logits, whole.normalisation),
        cosines=cosines,
        whole=whole,
        crop_features=crop_features,
        seconds=time.perf_counter() - start,
    )


@runtime.on_device
def encode_pictures(model: ZeroShot, images: Sequence[Image.Image]) -> np.ndarray:
    """Normalised image features [B, D] of several images in one go."""
    with (
        encoders.use(model.checkpoint, model.device, model.dtype) as encoder,
        runtime.semaphore(model.device),
    ):
        return encoder.encode_image(images)
