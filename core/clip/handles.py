"""What a model of a page is in hand: a row, a device and a precision; its weights live in the process's model pool."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar, Generic, Self, TypeVar, cast

import numpy as np
import torch
from PIL import Image

from core import checkpoints, inputs, runtime
from core.clip import encoders, reading
from core.clip.tokenizers import Tokenizer

Loaded = TypeVar("Loaded")
Encoded = TypeVar("Encoded")


@dataclass(frozen=True)
class Handle(Generic[Loaded]):
    """A row on a device. Light, so that it pickles; `use` gives what the row's loader made."""

    LOADERS: ClassVar[frozenset[str]]  # "module:function" of what makes such a model; other rows are refused

    checkpoint: str
    device: str
    dtype: torch.dtype

    @classmethod
    def load(cls, checkpoint: str, device: str | None = None, dtype: torch.dtype | None = None) -> Self:
        """Makes sure that the checkpoint is on this machine and loads it.

        Raises:
            Refusal: "unknown_checkpoint", "other_checkpoint", "not_downloaded", "bad_checkpoint", "out_of_memory".
        """
        checkpoints.row(checkpoint, lambda row: row.loader in cls.LOADERS)
        model = cls(checkpoint, device or runtime.pick_device(), dtype or torch.float32)
        if not runtime.zero_gpu():
            model.place()
        return model

    def place(self) -> None:
        """Loads the weights into this process. ZeroGPU wants that at start-up; its workers inherit them."""
        with self.use():
            pass

    def use(self) -> AbstractContextManager[Loaded]:
        """The loaded model while the context lasts: loaded once per process, shared by all users."""
        model = encoders.use(self.checkpoint, self.device, self.dtype, self.LOADERS)
        return cast("AbstractContextManager[Loaded]", model)

    @property
    def tokenize(self) -> Tokenizer:
        """Texts to token ids; without the weights."""
        return reading.tokenizer(self.checkpoint)

    @property
    def key(self) -> tuple[str, str, str]:
        """What a cached feature depends on, besides its input."""
        return self.checkpoint, self.device, str(self.dtype)


def remembered_texts(
    key: tuple[Hashable, ...], texts: Sequence[str], encode: Callable[[list[str]], np.ndarray]
) -> np.ndarray:
    """Text features [N, D]; only texts that are not remembered under this key are computed, each once.

    Args:
        key: what a feature depends on besides its text.
        texts: N texts.
        encode: M texts -> features [M, D].
    """
    known: dict[str, np.ndarray] = {}
    for text in texts:
        feature = encoders.TEXT_FEATURES.get((*key, text))
        if feature is not None:
            known[text] = feature
    missing = list(dict.fromkeys(text for text in texts if text not in known))
    if missing:
        for text, feature in zip(missing, encode(missing), strict=True):
            known[text] = feature
            encoders.TEXT_FEATURES.put((*key, text), feature, feature.nbytes)
    return np.stack([known[text] for text in texts])


def remembered_image(
    key: tuple[Hashable, ...],
    image: Image.Image | Encoded,
    cache: runtime.ByteCache[Encoded],
    encode: Callable[[Image.Image, str, tuple[int, int]], Encoded],
) -> Encoded:
    """What an image is encoded as, made once for its content; what is encoded already stays as it is.

    Args:
        key: what it depends on besides the image.
        image: an image, or what `encode` made of one.
        cache: where it is kept.
        encode: an image, its digest, and width and height of the caller's file -> what it is encoded as.
    """
    if not isinstance(image, Image.Image):
        return image
    digest = inputs.digest(image)
    return cache.get_or((*key, digest), lambda: encode(image, digest, inputs.size_of(image)))
