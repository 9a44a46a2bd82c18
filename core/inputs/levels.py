"""Levels of any depth and meaning to 8-bit RGB, as bright as the file means them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from core.errors import Refusal

PILLOW_16_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
DTYPE_CHARS = 40  # of an array's dtype in a sentence
# Tags of a TIFF, and the values of them that matter here.
BITS, MEANING, COLOUR_MAP, SAMPLE_FORMAT = 258, 262, 320, 339
WHITE_IS_ZERO, UNSIGNED = 0, 1
OVERSHOOT = 0.05  # of 0..1, which filters leave behind
FLOAT_RANGES, INTEGER_RANGES = (1.0, 255.0, 65535.0), (255.0, 65535.0)


def to_rgb(image: Image.Image) -> Image.Image:
    """A new RGB image of any of Pillow's modes."""
    tags = getattr(image, "tag_v2", {})
    if image.mode in PILLOW_16_BIT or image.mode in ("I", "F"):
        return _from_grey(image, tags)
    if image.mode == "LAB":
        return _from_lab(image)
    if image.mode == "P" and COLOUR_MAP in tags and max(tags[COLOUR_MAP]) <= 255:
        # The colours of a TIFF have 16 bits; some programs write 8, which Pillow then reads as black.
        palette = np.array(tags[COLOUR_MAP], np.uint8).reshape(3, -1).T
        image = image.copy()
        image.putpalette(palette.tobytes())
    if image.has_transparency_data:
        return _on_white(image)
    return image.convert("RGB")


def from_array(array: np.ndarray) -> Image.Image:
    """An image of an array [H, W] or [H, W, C] with 1, 3 or 4 channels.

    Raises:
        Refusal: "array_dtype", "array_range", "image_not_finite".
    """
    if array.dtype == np.bool_:
        values = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype == np.uint8:
        values = array
    elif array.dtype == np.uint16:
        values = scaled(array, 65535)
    elif array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise Refusal("image_not_finite")
        low, high = float(array.min()), float(array.max())
        if low < 0 or high > 1:
            raise Refusal("array_range", low=f"{low:g}", high=f"{high:g}")
        values = np.rint(array * 255).astype(np.uint8)
    else:
        raise Refusal("array_dtype", dtype=str(array.dtype)[:DTYPE_CHARS])
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    return Image.fromarray(np.ascontiguousarray(values))


def scaled(levels: np.ndarray, top: int) -> np.ndarray:
    """Integers 0..top, of at most 16 bits, -> 0..255, to the nearest."""
    return ((levels.astype(np.uint32) * 255 + top // 2) // top).clip(0, 255).astype(np.uint8)


def from_open_range(levels: np.ndarray) -> np.ndarray:
    """Levels whose range no header states, to 0..255.

    Unsigned integers of 8 and 16 bits have that of their type. For others the smallest usual range that holds them is
    taken: 0..1 for floats, 0..255, 0..65535, all of 32 or 64 bits for unsigned integers that need the last one; else
    their own.

    Raises:
        Refusal: "image_not_finite".
    """
    if levels.dtype.kind == "u" and levels.dtype.itemsize <= 2:
        return scaled(levels, np.iinfo(levels.dtype).max)
    if not np.isfinite(levels).all():
        raise Refusal("image_not_finite")
    low, high = float(levels.min()), float(levels.max())
    is_float = levels.dtype.kind == "f"
    if is_float and low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
        return np.rint(levels.clip(0, 1) * 255.0).astype(np.uint8)
    ranges = list(FLOAT_RANGES if is_float else INTEGER_RANGES)
    if levels.dtype.kind == "u":
        full = float(np.iinfo(levels.dtype).max)
        ranges += [full] if high > full / 2 else []
    top = next((top for top in ranges if low >= 0 and high <= top), None)
    values = levels.astype(np.float64)
    if top is None:
        values, top = values - low, high - low or 1.0
    return np.rint(values * (255 / top)).astype(np.uint8)


def _from_grey(image: Image.Image, tags: object) -> Image.Image:
    """Grey of 16 bits, integers of 32 bits, or floats; from a TIFF with these tags, perhaps with white as zero."""
    assert hasattr(tags, "get")
    levels = np.asarray(image)
    bits = tags.get(BITS, (16,))[0]
    if image.mode in PILLOW_16_BIT:
        grey = scaled(levels, (1 << bits) - 1)
    else:
        is_unsigned = image.mode == "I" and bits == 32 and tags.get(SAMPLE_FORMAT, (UNSIGNED,))[0] == UNSIGNED
        grey = from_open_range(levels.view(np.uint32) if is_unsigned else levels)
    if tags.get(MEANING) == WHITE_IS_ZERO:
        grey = 255 - grey
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey = np.where(levels == key, 255, grey).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    """An image with an alpha, or with a colour that stands for nothing."""
    key = image.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:
        # A PNG of 16 bits names the colour in 16 bits; Pillow keeps the upper eight of each pixel.
        image = image.copy()
        image.info["transparency"] = tuple(value >> 8 for value in key)
    rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    made = ImageCms.profileToProfile(
        image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert made is not None
    return made
