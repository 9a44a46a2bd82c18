"""Zero-shot classification: a classifier written in words (CLIP, Radford et al. 2021, section 3.1).

The labels become captions, the captions become the weights of a linear classifier over the image feature:

    logits = logit_scale * image_features @ text_features.T        (figure 3, its last lines)
    probabilities = softmax(logits)

A softmax over the labels that were offered always sums to one, also when none of them is right; the cosines
do not have to, and `absence_line` says how high an unrelated word reaches on the same image.
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core import checkpoints, inputs, runtime
from core.clip import DUAL_ENCODERS, encoders, prompts
from core.clip.handles import Handle, remembered_image, remembered_texts
from core.clip.labels import NO_NOTES, Notes, read
from core.errors import Refusal

# Encoded images by checkpoint and content, so that a new label or slider never encodes an image again.
ENCODED_IMAGES: runtime.ByteCache[EncodedImage] = runtime.ByteCache()
# The share of unrelated words that stays under the absence line.
ABSENCE_QUANTILE = 0.95
MAX_LOGIT_SCALE = 1000


@dataclass(frozen=True)
class EncodedImage:
    """The expensive half: one image in the joint space of one checkpoint."""

    checkpoint: str
    digest: str
    size: tuple[int, int]  # width, height of the caller's file
    crop: tuple[float, float, float, float]  # what the tower saw: xyxy pixels of the caller's file
    image_features: np.ndarray  # [D], norm 1
    patch_features: np.ndarray  # [h, w, D], norm 1 each

    @property
    def nbytes(self) -> int:
        """Bytes of the features."""
        return self.image_features.nbytes + self.patch_features.nbytes


@dataclass(frozen=True)
class Classification:
    """The answer first, then what it was made of."""

    checkpoint: str
    labels: tuple[str, ...]
    probabilities: np.ndarray  # [N], in [0, 1]; sums to one where normalisation is "softmax"
    cosines: np.ndarray  # [N], in [-1, 1]
    logits: np.ndarray  # [N] = logit_scale * cosines + logit_bias
    cosines_per_template: np.ndarray  # [M, N]
    templates: tuple[str, ...]
    image_features: np.ndarray  # [D]
    text_features: np.ndarray  # [N, D]
    relevance: np.ndarray  # [N, h, w], cosine of each patch with each label
    crop: tuple[float, float, float, float]
    logit_scale: float  # the one used
    learned_logit_scale: float
    logit_bias: float
    normalisation: str
    device: str
    seconds: float
    timings: dict[str, float]  # milliseconds by step
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
            "results": [
                {
                    "label": self.labels[i],
                    "probability": float(self.probabilities[i]),
                    "cosine": float(self.cosines[i]),
                }
                for i in self.order
            ],
            **self.notes.to_json(),
        }


def normalise(logits: np.ndarray, normalisation: str) -> np.ndarray:
    """Logits [..., N] -> probabilities: "softmax" over the last axis, or "sigmoid" each by itself."""
    if normalisation == "sigmoid":
        return np.exp(-np.logaddexp(0, -logits))  # no overflow, and no zero where there is a tiny one
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


class ZeroShot(Handle[encoders.DualEncoder]):
    """CLIP as a zero-shot classifier. A light handle: the weights live in the process's model pool."""

    LOADERS = DUAL_ENCODERS

    def encode(self, image: Image.Image | EncodedImage) -> EncodedImage:
        """One image (RGB, from `core.inputs.image`) in the joint space; remembered by its content."""
        return remembered_image(
            self.key,
            image,
            ENCODED_IMAGES,
            lambda image, digest, size: EncodedImage(
                self.checkpoint, digest, size, *_encode_image(self, image)
            ),
        )

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Normalised text features [N, D]; only texts that this checkpoint has not seen are computed."""
        return remembered_texts(self.key, texts, lambda missing: _encode_text(self, missing))

    def classify(
        self,
        image: Image.Image | EncodedImage,
        labels: str | Sequence[str],
        templates: str | Sequence[str] | None = None,
        logit_scale: float | None = None,
    ) -> Classification:
        """Ranks labels for one image.

        Args:
            image: an image, or what `encode` made of it.
            labels: texts in a language the checkpoint knows, or one text that is cut at commas and lines; those that
                the checkpoint reads alike are one label.
            templates: a set's name, custom templates with `{}`, or None for bare labels.
            logit_scale: inverse temperature in place of the learned one; positive.

        Raises:
            Refusal: "bad_logit_scale"; what `inputs.labels`, `prompts.resolve` and the checkpoint refuse.
        """
        start = time.perf_counter()
        if logit_scale is not None and not 0 < logit_scale <= MAX_LOGIT_SCALE:
            raise Refusal("bad_logit_scale", value=logit_scale, limit=MAX_LOGIT_SCALE)
        row = checkpoints.row(self.checkpoint)
        templates = prompts.resolve(templates)
        encoded = self.encode(image)
        encoded_at = time.perf_counter()
        offered = read(self.tokenize, labels, templates)
        captions = [prompts.fill(template, text) for template in templates for text in offered.texts]
        per_template = self.encode_text(captions).reshape(len(templates), len(offered), -1)  # [M, N, D]
        text_features = prompts.ensemble(per_template)  # [N, D]
        texts_at = time.perf_counter()

        learned_scale, bias = scale_and_bias(self)
        scale = logit_scale or learned_scale
        cosines = text_features @ encoded.image_features
        logits = scale * cosines + bias
        end = time.perf_counter()
        return Classification(
            checkpoint=self.checkpoint,
            labels=offered.names,
            probabilities=normalise(logits, row.normalisation),
            cosines=cosines,
            logits=logits,
            cosines_per_template=per_template @ encoded.image_features,
            templates=templates,
            image_features=encoded.image_features,
            text_features=text_features,
            relevance=np.moveaxis(encoded.patch_features @ text_features.T, -1, 0),
            crop=encoded.crop,
            logit_scale=scale,
            learned_logit_scale=learned_scale,
            logit_bias=bias,
            normalisation=row.normalisation,
            device=self.device,
            seconds=end - start,
            timings={
                "encode_image": 1000 * (encoded_at - start),
                "encode_text": 1000 * (texts_at - encoded_at),
                "classify": 1000 * (end - texts_at),
            },
            notes=offered.notes,
        )

    def compare_templates(
        self,
        image: Image.Image | EncodedImage,
        labels: str | Sequence[str],
        templates: Sequence[str],
        logit_scale: float | None = None,
    ) -> list[Classification]:
        """The same labels under several template sets; the image is encoded once."""
        encoded = self.encode(image)
        return [self.classify(encoded, labels, name, logit_scale) for name in templates]

    def absence_line(
        self,
        image: Image.Image | EncodedImage,
        templates: str | Sequence[str] | None = None,
        language: str = "en",
    ) -> float:
        """The cosine that an unrelated word hardly reaches on this image.

        It is the 95th percentile of the image's cosines with 120 everyday words under the same templates. A
        set of labels whose best cosine is under it is best read as "none of these".
        """
        encoded = self.encode(image)
        words = background_words(language)
        cosines = self.classify(encoded, words, templates).cosines
        return float(np.quantile(cosines, ABSENCE_QUANTILE))


@cache
def background_words(language: str) -> tuple[str, ...]:
    """The everyday words of `words.toml` in "en" or "zh"."""
    pairs = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))["words"]
    return tuple(pair[1 if language == "zh" else 0] for pair in pairs)


@runtime.on_device
def _encode_image(
    model: ZeroShot, image: Image.Image
) -> tuple[tuple[float, float, float, float], np.ndarray, np.ndarray]:
    with model.use() as encoder, runtime.semaphore(model.device):
        return encoder.preprocess.crop(*inputs.size_of(image)), *encoder.encode_patches(image)


@runtime.on_device
def _encode_text(model: ZeroShot, texts: Sequence[str]) -> np.ndarray:
    with model.use() as encoder, runtime.semaphore(model.device):
        return encoder.encode_text(texts)


@cache
def scale_and_bias(model: ZeroShot) -> tuple[float, float]:
    """The learned inverse temperature of a checkpoint, and what a sigmoid row adds to every logit, else 0."""
    return _read_scale_and_bias(model)


@runtime.on_device
def _read_scale_and_bias(model: ZeroShot) -> tuple[float, float]:
    with model.use() as encoder:
        return encoder.logit_scale, encoder.logit_bias or 0.0
