"""What an image costs before a transformer can read it (Kim et al. 2021, figure 1): regions of a detector, a grid of a
convolutional network, or patches. The networks have no trained weights: how long they take does not depend on them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from core import runtime

Kind = Literal["regions", "grid", "patches"]
SIZE = (384, 512)  # height and width of the published preprocessing of a 4:3 photograph
WIDTH, HEADS, LAYERS, PATCH = 768, 12, 12, 32  # of ViLT-B/32, and of the transformers before it
WORDS, REGIONS = 12, 36  # words of a question; regions that models with a detector commonly keep
STRIDE = 32  # of a ResNet


@dataclass(frozen=True)
class Cost:
    """Milliseconds of one image and one question, by part."""

    kind: Kind
    embedding: float  # from pixels to tokens
    transformer: float  # all layers on words and image tokens
    tokens: int  # of the image

    @property
    def total(self) -> float:
        """Of both."""
        return self.embedding + self.transformer


def measure(size: tuple[int, int] = SIZE, width: int = WIDTH) -> list[Cost]:
    """The three ways, each timed once after a warm-up, on the CPU.

    Args:
        size: height and width of the image in pixels.
        width: of the transformer.
    """
    from torchvision.models import resnet50
    from torchvision.models.detection import fasterrcnn_resnet50_fpn

    height, wide = size
    grid = height // STRIDE * (wide // STRIDE)
    image = torch.rand(3, height, wide, generator=torch.Generator().manual_seed(0))

    def regions() -> Callable[[], object]:
        detector = fasterrcnn_resnet50_fpn(
            weights=None, weights_backbone=None, min_size=height, max_size=max(size)
        ).eval()
        return lambda: detector([image])

    def trunk() -> Callable[[], object]:
        network = nn.Sequential(*list(resnet50(weights=None).children())[:-2]).eval()
        return lambda: network(image[None])

    def patches() -> Callable[[], object]:
        patch = nn.Conv2d(3, width, PATCH, PATCH)
        return lambda: patch(image[None])

    # One network after another is made and forgotten: together they take 300 MB.
    ways: dict[Kind, tuple[Callable[[], Callable[[], object]], int]] = {
        "regions": (regions, REGIONS),
        "grid": (trunk, grid),
        "patches": (patches, height // PATCH * (wide // PATCH)),
    }
    costs = []
    with runtime.semaphore("cpu"), torch.inference_mode():
        layer = nn.TransformerEncoderLayer(width, HEADS, 4 * width, batch_first=True, norm_first=True).eval()
        for kind, (network, tokens) in ways.items():
            line = torch.rand(1, WORDS + tokens, width)
            passes = LAYERS * milliseconds(lambda line=line: layer(line))  # type: ignore[misc]
            costs.append(Cost(kind, milliseconds(network()), passes, tokens))
    return costs


def milliseconds(call: Callable[[], Tensor | object]) -> float:
    """Of the second call; the first one warms up."""
    call()
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def passes(images: int, texts: int) -> tuple[int, int]:
    """Passes through the network that ranking texts for images takes: of a cross-encoder, which reads every pair, and of two
    encoders, which read each image and each text once."""
    return images * texts, images + texts
