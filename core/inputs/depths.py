"""Depth maps from outside: the true depth of an image, for error measures.

A map is a PNG of one channel with 16 bits, or an NPY array of two axes. What its numbers mean is told beside it: metres,
millimetres, or the disparity of a stereo pair, which becomes metres by the numbers of its cameras.
"""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from PIL import Image

from core.errors import Refusal
from core.inputs.images import MAX_FILE_BYTES, MAX_PIXELS
from core.inputs.texts import beginning

PNG, NPY = b"\x89PNG\r\n", b"\x93NUMPY"
UNITS = ("metres", "millimetres", "disparity")
DISPARITY_STEPS = 256  # of a pixel, in a PNG: 16 bits hold no fractions


def depths(
    source: str | Path | bytes | None, unit: str = "millimetres", product: float = 1.0, offset: float = 0.0
) -> np.ndarray:
    """A map of metres [H, W] float32, not a number where the depth is unknown: 0, negative or infinite in the file.

    Args:
        source: a file's path or its bytes.
        unit: one of `UNITS`; a disparity is in pixels, in a PNG in 1/256 of a pixel.
        product: of a disparity: baseline in metres times focal length in pixels.
        offset: of a disparity: how far the principal points of both cameras differ, in pixels.

    Raises:
        Refusal: "no_depths", "image_missing", "image_file_too_large", "not_depths", "image_too_large", "unknown_method",
            "out_of_range".
    """
    if source is None or (isinstance(source, str | bytes) and not source):
        raise Refusal("no_depths")
    if unit not in UNITS:
        raise Refusal("unknown_method", name=str(unit)[:40], known=", ".join(UNITS))
    for name, value, low, high in (("product", product, 1e-6, 1e9), ("offset", offset, -1e6, 1e6)):
        if not (math.isfinite(value) and low <= value <= high):
            raise Refusal("out_of_range", name=name, low=low, high=high, value=str(value)[:20])
    data = source if isinstance(source, bytes) else _bytes(Path(source))
    values, is_whole = _values(data)
    if unit == "disparity":
        pixels = values / DISPARITY_STEPS if is_whole else values
        metres = product / np.where(values > 0, pixels + offset, np.nan)
    else:
        metres = values / 1000 if unit == "millimetres" else values
    return np.where(np.isfinite(metres) & (metres > 0), metres, np.nan).astype(np.float32)


def _bytes(path: Path) -> bytes:
    try:
        # A device or a pipe is not read: it may never end.
        if not path.is_file():
            raise FileNotFoundError
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise Refusal("image_file_too_large", size=size >> 20, limit=MAX_FILE_BYTES >> 20)
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise Refusal("image_missing", name=beginning(path.name)) from error


def _values(data: bytes) -> tuple[np.ndarray, bool]:
    """The numbers of a file [H, W] in float64, and whether they are the whole numbers of a PNG."""
    if len(data) > MAX_FILE_BYTES:
        raise Refusal("image_file_too_large", size=len(data) >> 20, limit=MAX_FILE_BYTES >> 20)
    try:
        if data.startswith(PNG):
            with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
                _bounded(image.height, image.width)
                if not image.mode.startswith("I"):
                    raise Refusal("not_depths")
                return np.asarray(image).astype(np.float64), True
        if data.startswith(NPY):
            array = np.load(io.BytesIO(data), allow_pickle=False)
            if array.ndim != 2 or array.dtype.kind not in "fiu" or not array.size:
                raise Refusal("not_depths")
            _bounded(*array.shape)
            return array.astype(np.float64), False
    except (Refusal, MemoryError):
        raise
    except Exception as error:  # a damaged file raises anything
        raise Refusal("not_depths") from error
    raise Refusal("not_depths")


def _bounded(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise Refusal("image_too_large", width=width, height=height, limit=MAX_PIXELS // 1_000_000)
