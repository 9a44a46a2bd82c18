"""PointCLIP: point clouds by CLIP (Zhang et al., CVPR 2022, https://arxiv.org/abs/2112.02413).

A cloud is projected to depth images from several sides (`core.spatial.projection`); CLIP's image tower encodes each; the
features of all views, one behind the other, are compared with the text of each label, repeated for each view:

    logits = scale * sum over views of  weight * view feature . text feature / sqrt(views)

As in the published code depths go into the tower as numbers, without CLIP's mean and deviation ("depth"); "grey" makes
them grey levels, near ones bright, and normalises them as the row's other images. The published view weights are found by
a search on the labels of the test clouds themselves; here they are 1 unless they are given.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core import checkpoints, runtime
from core.clip import DUAL_ENCODERS, encoders, prompts
from core.clip.handles import Handle, remembered_texts
from core.clip.labels import NO_NOTES, Notes, read
from core.clip.zero_shot import MAX_LOGIT_SCALE, normalise
from core.errors import Refusal
from core.inputs import Cloud
from core.spatial.projection import FEW_SHOT, V2, ZERO_SHOT, Perspective, Projection, as_pixels, project

Pixels = Literal["depth", "grey"]

ZERO_SHOT_TEMPLATE = "point cloud depth map of a {}."
FEW_SHOT_TEMPLATE = "point cloud of a big {}."
# What a miniature has read of depth images, and the same in Chinese.
PLAIN_TEMPLATE = "a depth map of a {}"
CHINESE_TEMPLATE = "{}的深度图"
PROJECTIONS: dict[str, Projection] = {"v1": ZERO_SHOT, "v1-ten": FEW_SHOT, "v2": V2}
DARK, LIGHT = 0.06, 0.96  # grey levels of what is far, and near
VIEWS_AT_ONCE = 32
ENCODED_CLOUDS: runtime.ByteCache[EncodedCloud] = runtime.ByteCache()


@dataclass(frozen=True)
class EncodedCloud:
    """The expensive half: the depth images of one cloud and what CLIP's image tower makes of them."""

    checkpoint: str
    digest: str
    views: np.ndarray  # [V, H, W] depth images
    view_features: np.ndarray  # [V, D], not normalised

    @property
    def nbytes(self) -> int:
        """Bytes of images and features."""
        return self.views.nbytes + self.view_features.nbytes


@dataclass(frozen=True)
class PointClassification:
    """The answer first, then what it was made of."""

    checkpoint: str
    labels: tuple[str, ...]
    probabilities: np.ndarray  # [N]
    logits: np.ndarray  # [N], the sum of `view_logits` and what the row adds
    views: np.ndarray  # [V, H, W]
    view_logits: np.ndarray  # [V, N], what each view adds
    view_probabilities: np.ndarray  # [V, N], of each view alone
    view_weights: np.ndarray  # [V]
    view_features: np.ndarray  # [V, D], norm 1
    text_features: np.ndarray  # [N, D], norm 1
    template: str
    logit_scale: float
    device: str
    seconds: float
    timings: dict[str, float] = field(default_factory=dict)  # milliseconds by step
    notes: Notes = NO_NOTES

    @property
    def order(self) -> np.ndarray:
        """Label indices, best first."""
        return np.argsort(-self.logits, kind="stable")

    def to_json(self) -> dict[str, Any]:
        """The answer as plain values, best first."""
        return {
            "checkpoint": self.checkpoint,
            "seconds": round(self.seconds, 4),
            "template": self.template,
            "results": [
                {
                    "label": self.labels[i],
                    "probability": float(self.probabilities[i]),
                    "views": [round(float(value), 4) for value in self.view_probabilities[:, i]],
                }
                for i in self.order
            ],
            **self.notes.to_json(),
        }


def default_template(checkpoint: str, labels: Sequence[str]) -> str:
    """The template for labels: the published one, or what a miniature or a Chinese text encoder has read of depth images."""
    row = checkpoints.row(checkpoint)
    is_chinese = any("\u4e00" <= letter <= "\u9fff" for label in labels for letter in label)
    if is_chinese and "zh" in row.languages:
        return CHINESE_TEMPLATE
    return PLAIN_TEMPLATE if row.bundled else ZERO_SHOT_TEMPLATE


class PointClassifier(Handle[encoders.DualEncoder]):
    """PointCLIP on a CLIP row. A light handle: the weights live in the process's model pool."""

    LOADERS = DUAL_ENCODERS

    def encode(
        self,
        cloud: Cloud | np.ndarray | EncodedCloud,
        projection: Projection = ZERO_SHOT,
        pixels: Pixels = "depth",
    ) -> EncodedCloud:
        """The views of a cloud and their features; remembered by its content.

        Args:
            cloud: from `core.inputs.points`, or points [P, 3] of unit radius, y up.
            projection: how depth images are made.
            pixels: how they go into the tower.
        """
        if isinstance(cloud, EncodedCloud):
            return cloud
        points = cloud.points if isinstance(cloud, Cloud) else np.ascontiguousarray(cloud, np.float32)
        digest = blake2b(points.tobytes() + repr((projection, pixels)).encode(), digest_size=16).hexdigest()

        def make() -> EncodedCloud:
            views, features = _encode(self, points[None], projection, pixels)
            return EncodedCloud(self.checkpoint, digest, views[0], features[0])

        return ENCODED_CLOUDS.get_or((*self.key, digest), make)

    def encode_many(
        self, clouds: np.ndarray, projection: Projection = ZERO_SHOT, pixels: Pixels = "depth"
    ) -> np.ndarray:
        """View features [B, V, D], not normalised, of clouds [B, P, 3]; nothing is remembered."""
        return _encode(self, clouds, projection, pixels)[1]

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Normalised text features [N, D]; only texts that this checkpoint has not seen are computed."""
        return remembered_texts(self.key, texts, lambda missing: _encode_text(self, missing))

    @property
    def scale_and_bias(self) -> tuple[float, float]:
        """The learned inverse temperature, and what a sigmoid row adds to every logit, else 0."""
        return _scale_and_bias(self)

    def classify(
        self,
        cloud: Cloud | np.ndarray | EncodedCloud,
        labels: str | Sequence[str],
        template: str | None = None,
        view_weights: Sequence[float] | None = None,
        *,
        projection: Projection = ZERO_SHOT,
        pixels: Pixels = "depth",
        logit_scale: float | None = None,
    ) -> PointClassification:
        """Ranks labels for a point cloud.

        Args:
            cloud: a cloud, or what `encode` made of it.
            labels: texts, or one text that is cut at commas and lines.
            template: a sentence with `{}`; None for `default_template`.
            view_weights: [V] from 0 on, not all 0; None for 1 each.
            projection, pixels: as of `encode`.
            logit_scale: inverse temperature in place of the learned one; positive.

        Raises:
            Refusal: "bad_logit_scale", "view_weights", and what labels, templates and the checkpoint refuse.
        """
        start = time.perf_counter()
        if logit_scale is not None and not 0 < logit_scale <= MAX_LOGIT_SCALE:
            raise Refusal("bad_logit_scale", value=logit_scale, limit=MAX_LOGIT_SCALE)
        # 1. depth images, and their features
        encoded = self.encode(cloud, projection, pixels)
        weights = check_weights(view_weights, len(encoded.views))
        encoded_at = time.perf_counter()
        # 2. the labels in their sentence
        if template is None:
            from core import inputs

            template = default_template(self.checkpoint, inputs.labels(labels, limit=None))
        (template,) = prompts.resolve(template)[:1]
        offered = read(self.tokenize, labels, (template,))
        text_features = self.encode_text([prompts.fill(template, text) for text in offered.texts])
        texts_at = time.perf_counter()
        # 3. every view against every label, and their weighted sum
        learned, bias = self.scale_and_bias
        scale = logit_scale or learned
        view_features = unit_rows(encoded.view_features)
        cosines = view_features @ text_features.T  # [V, N]
        view_logits = scale * weights[:, None] * cosines / len(weights) ** 0.5
        logits = view_logits.sum(0) + bias
        normalisation = checkpoints.row(self.checkpoint).normalisation
        end = time.perf_counter()
        return PointClassification(
            checkpoint=self.checkpoint,
            labels=offered.names,
            probabilities=normalise(logits, normalisation),
            logits=logits,
            views=encoded.views,
            view_logits=view_logits,
            view_probabilities=normalise(scale * cosines + bias, normalisation),
            view_weights=weights,
            view_features=view_features,
            text_features=text_features,
            template=template,
            logit_scale=scale,
            device=self.device,
            seconds=end - start,
            timings={
                "views": 1000 * (encoded_at - start),
                "encode_text": 1000 * (texts_at - encoded_at),
                "classify": 1000 * (end - texts_at),
            },
            notes=offered.notes,
        )


def check_weights(weights: Sequence[float] | None, views: int) -> np.ndarray:
    """The weights of V views [V]; Refusal("view_weights") where they cannot be."""
    if weights is None:
        return np.ones(views, np.float32)
    values = np.asarray(weights, np.float32)
    if values.shape != (views,) or not (np.isfinite(values) & (values >= 0)).all() or not values.any():
        raise Refusal("view_weights", count=views)
    return values


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Features with norm 1 along the last axis."""
    return features / np.linalg.norm(features, axis=-1, keepdims=True)


def grey_levels(views: Tensor, projection: Projection) -> Tensor:
    """Depth images as grey levels 0 to 1: of a perspective one near points are bright on a dark ground."""
    if not isinstance(projection, Perspective):
        return views
    near = ((projection.distance + 1 - views) / 2).clamp(0, 1)
    return torch.where(views > 0, DARK + (LIGHT - DARK) * near, DARK)


def tower_pixels(
    encoder: encoders.DualEncoder, views: Tensor, projection: Projection, pixels: Pixels
) -> Tensor:
    """Depth images [B, V, h, w] as the image tower takes them: [B V, 3, S, S]."""
    # Preprocessing is the same line for every level of a channel: what it makes of black and of white says which.
    dark, light = (encoder.preprocess(Image.new("RGB", (32, 32), (v, v, v))) for v in (0, 255))
    side = dark.shape[-1]
    if pixels == "depth":
        return as_pixels(views, side)
    levels = as_pixels(grey_levels(views, projection), side)
    dark, light = (one[:, :1, :1].to(levels) for one in (dark, light))
    return dark + (light - dark) * levels


@runtime.on_device
def _encode(
    model: PointClassifier, clouds: np.ndarray, projection: Projection, pixels: Pixels
) -> tuple[np.ndarray, np.ndarray]:
    """Depth images [B, V, H, W] and view features [B, V, D] of clouds [B, P, 3]."""
    with model.use() as encoder, runtime.semaphore(model.device), torch.inference_mode():
        images, features = [], []
        at_once = max(1, VIEWS_AT_ONCE // len(projection.views))
        for part in torch.from_numpy(clouds).split(at_once):
            views = project(part.to(encoder.device), projection)
            seen = tower_pixels(encoder, views, projection, pixels).to(encoder.dtype)
            found = torch.cat([encoder.vision(few).image_features for few in seen.split(VIEWS_AT_ONCE)])
            images.append(views.cpu())
            features.append(found.float().unflatten(0, views.shape[:2]).cpu())
        return torch.cat(images).numpy(), torch.cat(features).numpy()


@runtime.on_device
def _encode_text(model: PointClassifier, texts: Sequence[str]) -> np.ndarray:
    with model.use() as encoder, runtime.semaphore(model.device):
        return encoder.encode_text(texts)


@runtime.on_device
def _scale_and_bias(model: PointClassifier) -> tuple[float, float]:
    with model.use() as encoder:
        return encoder.logit_scale, encoder.logit_bias or 0.0
