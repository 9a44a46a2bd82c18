"""MaskCLIP's trick: segmentation from any CLIP without new weights (Zhou et al. 2022, https://arxiv.org/abs/2112.01071).

The last attention of CLIP's image tower mixes places into one vector. Leave the mixing out and keep its value path, and
each place has a vector of its own that can be compared with texts (section 3.2; `core.clip.towers`, `places`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from core import checkpoints, runtime
from core.clip import ZeroShot, encoders
from core.clip.handles import remembered_image
from core.clip.tokenizers import Tokenizer
from core.segmentation import places
from core.segmentation.places import EncodedImage
from core.segmentation.result import Segmentation

ENCODED_IMAGES: runtime.ByteCache[EncodedImage] = runtime.ByteCache()


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

    @property
    def tokenize(self) -> Tokenizer:
        """Texts to token ids."""
        return self.clip.tokenize

    def encode(self, image: Image.Image | EncodedImage) -> EncodedImage:
        """The place features of an image (RGB, from `core.inputs.image`); remembered by its content."""
        return remembered_image(
            (*self.clip.key, self.zoom),
            image,
            ENCODED_IMAGES,
            lambda image, digest, size: EncodedImage(self.checkpoint, digest, size, *_encode(self, image)),
        )

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Normalised text features [N, D]; only new ones are computed."""
        return self.clip.encode_text(texts)

    def segment(
        self,
        image: Image.Image | EncodedImage,
        labels: str | Sequence[str],
        templates: str | Sequence[str] | None = None,
    ) -> Segmentation:
        """Gives every pixel one of the labels; see `places.segment`."""
        return places.segment(self, image, labels, templates)


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
        features = places.place_features(
            image,
            side,
            grid,
            model.zoom,
            grid // 2,
            lambda squares: encoder.vision(encoder.pixels(squares)).patch_features,
        )
        return features, encoder.logit_scale


def rows() -> list[str]:
    """The rows that this works on: every CLIP."""
    return [row.name for row in checkpoints.rows("clip")]
