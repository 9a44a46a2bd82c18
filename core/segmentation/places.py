"""Label maps from features of places that lie in the space of texts: what MaskCLIP's trick and TIPSv2 share.

A tower sees only a small square, so an image is covered with overlapping squares, whose features are averaged where they
overlap. Each place then takes the label with the nearest text feature.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from core.clip import prompts
from core.clip.labels import read
from core.clip.tokenizers import Tokenizer
from core.segmentation.result import Segmentation, answer

WINDOWS_AT_ONCE = 16


@dataclass(frozen=True)
class EncodedImage:
    """The expensive half: features of the places of one image."""

    checkpoint: str
    digest: str
    size: tuple[int, int]  # width, height of the caller's file
    place_features: np.ndarray  # [h, w, D], norm 1 each
    logit_scale: float  # the learned inverse temperature

    @property
    def nbytes(self) -> int:
        """Bytes of the features."""
        return self.place_features.nbytes


class PlaceModel(Protocol):
    """What has features of places and of texts in one space."""

    @property
    def checkpoint(self) -> str:
        """A row of the registry."""

    @property
    def device(self) -> str:
        """Where its network runs."""

    @property
    def tokenize(self) -> Tokenizer:
        """Texts to token ids."""

    def encode(self, image: Image.Image | EncodedImage) -> EncodedImage:
        """The features of an image's places."""

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Normalised features [N, D] of texts."""


def covering(length: int, window: int, stride: int) -> list[int]:
    """Starts of windows that cover `length`, evenly spread, at most `stride` apart."""
    count = -(-max(0, length - window) // stride) + 1
    return np.linspace(0, length - window, count).round().astype(int).tolist()


def place_features(
    image: Image.Image,
    side: int,
    grid: int,
    zoom: int,
    stride: int,
    encode: Callable[[Sequence[Image.Image]], Tensor],
) -> np.ndarray:
    """Features [h, w, D] of the places of a whole image, norm 1 each.

    Args:
        image: of any size; it is enlarged or reduced to whole places.
        side: pixels of the square that the tower sees.
        grid: places along the side of a square.
        zoom: squares along the short side of the image.
        stride: places between the starts of two squares, at most.
        encode: B squares -> features [B, grid, grid, D].
    """
    cell = side // grid
    scale = side * zoom / min(image.size)
    columns, rows = (max(grid * zoom, round(length * scale / cell)) for length in image.size)
    shown = image.resize((columns * cell, rows * cell), Image.Resampling.BICUBIC)
    corners = [(x, y) for y in covering(rows, grid, stride) for x in covering(columns, grid, stride)]
    squares = [shown.crop((x * cell, y * cell, x * cell + side, y * cell + side)) for x, y in corners]
    seen = [
        encode(squares[start : start + WINDOWS_AT_ONCE]).float()
        for start in range(0, len(squares), WINDOWS_AT_ONCE)
    ]
    features = F.normalize(torch.cat(seen), dim=-1)  # [windows, grid, grid, D]
    total = features.new_zeros(rows, columns, features.shape[-1])
    for (x, y), square in zip(corners, features, strict=True):
        total[y : y + grid, x : x + grid] += square
    return F.normalize(total, dim=-1).cpu().numpy()


def segment(
    model: PlaceModel,
    image: Image.Image | EncodedImage,
    labels: str | Sequence[str],
    templates: str | Sequence[str] | None,
) -> Segmentation:
    """Gives every pixel the label whose text feature is nearest to its place's feature.

    Args:
        model: whose features.
        image: an image, or what the model's `encode` made of it.
        labels: texts in a language the checkpoint knows, or one text that is cut at commas and lines; those that
            the checkpoint reads alike are one label.
        templates: as in `ZeroShot.classify`.
    """
    start = time.perf_counter()
    encoded = model.encode(image)
    encoded_at = time.perf_counter()
    filled = prompts.resolve(templates)
    offered = read(model.tokenize, labels, filled)
    captions = [prompts.fill(template, text) for template in filled for text in offered.texts]
    per_template = model.encode_text(captions).reshape(len(filled), len(offered), -1)
    text_features = prompts.ensemble(per_template)  # [N, D]
    texts_at = time.perf_counter()
    scale = encoded.logit_scale
    cosines = encoded.place_features @ text_features.T  # [h, w, N]
    maps = torch.from_numpy(scale * cosines).permute(2, 0, 1).contiguous()
    marks = (start, encoded_at, texts_at)
    return answer(model, offered, encoded.size, (maps, maps, maps), text_features, 1 / scale, marks)
