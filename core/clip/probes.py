"""What published answers ask of a dual encoder; see `core.checkpoints.known`. Every function gets the name of a row, the images
and texts of an answer, and a device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image

from core.clip import encoders
from core.clip.zero_shot import Classification, ZeroShot


def logits(row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str) -> list[list[float]]:
    """Logits [images, texts], scale and bias included."""
    return [found.logits.tolist() for found in _classified(row, images, texts, device)]


def probabilities(
    row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str
) -> list[list[float]]:
    """Probabilities [images, texts] in the row's own normalisation."""
    return [found.probabilities.tolist() for found in _classified(row, images, texts, device)]


def best_texts(row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str) -> list[str]:
    """The text that fits each image best."""
    return [found.labels[int(found.order[0])] for found in _classified(row, images, texts, device)]


def _classified(
    row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str
) -> list[Classification]:
    model = ZeroShot.load(row, device, torch.float32)
    return [model.classify(image, texts) for image in images]


@torch.inference_mode()
def text_features(
    row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str
) -> list[list[float]]:
    """The first three numbers of each text's feature, not normalised."""
    with encoders.use(row, device, torch.float32) as encoder:
        features = encoder.text(encoder.text.tokenize(texts), device)
        return features[:, :3].float().tolist()


@torch.inference_mode()
def energies(row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str) -> list[float]:
    """The mean square of the features of the images and of the texts, not normalised."""
    with encoders.use(row, device, torch.float32) as encoder:
        seen = encoder.vision(encoder.pixels(images)).image_features
        read = encoder.text(encoder.text.tokenize(texts), device)
        return [float(features.float().square().mean()) for features in (seen, read)]
