"""MaskCLIP's trick: segmentation from any CLIP without new weights (Zhou et al. 2022, https://arxiv.org/abs/2112.01071).

The last attention of CLIP's image tower mixes places into one vector. Leave the mixing out and keep its value path, and
each place has a vector of its own that can be compared with texts (section 3.2; `core.clip.towers`). A tower sees only a
small square, so an image is covered with overlapping squares, whose features are averaged where they overlap.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from core import checkpoints, inputs, runtime
from core.clip import ZeroShot, encoders, prompts
from core.clip.labels import read
from core.segmentation.result import Segmentation, answer

WINDOWS_AT_ONCE = 16
ENCODED_IMAGES: runtime.ByteCache[EncodedImage] = runtime.ByteCache()


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


def covering(length: int, window: int, stride: int) -> list[int]:
    """Starts of windows that cover `length`, evenly spread, at most `stride` apart."""
    count = -(-max(0, length - window) // stride) + 1
    return np.linspace(0, length - window, count).round().astype(int).tolist()


@dataclass(frozen=True)
class MaskCLIP:
    """A plain CLIP row as a segmenter. A light handle: the weights live in the process's model pool.

    zoom: squares along the short side; finer places, more passes.
    """

    checkpoint: str
    device: str
    dtype: torch.dtype
    zoom: int = 2

    @classmethod
    def load(
        cls, checkpoint: str, device: str | None = None, dtype: torch.dtype | None = None, zoom: int = 2
    ) -> MaskCLIP:
        """Makes sure that the CLIP row is on this machine and loads it; refuses as `ZeroShot.load` does."""
        clip = ZeroShot.load(checkpoint, device, dtype)
        return cls(clip.checkpoint, clip.device, clip.dtype, zoom)

    @property
    def clip(self) -> ZeroShot:
        """The same row as a classifier of whole images."""
        return ZeroShot(self.checkpoint, self.device, self.dtype)

    def encode(self, image: Image.Image | EncodedImage) -> EncodedImage:
        """The place features of an image (RGB, from `core.inputs.image`); remembered by its content."""
        if isinstance(image, EncodedImage):
            return image
        digest = inputs.digest(image)
        return ENCODED_IMAGES.get_or(
            (*self.clip.key, self.zoom, digest),
            lambda: EncodedImage(self.checkpoint, digest, inputs.size_of(image), *_encode(self, image)),
        )

    def segment(
        self,
        image: Image.Image | EncodedImage,
        labels: str | Sequence[str],
        templates: str | Sequence[str] | None = None,
    ) -> Segmentation:
        """Gives every pixel one of the labels.

        Args:
            image: an image, or what `encode` made of it.
            labels: texts in a language the checkpoint knows, or one text that is cut at commas and lines; those that
                the checkpoint reads alike are one label.
            templates: as in `ZeroShot.classify`.
        """
        start = time.perf_counter()
        encoded = self.encode(image)
        encoded_at = time.perf_counter()
        filled = prompts.resolve(templates)
        offered = read(self.clip.tokenize, labels, filled)
        captions = [prompts.fill(template, text) for template in filled for text in offered.texts]
        per_template = self.clip.encode_text(captions).reshape(len(filled), len(offered), -1)
        text_features = prompts.ensemble(per_template)  # [N, D]
        texts_at = time.perf_counter()
        scale = encoded.logit_scale
        maps = (
            torch.from_numpy(scale * encoded.place_features @ text_features.T).permute(2, 0, 1).contiguous()
        )
        marks = (start, encoded_at, texts_at)
        return answer(self, offered, encoded.size, (maps, maps, maps), text_features, 1 / scale, marks)


@runtime.on_device
def _encode(model: MaskCLIP, image: Image.Image) -> tuple[np.ndarray, float]:
    """Place features [h, w, D] of the whole image, and the row's logit scale."""
    with (
        encoders.use(model.checkpoint, model.device, model.dtype) as encoder,
        runtime.semaphore(model.device),
        torch.inference_mode(),
    ):
        whole = encoder.pixels([image])
        side, grid = whole.shape[-1], encoder.vision(whole).patch_features.shape[1]
        cell = side // grid
        scale = side * model.zoom / min(image.size)
        columns, rows = (max(grid * model.zoom, round(length * scale / cell)) for length in image.size)
        shown = image.resize((columns * cell, rows * cell), Image.Resampling.BICUBIC)
        corners = [
            (x, y) for y in covering(rows, grid, grid // 2) for x in covering(columns, grid, grid // 2)
        ]
        squares = [shown.crop((x * cell, y * cell, x * cell + side, y * cell + side)) for x, y in corners]
        seen = [
            encoder.vision(encoder.pixels(squares[start : start + WINDOWS_AT_ONCE])).patch_features.float()
            for start in range(0, len(squares), WINDOWS_AT_ONCE)
        ]
        features = F.normalize(torch.cat(seen), dim=-1)  # [windows, grid, grid, D]
        total = features.new_zeros(rows, columns, features.shape[-1])
        for (x, y), square in zip(corners, features, strict=True):
            total[y : y + grid, x : x + grid] += square
        return F.normalize(total, dim=-1).cpu().numpy(), encoder.logit_scale


def rows() -> list[str]:
    """The rows that this works on: every CLIP."""
    return [row.name for row in checkpoints.rows("clip")]
