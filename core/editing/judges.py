"""CLIP as a judge of images that are being made: features with gradients, and without."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from core.clip import encoders
from core.clip.handles import remembered_texts
from core.editing.optimization import resized


class Judge:
    """A dual encoder that sees images [B, 3, H, W] in -1..1.

    Args:
        normalised: whether the encoder's own mean and deviation are applied. StyleCLIP's published code leaves them out for the
            first two of its methods.
    """

    def __init__(self, encoder: encoders.DualEncoder, normalised: bool = True) -> None:
        self.encoder, self.normalised = encoder, normalised
        self.side = encoder.preprocess.side
        # Preprocessing is the same line for every level of a channel: what it makes of black and of white says which.
        dark, light = (encoder.preprocess(Image.new("RGB", (32, 32), (v, v, v)))[:, :1, :1] for v in (0, 255))
        self.dark, self.span = dark.to(encoder.device), (light - dark).to(encoder.device)

    def __call__(self, images: Tensor) -> Tensor:
        """Features [B, D], float32, not normalised; gradients reach the images."""
        images = resized(images.float(), self.side)
        if self.normalised:
            images = self.dark + self.span * (images / 2 + 0.5)
        features: Tensor = self.encoder.vision(images.to(self.encoder.dtype)).image_features.float()
        return features

    @torch.no_grad()
    def texts(self, texts: list[str]) -> Tensor:
        """Normalised features [N, D]."""
        encoder = self.encoder
        key = (encoder.row.name, encoder.device, str(encoder.dtype))
        features = remembered_texts(key, texts, encoder.encode_text)
        return torch.from_numpy(features).to(encoder.device)

    @torch.no_grad()
    def opinion(self, images: Tensor, texts: list[str]) -> np.ndarray:
        """Cosines [B, N] of images and texts."""
        cosines: np.ndarray = (F.normalize(self(images), dim=-1) @ self.texts(texts).T).cpu().numpy()
        return cosines


def use(checkpoint: str, device: str) -> AbstractContextManager[encoders.DualEncoder]:
    """The encoder of a row of CLIP while the context lasts, in float32, for a `Judge`."""
    return encoders.use(checkpoint, device, torch.float32)
