"""One image, two languages: what a label's language changes, and whether both languages mean the same place.

A text encoder that was taught two languages with the same images puts both names of a thing beside each other, though
no pair of names was ever shown to it: the image is the dictionary. Chinese-CLIP (Yang et al. 2022,
https://arxiv.org/abs/2211.01335) was trained because CLIP's text encoder had read English only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from core import checkpoints, inputs, runtime
from core.clip import encoders, reading
from core.clip.zero_shot import EncodedImage, ZeroShot, normalise, scale_and_bias

Way = Literal["zh", "en", "bytes", "clip"]


@dataclass(frozen=True)
class Reader:
    """The answer for one image when the labels reach the text encoder in one way."""

    way: Way  # the language of the labels, Chinese as bytes, or Chinese given to an English-only CLIP
    readings: tuple[reading.Reading, ...]  # N
    probabilities: np.ndarray  # [N]
    cosines: np.ndarray  # [N]


@dataclass(frozen=True)
class Agreement:
    """Names in two languages compared with each other and with one image."""

    english: tuple[str, ...]
    chinese: tuple[str, ...]
    cosines: np.ndarray  # [N, N], English by Chinese
    picture_english: np.ndarray  # [N], the image's cosine with each English name
    picture_chinese: np.ndarray  # [N]

    @property
    def matched(self) -> np.ndarray:
        """[N] of bool: whether an English name's nearest Chinese name is its own."""
        return self.cosines.argmax(axis=1) == np.arange(len(self.english))


def compare(
    model: ZeroShot, image: Image.Image | EncodedImage, chinese: Sequence[str], english: Sequence[str]
) -> list[Reader]:
    """The same question put to one checkpoint in three ways: Chinese labels, English ones, and Chinese as bytes.

    The third is where an English-only CLIP stands: the bytes of the characters arrive, but no caption ever taught it
    what they mean. It is there for checkpoints that have pieces for bytes.

    Args:
        model: a checkpoint that reads both languages.
        image: an image, or what `model.encode` made of it.
        chinese: N labels.
        english: N labels, or none.
    """
    encoded = model.encode(image)
    questions: list[tuple[Way, Sequence[str]]] = [("zh", chinese), ("en", english)]
    readers = []
    for way, labels in questions:
        if labels:
            texts = [inputs.clean(label) for label in labels]
            readings = reading.read(model.checkpoint, texts)
            readers.append(_reader(model, encoded, way, readings, model.encode_text(texts)))
    if reading.has_bytes(model.checkpoint):
        spelled = reading.spell(model.checkpoint, chinese)
        features = _encode_ids(model, [one.ids for one in spelled])
        readers.append(_reader(model, encoded, "bytes", spelled, features))
    return readers


def given_chinese(model: ZeroShot, image: Image.Image | EncodedImage, chinese: Sequence[str]) -> Reader:
    """What a checkpoint that has read English only makes of Chinese labels: its pieces are bytes without meaning."""
    texts = [inputs.clean(label) for label in chinese]
    readings = reading.read(model.checkpoint, texts)
    return _reader(model, model.encode(image), "clip", readings, model.encode_text(texts))


def _reader(
    model: ZeroShot, image: EncodedImage, way: Way, readings: Sequence[reading.Reading], features: np.ndarray
) -> Reader:
    """The answer for labels with these text features [N, D]."""
    scale, bias = scale_and_bias(model)
    cosines = features @ image.image_features
    normalisation = checkpoints.row(model.checkpoint).normalisation
    return Reader(way, tuple(readings), normalise(scale * cosines + bias, normalisation), cosines)


def agreement(
    model: ZeroShot, image: Image.Image | EncodedImage, english: Sequence[str], chinese: Sequence[str]
) -> Agreement:
    """Cosines of N English names with N Chinese ones, pair by pair on the diagonal, and of an image with both."""
    encoded = model.encode(image)
    texts = model.encode_text([inputs.clean(label) for label in (*english, *chinese)])
    first, second = texts[: len(english)], texts[len(english) :]
    return Agreement(
        tuple(english),
        tuple(chinese),
        first @ second.T,
        first @ encoded.image_features,
        second @ encoded.image_features,
    )


@runtime.on_device
def _encode_ids(model: ZeroShot, ids: Sequence[Sequence[int]]) -> np.ndarray:
    place = model.checkpoint, model.device, model.dtype
    with encoders.use(*place) as encoder, runtime.semaphore(model.device):
        return encoder.encode_ids(ids)
