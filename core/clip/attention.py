"""What reads what in CLIP's image tower: the attention of one reader, in every layer and head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from core import inputs, runtime
from core.clip import encoders
from core.clip.walk import walk
from core.clip.zero_shot import ZeroShot
from core.errors import Refusal

ATTENTIONS: runtime.ByteCache[Attention] = runtime.ByteCache()


@dataclass(frozen=True)
class Attention:
    """Who reads what: for each layer and head the weights of one reader over the places."""

    layers: tuple[str, ...]
    weights: np.ndarray  # [layers, heads, h, w]
    kept: (
        np.ndarray
    )  # [layers, heads], what the reader leaves on the token of the whole image; both sum to one
    reader: tuple[int, int] | None  # row, column of the place that reads; None for the whole image
    mean: tuple[
        bool, ...
    ]  # per layer, whether it has no token for the whole picture: the mean of all readers
    crop: tuple[float, float, float, float]

    def to_json(self) -> dict[str, Any]:
        """The weights as plain values."""
        return {
            "layers": list(self.layers),
            "heads": self.weights.shape[1],
            "grid": list(self.weights.shape[2:]),
            "crop": [float(value) for value in self.crop],
            "weights": np.round(self.weights, 6).tolist(),
            "kept": np.round(self.kept, 6).tolist(),
            "mean": list(self.mean),
        }

    @property
    def entropy(self) -> np.ndarray:
        """How spread out each head reads, [layers, heads]: 0 is one place, 1 all places alike."""
        flat = self.weights.reshape(*self.weights.shape[:2], -1)
        shares = flat / flat.sum(-1, keepdims=True).clip(1e-12)
        spread = -(shares * np.log(shares.clip(1e-12))).sum(-1)
        return spread / max(np.log(flat.shape[-1]), 1e-12)


def attend(model: ZeroShot, image: Image.Image, reader: tuple[int, int] | None = None) -> Attention:
    """What one reader attends to, in every layer and head.

    A ViT's reader is its class token; a ResNet has attention only in its pool, where the mean of the places reads; SigLIP
    has a probe in its pool, and in the blocks before it the mean of all places is given.

    Args:
        model: the classifier.
        image: RGB, from `core.inputs.image`.
        reader: row and column of a place that reads instead.

    Raises:
        Refusal: "no_such_place".
    """
    key = (*model.key, inputs.digest(image), reader)
    return ATTENTIONS.get_or(key, lambda: _attention(model, image, reader), lambda made: made.weights.nbytes)


@runtime.on_device
def _attention(model: ZeroShot, image: Image.Image, reader: tuple[int, int] | None) -> Attention:
    with (
        encoders.use(model.checkpoint, model.device, model.dtype) as encoder,
        runtime.semaphore(model.device),
        torch.inference_mode(),
    ):
        made = walk(encoder.vision, encoder.pixels([image]))
        rows, columns = made.grid
        if reader and not (0 <= reader[0] < rows and 0 <= reader[1] < columns):
            raise Refusal("no_such_place", row=reader[0], column=reader[1], rows=rows, columns=columns)
        weights, mean = [], []
        for one in made.attention.values():
            row, is_mean = _reader_row(one[0], rows * columns, reader, columns)
            weights.append(row)
            mean.append(is_mean)
        read = torch.stack(weights).float().cpu().numpy()  # [layers, heads, 1 + h*w]
        return Attention(
            layers=tuple(made.attention),
            weights=read[..., 1:].reshape(*read.shape[:2], rows, columns),
            kept=read[..., 0],
            reader=reader,
            mean=tuple(mean),
            crop=encoder.preprocess.crop(*inputs.size_of(image)),
        )


def _reader_row(
    one: Tensor, places: int, reader: tuple[int, int] | None, columns: int
) -> tuple[Tensor, bool]:
    """The row of one reader in weights [heads, Q, T], as [heads, 1 + h*w]; whether it is a mean of all readers."""
    extra = one.shape[-1] - places  # 1 where there is a token for the whole image
    probe = one.shape[1] == 1
    if reader is not None and not probe:
        row, mean = one[:, extra + reader[0] * columns + reader[1]], False
    elif extra or probe:
        row, mean = one[:, 0], False
    else:
        row, mean = one.mean(1), True
    return (row if extra else F.pad(row, (1, 0))), mean
