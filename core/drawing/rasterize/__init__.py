"""Differentiable strokes to pixels: open cubic Bezier paths, one interface and three backends.

    image = render(points, widths, colors, (224, 224))

The geometry is that of SVG: pixel (row i, column j) covers x in [j, j + 1) and y in [i, i + 1), y points
down, a width is the full visible width, caps and joins are round. A path is one layer: where it crosses
itself it is not painted twice. Layers are composited with "over" in the order of the paths, each with the
area of the pixel that it covers, so the edge of a coloured stroke is an exact mixture (diffvg's usual call
darkens it).

Backends: `torch` runs everywhere (of the three devices it has been tried on the CPU only), `triton` on CUDA
(not tried on a GPU yet), `diffvg` where pydiffvg is installed. `auto` takes triton on CUDA after it has
agreed with torch on a small scene, else torch; the environment variable CLIP_ATLAS_RASTERIZER forces one.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
from collections.abc import Sequence
from functools import cache
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

from core.errors import Refusal

BACKENDS = ("torch", "triton", "diffvg")
VARIABLE = "CLIP_ATLAS_RASTERIZER"
QUALITIES = (1, 2, 4)

Background = float | Sequence[float] | Tensor


def render(
    points: Tensor,
    widths: Tensor,
    colors: Tensor,
    size: int | tuple[int, int],
    background: Background = 1.0,
    *,
    quality: int = 1,
    backend: str | None = None,
) -> Tensor:
    """Draw scenes of strokes; differentiable in points, widths and colors.

    Args:
        points: [B, S, P, 2] control points (x, y) in pixels, P = 3 n + 1 for paths of n cubics each; paths of
            fewer cubics are filled up by repeating their last point (`core.drawing.bezier.pad`).
        widths: [B, S] full widths in pixels; zero and below draw nothing. colors: [B, S, 4] red, green,
        blue, alpha in 0..1, not premultiplied. size: (height, width) in pixels, or one number for a square.
        background: a grey, a colour [3], an image [3, H, W] or a batch [B, 3, H, W], in 0..1; no gradient.
        quality: 2 or 4 draws at that multiple of the size and averages boxes of pixels: nearer the truth
        where
            strokes cross within a pixel, the one thing that coverage stroke by stroke cannot know.
        backend: one of BACKENDS or "auto"; None asks CLIP_ATLAS_RASTERIZER, then "auto".

    Returns:
        image [B, 3, H, W] in float32 (float64 for float64 points), in 0..1 for colours in 0..1.

    Raises:
        ValueError: a shape or number that makes no scene. Numbers on a GPU are not looked at, so as not to
            wait for it; strokes that are not finite are then not drawn.
        Refusal: unknown_rasterizer, no_rasterizer.
    """
    height, width = (size, size) if isinstance(size, int) else size
    dtype = torch.float64 if points.dtype == torch.float64 else torch.float32
    points, widths, colors = _check(points.to(dtype), widths, colors, height, width, quality)
    ground = _ground(background, points)
    if ground[0, 0].numel() > 1:
        if ground.shape[2:] != (height, width):
            raise ValueError(f"background must be {height} x {width}, got {list(ground.shape[2:])}")
        ground = F.interpolate(ground, scale_factor=quality) if quality > 1 else ground
    module = load(chosen(points.device.type, backend))
    scaled = (height * quality, width * quality)
    if quality > 1:
        points, widths = points * quality, widths * quality
    with torch.autocast(points.device.type, enabled=False):
        image: Tensor = module.render(points, widths, colors, scaled, ground)
        return F.avg_pool2d(image, quality) if quality > 1 else image


def _check(
    points: Tensor, widths: Tensor, colors: Tensor, height: int, width: int, quality: int
) -> tuple[Tensor, Tensor, Tensor]:
    if points.ndim != 4 or points.shape[3] != 2 or points.shape[2] % 3 != 1 or points.shape[2] < 4:
        raise ValueError(f"points must be [B, S, 3 n + 1, 2], got {list(points.shape)}")
    B, S = points.shape[:2]
    if widths.shape != (B, S) or colors.shape != (B, S, 4):
        got = f"{list(widths.shape)} and {list(colors.shape)}"
        raise ValueError(f"widths must be {[B, S]} and colors {[B, S, 4]}, got {got}")
    if height < 1 or width < 1:
        raise ValueError(f"size must be at least 1 x 1, got {height} x {width}")
    if quality not in QUALITIES:
        raise ValueError(f"quality must be one of {QUALITIES}, got {quality}")
    if points.device.type != "cuda":
        for name, values in (("points", points), ("widths", widths), ("colors", colors)):
            if not values.isfinite().all():
                raise ValueError(f"{name} must be finite")
    return points, widths.to(points.dtype), colors.to(points.dtype)


def _ground(background: Background, points: Tensor) -> Tensor:
    """[B or 1, 3, H or 1, W or 1] on the device of the points."""
    ground = torch.as_tensor(background, dtype=points.dtype, device=points.device).detach()
    if ground.ndim == 0:
        ground = ground.expand(3)
    if ground.shape == (3,):
        return ground.reshape(1, 3, 1, 1)
    if ground.ndim == 3:
        ground = ground[None]
    if ground.ndim != 4 or ground.shape[1] != 3 or ground.shape[0] not in (1, points.shape[0]):
        raise ValueError(
            f"background must be a grey, [3], [3, H, W] or [B, 3, H, W], got {list(ground.shape)}"
        )
    return ground


def chosen(device: str, backend: str | None = None) -> str:
    """The backend that a render on this device ("cuda", "mps", "cpu") uses: a member of BACKENDS.

    Raises:
        Refusal: unknown_rasterizer, no_rasterizer.
    """
    name = (backend or os.environ.get(VARIABLE) or "auto").strip().lower()
    if name == "auto":
        return "triton" if device == "cuda" and _triton_agrees() else "torch"
    if name not in BACKENDS:
        raise Refusal("unknown_rasterizer", name=name, known=", ".join(("auto", *BACKENDS)))
    if not _can(name, device):
        raise Refusal("no_rasterizer", name=name, device=device)
    return name


def available(device: str) -> list[str]:
    """The backends that can run on this device, here and now."""
    return [name for name in BACKENDS if _can(name, device)]


def load(name: str) -> ModuleType:
    """The module of a backend; each has `render(points, widths, colors, size, background)`."""
    return importlib.import_module(f"{__name__}.{name}_backend")


def _can(name: str, device: str) -> bool:
    if name == "torch":
        return True
    if name == "diffvg":
        return importlib.util.find_spec("pydiffvg") is not None
    # Triton's interpreter runs the kernels on the CPU, slowly: for tests.
    on_device = device == "cuda" or (device == "cpu" and os.environ.get("TRITON_INTERPRET") == "1")
    return on_device and importlib.util.find_spec("triton") is not None


@cache
def _triton_agrees() -> bool:
    """Whether the triton backend draws a small scene, and its gradient, as the torch backend does."""
    if not _can("triton", "cuda"):
        return False
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(2, 3, 7, 2, generator=generator) * 40
    widths, colors = torch.rand(2, 3, generator=generator) * 4 + 1, torch.rand(2, 3, 4, generator=generator)
    size, weight = (40, 48), torch.randn(2, 3, 40, 48, generator=generator).cuda()
    answers = []
    try:
        for name in ("torch", "triton"):
            leaves = [value.cuda().requires_grad_() for value in (points, widths, colors)]
            image = load(name).render(*leaves, size, torch.ones(1, 3, 1, 1, device="cuda"))
            answers.append((image.detach(), *torch.autograd.grad((image * weight).sum(), leaves)))
    except Exception:
        # Whatever a compiler or a driver may raise, the other backend still draws.
        logging.getLogger(__name__).exception("the triton rasterizer failed; drawing with torch")
        return False
    worst = max(float((a - b).norm() / a.norm()) for a, b in zip(*answers, strict=True))
    if not worst < 0.05:
        logging.getLogger(__name__).error("triton and torch differ by %.3f; drawing with torch", worst)
        return False
    return True
