"""DepthCLIP on classroom scenes: places of known depth, and bins learned from a few of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from core.classroom.world.scenes import Scenes, compose
from core.classroom.world.specs import SceneSettings
from core.runtime import Cancel
from core.spatial import depthclip
from core.spatial.depthclip import DepthEstimator, DepthView, DepthWords, Fitted

NEAR, FAR = 1.0, 3.0  # metres of the eye and of the background, as in the published bins
SIZE = 96
COVERED = 0.5  # of a place: it belongs to an object where one covers more than this
COLOUR = SceneSettings(looks=(1.0, 0.0, 0.0, 0.0, 0.0, 0.0), augment=0.5)


@dataclass(frozen=True)
class Places:
    """Places of objects with their features and depths."""

    features: np.ndarray  # [M, D]
    metres: np.ndarray  # [M]
    scene: np.ndarray  # [M] which scene each is of


def metres(scenes: Scenes) -> np.ndarray:
    """The true depth of every pixel, [B, H, W]."""
    return (NEAR + (FAR - NEAR) * scenes.depth()).numpy()


def places(model: DepthEstimator, seed: int, count: int, view: DepthView | None = None) -> Places:
    """The places of the objects of new scenes."""
    scenes = compose(seed, count, COLOUR, size=SIZE)
    covered, depth = scenes.amodal.any(1).float(), torch.from_numpy(metres(scenes))
    features, values, owners = [], [], []
    for number, picture in enumerate(scenes.picture):
        image = Image.fromarray((picture.permute(1, 2, 0) * 255).round().byte().numpy())
        encoded = model.encode(image, view).place_features
        grid = encoded.shape[:2]
        share = F.adaptive_avg_pool2d(covered[number][None, None], grid)[0, 0]
        summed = F.adaptive_avg_pool2d((covered[number] * depth[number])[None, None], grid)[0, 0]
        kept = (share > COVERED).numpy()
        features.append(encoded[kept])
        values.append((summed / share.clamp_min(1e-6)).numpy()[kept])
        owners.append(np.full(int(kept.sum()), number))
    return Places(np.concatenate(features), np.concatenate(values), np.concatenate(owners))


def guess(found: Places, text_features: np.ndarray, words: DepthWords) -> np.ndarray:
    """Depths of places by words and bins, [M]."""
    logits = depthclip.SCALE * found.features @ text_features.T / words.temperature
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares @ np.array(words.bins) / shares.sum(1)


def learn(
    model: DepthEstimator, found: Places, words: DepthWords, cancel: Cancel | None = None
) -> Iterator[Fitted]:
    """Learns the metres of the bins and the temperature from places."""
    yield from depthclip.fit(
        found.features, found.metres, model.encode_text(words.sentences), words, cancel=cancel
    )
