"""Depth Anything V2 (Yang et al. 2024, https://arxiv.org/abs/2406.09414): what supervised training of depth does today.

It is here beside DepthCLIP for comparison. The model is transformers'. The row's answer is relative: larger is nearer, up
to a scale and a shift that are not known (an affine-invariant inverse depth), so it has no metres either until it is
fitted to a known depth.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from core import inputs, runtime
from core.checkpoints import Checkpoint
from core.clip import encoders
from core.clip.handles import Handle
from core.spatial.depth_errors import NEAREST


@dataclass(frozen=True)
class RelativeDepth:
    """The answer of Depth Anything V2."""

    checkpoint: str
    nearness: np.ndarray  # [H, W] of the image's pixels, at least 0; larger is nearer
    device: str
    seconds: float

    def metres(self, truth: np.ndarray) -> np.ndarray:
        """Depth [H, W] by the scale and shift that fit the inverse of a known depth [H, W] best."""
        known = np.isfinite(truth) & (truth > NEAREST)
        design = np.stack([self.nearness[known], np.ones(int(known.sum()))], 1)
        (scale, shift), *_ = np.linalg.lstsq(design, 1 / truth[known], rcond=None)
        inverse = scale * self.nearness + shift
        return 1 / np.maximum(inverse, 1 / (4 * float(truth[known].max())))


class LoadedDepthAnything:
    """What the pool keeps of a row: the model on its device and how it wants images."""

    def __init__(self, model: Any, processor: Any, device: str, dtype: torch.dtype) -> None:
        self.model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.processor, self.device, self.dtype = processor, device, dtype

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        return runtime.network_bytes(self.model)


def load(paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype) -> LoadedDepthAnything:
    """transformers' class with the weights of a row, and its image processor."""
    transformers = runtime.import_whole("transformers")
    folder = paths["config.json"].parent
    model = encoders.from_transformers(transformers.DepthAnythingForDepthEstimation, folder, row, dtype)
    settings = json.loads(paths["preprocessor_config.json"].read_text(encoding="utf-8"))
    settings.pop("image_processor_type", None)
    return LoadedDepthAnything(model, transformers.DPTImageProcessorPil(**settings), device, dtype)


class DepthAnything(Handle[LoadedDepthAnything]):
    """A light handle: the weights live in the process's model pool."""

    LOADERS = frozenset(("core.spatial.depth_anything:load",))

    def estimate(self, image: Image.Image) -> RelativeDepth:
        """How near every pixel is; image: RGB, from `core.inputs.image`."""
        start = time.perf_counter()
        nearness = NEARNESS.get_or((*self.key, inputs.digest(image)), lambda: _estimate(self, image))
        return RelativeDepth(self.checkpoint, nearness, self.device, time.perf_counter() - start)


NEARNESS: runtime.ByteCache[np.ndarray] = runtime.ByteCache()


@runtime.on_device
def _estimate(model: DepthAnything, image: Image.Image) -> np.ndarray:
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        pixels = loaded.processor(images=image, return_tensors="pt")["pixel_values"]
        depth = loaded.model(pixels.to(loaded.device, loaded.dtype)).predicted_depth
        whole = F.interpolate(depth[:, None].float(), image.size[::-1], mode="bicubic", align_corners=False)
        return whole[0, 0].clamp_min(0).cpu().numpy()
