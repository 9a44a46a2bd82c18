"""What published answers ask of Depth Anything; see `core.checkpoints.known`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image

from core.spatial.depth_anything import DepthAnything


@torch.inference_mode()
def nearness(row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str) -> list[list[float]]:
    """The corner [3, 3] of the map, at the size that the network answers in."""
    with DepthAnything.load(row, device, torch.float32).use() as loaded:
        pixels = loaded.processor(images=images[0], return_tensors="pt")["pixel_values"]
        return loaded.model(pixels.to(device, loaded.dtype)).predicted_depth[0, :3, :3].float().tolist()
