"""The map of a joint space: how image and text features lie, seen in 2 or 3 dimensions."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from core import inputs, runtime
from core.clip.zero_shot import ZeroShot
from core.errors import Refusal

CHUNK = 32  # texts that are encoded between two looks at a flag


@dataclass(frozen=True)
class Projection:
    """Vectors of D dimensions seen in 2 or 3."""

    points: np.ndarray  # [M, 2 or 3]
    explained: np.ndarray  # [2 or 3], share of the variance along each axis
    gap: float  # distance between the means of the two kinds; their vectors have length 1


@dataclass(frozen=True)
class Map:
    """B images and N texts of one space, seen in 2 or 3 dimensions, and how near each text lies to each image."""

    checkpoint: str
    projection: Projection  # of the images, then of the texts
    cosines: np.ndarray  # [B, N]
    texts: tuple[str, ...]
    seconds: float

    def to_json(self, nearest: int = 10) -> dict[str, Any]:
        """The map as plain values, with the `nearest` texts of each image."""
        return {
            "checkpoint": self.checkpoint,
            "seconds": round(self.seconds, 4),
            "points": self.projection.points.astype(float).round(5).tolist(),
            "explained": self.projection.explained.round(5).tolist(),
            "gap": round(self.projection.gap, 5),
            "nearest": [
                [{"text": self.texts[i], "cosine": float(row[i])} for i in np.argsort(-row)[:nearest]]
                for row in self.cosines
            ],
        }


def encoding(
    model: ZeroShot,
    images: Sequence[Image.Image],
    texts: Sequence[str],
    cancel: runtime.Cancel | None = None,
) -> Generator[float, None, np.ndarray]:
    """The features of B images, then of N texts, [B + N, D]; yields the share that is done.

    Raises:
        Refusal: "cancelled" once `cancel` is set.
    """
    chunks = [texts[at : at + CHUNK] for at in range(0, len(texts), CHUNK)]
    jobs: list[Callable[[], np.ndarray]] = [
        *(partial(lambda image: model.encode(image).image_features[None], image) for image in images),
        *(partial(model.encode_text, [inputs.clean(text) for text in chunk]) for chunk in chunks),
    ]
    features: list[np.ndarray] = []
    for job in jobs:
        if cancel is not None:
            cancel.check()
        features.append(job())
        yield len(features) / len(jobs)
    return np.vstack(features)


def chart(
    model: ZeroShot,
    images: Sequence[Image.Image],
    texts: Sequence[str],
    dimensions: int = 2,
    centred: bool = False,
) -> Map:
    """The map of images and texts; `dimensions` and `centred` as of `project`.

    Raises:
        Refusal: "map_dimensions" for other dimensions than 2 and 3.
    """
    if dimensions not in (2, 3):
        raise Refusal("map_dimensions", value=dimensions)
    start, count = time.perf_counter(), len(images)
    vectors = runtime.finish(encoding(model, images, texts))
    projection = project(vectors, np.arange(len(vectors)) >= count, dimensions, centred)
    cosines = vectors[:count] @ vectors[count:].T
    return Map(model.checkpoint, projection, cosines, tuple(texts), time.perf_counter() - start)


def project(vectors: np.ndarray, texts: np.ndarray, dimensions: int = 2, centred: bool = False) -> Projection:
    """Principal components of images and texts in one space.

    Images and texts of a CLIP lie in two cones apart from each other ("modality gap", Liang et al. 2022,
    https://arxiv.org/abs/2203.02053); the first axis of an honest map shows little else.

    Args:
        vectors: [M, D], finite; M >= 2.
        texts: bool [M], which of them are texts.
        dimensions: 2 or 3.
        centred: whether each kind is moved to a mean of zero first, which closes the gap.
    """
    points = np.asarray(vectors, np.float64)
    both = texts.any() and not texts.all()
    means = (points[texts].mean(0), points[~texts].mean(0)) if both else (points.mean(0),) * 2
    gap = float(np.linalg.norm(means[0] - means[1]))
    points = points - np.where(texts[:, None], *means) if centred else points - points.mean(0)
    left, scales, _ = np.linalg.svd(points, full_matrices=False)
    total = max(float((scales**2).sum()), 1e-12)
    places = np.zeros((len(points), dimensions))
    explained = np.zeros(dimensions)
    count = min(dimensions, len(scales))
    # A component's sign is arbitrary: the largest entry points up, so that the same vectors give the same map.
    signs = np.sign(left[np.abs(left[:, :count]).argmax(0), np.arange(count)])
    places[:, :count] = left[:, :count] * scales[:count] * signs
    explained[:count] = scales[:count] ** 2 / total
    return Projection(places.astype(np.float32), explained, gap)
