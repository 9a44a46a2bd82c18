"""What each stage between pixels and probabilities holds, and how a tensor is painted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from core import inputs, runtime
from core.clip import encoders, prompts, reading
from core.clip.walk import Walk, walk
from core.clip.zero_shot import Classification, ZeroShot


@dataclass(frozen=True)
class Stage:
    """One tensor on the way from pixels to a probability."""

    name: str
    kind: str  # "picture", "map", "tokens", "vector", "matrix"
    shape: tuple[int, ...]
    mean: float
    deviation: float
    picture: np.ndarray  # uint8 [h, w, 3]: its first three principal components, or a strip of values

    def to_json(self) -> dict[str, Any]:
        """The tensor's facts as plain values."""
        return {
            "name": self.name,
            "kind": self.kind,
            "shape": list(self.shape),
            "mean": round(self.mean, 6),
            "deviation": round(self.deviation, 6),
        }


def of_image(model: ZeroShot, image: Image.Image) -> list[Stage]:
    """Every tensor of one pass through the image tower, from the caller's pixels to the normalised feature."""
    return _stages(model, image)


def of_answer(answer: Classification) -> list[Stage]:
    """What follows the image feature: the texts, their features, cosines, logits and probabilities."""
    texts = [inputs.clean(label) for label in answer.labels]
    captions = [prompts.fill(template, text) for template in answer.templates for text in texts]
    pieces = [one.ids for one in reading.read(answer.checkpoint, captions)]
    longest = max(map(len, pieces))
    ids = np.array([row + [0] * (longest - len(row)) for row in pieces], float)  # [M * N, L]
    rows = [
        ("tokens", "matrix", ids, ids),
        ("text_features", "matrix", answer.text_features, answer.text_features),
        ("cosines", "vector", answer.cosines, answer.cosines[None]),
        ("logits", "vector", answer.logits, answer.logits[None]),
        ("probabilities", "vector", answer.probabilities, answer.probabilities[None]),
    ]
    return [
        Stage(name, kind, x.shape, float(x.mean()), float(x.std()), paint(values))
        for name, kind, x, values in rows
    ]


@runtime.on_device
def _stages(model: ZeroShot, image: Image.Image) -> list[Stage]:
    with (
        encoders.use(model.checkpoint, model.device, model.dtype) as encoder,
        runtime.semaphore(model.device),
        torch.inference_mode(),
    ):
        pixels = encoder.pixels([image])
        made = walk(encoder.vision, pixels)
        stages = [_picture_stage("image", np.asarray(image)), _map_stage("pixels", pixels[0])]
        for name, x in made.stages.items():
            if x.ndim == 4:
                stages.append(_map_stage(name, x[0]))
            else:
                stages.append(_token_stage(name, x[0], made))
        feature = made.image_features[0].float()
        stages.append(_vector_stage("image_features", feature))
        stages.append(_vector_stage("normalised", F.normalize(feature, dim=-1)))
        return stages


def _stage(name: str, kind: str, x: Tensor, picture: np.ndarray) -> Stage:
    return Stage(
        name, kind, tuple(x.shape), float(x.float().mean()), float(x.float().std(correction=0)), picture
    )


def _picture_stage(name: str, pixels: np.ndarray) -> Stage:
    small = Image.fromarray(pixels)
    small.thumbnail((192, 192))
    return Stage(name, "picture", pixels.shape, float(pixels.mean()), float(pixels.std()), np.asarray(small))


def _map_stage(name: str, x: Tensor) -> Stage:
    """A feature map [C, h, w]; three channels are shown as they are."""
    return _stage(name, "map", x, components(x.float().flatten(1).T.cpu().numpy(), (x.shape[1], x.shape[2])))


def _token_stage(name: str, x: Tensor, made: Walk) -> Stage:
    """Tokens [T, W]: the image is made of the places alone."""
    places = x[1:] if made.class_token else x
    return _stage(name, "tokens", x, components(places.float().cpu().numpy(), made.grid))


def _vector_stage(name: str, x: Tensor) -> Stage:
    return _stage(name, "vector", x, strip(x.float().cpu().numpy()))


def components(features: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Features [h*w, C] as an image uint8 [h, w, 3]: the first three principal components as red, green and blue."""
    x = features - features.mean(0)
    if x.shape[1] > 3:
        # The smaller of the two Gram matrices has the same components.
        if len(x) < x.shape[1]:
            values, vectors = np.linalg.eigh(x @ x.T)
            x = vectors[:, :-4:-1] * np.sqrt(values[:-4:-1].clip(0))
        else:
            x = x @ np.linalg.eigh(x.T @ x)[1][:, :-4:-1]
        x = x * np.where(x.sum(0) < 0, -1, 1)
    x = np.pad(x, ((0, 0), (0, 3 - x.shape[1])))
    low, high = np.quantile(x, (0.02, 0.98), axis=0)
    shares = (x - low) / np.where(high > low, high - low, 1)
    return (255 * shares.clip(0, 1)).round().astype(np.uint8).reshape(*grid, 3)


def strip(values: np.ndarray, rows: int = 8) -> np.ndarray:
    """A vector [D] as an image uint8 [rows, about D / rows, 3], painted row by row."""
    return paint(np.pad(values, (0, -len(values) % rows)).reshape(rows, -1))


def paint(values: np.ndarray) -> np.ndarray:
    """A matrix [h, w] as an image uint8 [h, w, 3]: blue below zero, orange above, white at zero."""
    share = (values / max(float(np.abs(values).max()), 1e-12))[..., None]
    above, below = np.array([230, 159, 0]), np.array([0, 114, 178])
    colour = np.where(share > 0, above, below)
    return (255 + np.abs(share) * (colour - 255)).round().astype(np.uint8)
