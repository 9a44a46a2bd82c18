"""Few-shot PointCLIP on classroom clouds: the adapter on 1, 2, 4, 8, 16 clouds of each class, in seconds.

The page and the evaluation run the same steps. CLIP is frozen, so the features of all clouds are computed once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from core.classroom.world import clouds as world
from core.classroom.world.clouds import Clouds, CloudSettings
from core.clip import prompts
from core.runtime import Cancel
from core.spatial import adapter
from core.spatial.adapter import AdapterSettings, InterViewAdapter
from core.spatial.pointclip import (
    FEW_SHOT,
    FEW_SHOT_TEMPLATE,
    PLAIN_TEMPLATE,
    ZERO_SHOT,
    PointClassifier,
    unit_rows,
)
from core.spatial.projection import Perspective

SHOTS = (1, 2, 4, 8, 16)
TEST_SEED = 501
CLOUDS_AT_ONCE = 16
# A tower that sees 64 pixels would lose most points of an image of 224: as many pixels as it has.
TOWER_SIDE = 64
SETTINGS = AdapterSettings(epochs=80)


@dataclass(frozen=True)
class Encoded:
    """Clouds with their view features."""

    clouds: Clouds
    features: np.ndarray  # [B, V, D], not normalised


@dataclass(frozen=True)
class Point:
    """A point of the curve."""

    shots: int
    seed: int
    accuracy: float
    loss: float


def projection_for(model: PointClassifier, few_shot: bool) -> Perspective:
    """The published projection, at the pixels of a miniature's tower."""
    from core import checkpoints

    settings = FEW_SHOT if few_shot else ZERO_SHOT
    return replace(settings, side=TOWER_SIDE) if checkpoints.row(model.checkpoint).bundled else settings


def template_for(model: PointClassifier) -> str:
    """The published few-shot sentence, or what a miniature has read of depth images."""
    from core import checkpoints

    return PLAIN_TEMPLATE if checkpoints.row(model.checkpoint).bundled else FEW_SHOT_TEMPLATE


def text_features(model: PointClassifier, names: list[str], template: str) -> np.ndarray:
    """[N, D] of the classes."""
    return model.encode_text([prompts.fill(template, name) for name in names])


def encode(
    model: PointClassifier, clouds: Clouds, few_shot: bool = True, cancel: Cancel | None = None
) -> Iterator[tuple[int, Encoded | None]]:
    """View features of clouds, a few at a time: yields how many are done, and all of them at the end."""
    parts, projection = [], projection_for(model, few_shot)
    for start in range(0, len(clouds.points), CLOUDS_AT_ONCE):
        if cancel is not None:
            cancel.check()
        parts.append(model.encode_many(clouds.points[start : start + CLOUDS_AT_ONCE], projection))
        yield min(start + CLOUDS_AT_ONCE, len(clouds.points)), None
    yield len(clouds.points), Encoded(clouds, np.concatenate(parts))


def encoded(model: PointClassifier, clouds: Clouds, few_shot: bool = True) -> Encoded:
    """The same without the steps."""
    *_, (_, result) = encode(model, clouds, few_shot)
    assert result is not None
    return result


def zero_shot(encoded: Encoded, texts: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Zero-shot logits [B, N] up to the scale: the sum of the views' cosines."""
    views = unit_rows(encoded.features)
    weights = np.ones(views.shape[1]) if weights is None else weights
    return np.einsum("bvd,nd,v->bn", views, texts, weights)


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The share of clouds whose best label is theirs."""
    return float((logits.argmax(1) == labels).mean())


def first_of_each(labels: np.ndarray, shots: int) -> np.ndarray:
    """The places of the first `shots` clouds of each class."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:shots] for label in np.unique(labels)]))


def fit(
    train: Encoded,
    shots: int,
    texts: np.ndarray,
    scale: float,
    settings: AdapterSettings = SETTINGS,
    cancel: Cancel | None = None,
) -> Iterator[tuple[adapter.Epoch, InterViewAdapter]]:
    """Trains the adapter on the first clouds of each class."""
    chosen = first_of_each(train.clouds.labels, shots)
    return adapter.train(train.features[chosen], train.clouds.labels[chosen], texts, scale, settings, cancel)


def training_clouds(seed: int, shots: int = max(SHOTS), settings: CloudSettings | None = None) -> Clouds:
    """Clouds to learn from: other drawings than those of new clouds."""
    return world.sample(shots, seed, settings or CloudSettings())


def new_clouds(count: int = 10, settings: CloudSettings = world.NEW) -> Clouds:
    """New clouds of each class, of drawings that no training cloud has."""
    return world.sample(count, TEST_SEED, settings)
