"""Images from outside: decoded by content, upright, RGB, alpha on white, of a bounded size, without metadata."""

from __future__ import annotations

import io
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image

from core.errors import Refusal
from core.inputs.texts import beginning, clean

MAX_FILE_BYTES = 50 << 20
MAX_PIXELS = 40_000_000
MAX_ASPECT = 100
DTYPE_CHARS = 40  # of an array's dtype in a sentence

PILLOW_16_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
# Pillow's filters average these modes rightly: no palette, and alpha is multiplied in.
REDUCIBLE = ("L", "LA", "RGB", "RGBA", "CMYK")
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def image(
    source: str | Path | bytes | Image.Image | np.ndarray | None, *, max_side: int = 2048
) -> Image.Image:
    """A clean picture: RGB, upright, alpha on white, first frame, no metadata, bounded size.

    Formats are told by content, never by name: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF; HEIC where Pillow has a
    plugin for it. 16-bit levels are scaled to 8 bits, not clipped; colour profiles are ignored, as the
    encoders' own pipelines do.

    Args:
        source: a file's path or its bytes; a Pillow image; or an array [H, W], [H, W, 1], [H, W, 3] or
            [H, W, 4] of bool, uint8, uint16 (full range 65535) or floats in [0, 1].
        max_side: a longer side is reduced to this many pixels, the other in proportion.

    Returns:
        A new RGB image, width and height at most `max_side`.

    Raises:
        Refusal: "no_image", "image_missing", "image_is_address", "image_file_too_large", "image_svg",
            "image_heic", "not_an_image", "image_broken", "image_empty", "image_too_large", "image_too_thin",
            "image_not_finite", "image_no_memory", "array_shape", "array_dtype", "array_range".
    """
    try:
        return _read(source, max_side)
    except MemoryError as error:
        raise Refusal("image_no_memory") from error


def digest(image: Image.Image) -> str:
    """A hash of a picture's pixels, for caches: 32 hexadecimal digits."""
    hashed = blake2b(f"{image.mode} {image.width} {image.height} ".encode(), digest_size=16)
    hashed.update(image.tobytes())
    return hashed.hexdigest()


def _read(source: str | Path | bytes | Image.Image | np.ndarray | None, max_side: int) -> Image.Image:
    if source is None or (isinstance(source, str | bytes) and not source):
        raise Refusal("no_image")
    if isinstance(source, Image.Image):
        return _finish(source, max_side)
    if isinstance(source, np.ndarray):
        return _finish(_from_array(source), max_side)
    if isinstance(source, bytes):
        return _decode(io.BytesIO(source), len(source), max_side)
    if not isinstance(source, str | Path):
        raise Refusal("not_an_image")
    if "://" in str(source) or str(source).startswith("data:"):
        raise Refusal("image_is_address")
    path = Path(source)
    try:
        # A device or a pipe is not read: it may never end.
        if not path.is_file():
            raise FileNotFoundError
        with path.open("rb") as file:
            return _decode(file, path.stat().st_size, max_side)
    except (OSError, ValueError) as error:
        raise Refusal("image_missing", name=beginning(clean(path.name))) from error


def _decode(file: BinaryIO, size: int, max_side: int) -> Image.Image:
    if size > MAX_FILE_BYTES:
        raise Refusal("image_file_too_large", size=size >> 20, limit=MAX_FILE_BYTES >> 20)
    kind = _sniff(file.read(4096))
    file.seek(0)
    if kind not in Image.OPEN:
        Image.init()
    if kind == "HEIF" and kind not in Image.OPEN:
        raise Refusal("image_heic")
    try:
        # The plugin itself, not Image.open, which warns and refuses by a limit of the whole process.
        picture = Image.OPEN[kind][0](file, "")
        _check_size(*picture.size)
        # JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the time; the rest of the way is a proper filter.
        picture.draft(picture.mode, _fit(*picture.size, max_side))
        picture.load()
        return _finish(picture, max_side)
    except (Refusal, MemoryError):
        raise
    except Exception as error:  # a plugin raises anything on a broken file
        raise Refusal("image_broken") from error


def _sniff(head: bytes) -> str:
    """Pillow's name of the format that a file's first bytes announce."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if head.startswith(b"BM"):
        return "BMP"
    if head[4:8] == b"ftyp":
        brands = head[8 : int.from_bytes(head[:4], "big")]
        if b"avif" in brands or b"avis" in brands:
            return "AVIF"
        if any(brand in brands for brand in HEIF_BRANDS):
            return "HEIF"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<?xml", b"<!--", b"<!doctype svg", b"<svg")) and b"<svg" in start:
        raise Refusal("image_svg")
    raise Refusal("not_an_image")


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise Refusal("image_empty")
    if width * height > MAX_PIXELS:
        raise Refusal("image_too_large", width=width, height=height, limit=MAX_PIXELS // 1_000_000)
    # The encoders enlarge the short side: a hair would become a picture of a hundred megapixels there.
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise Refusal("image_too_thin", width=width, height=height, limit=MAX_ASPECT)


def _fit(width: int, height: int, max_side: int) -> tuple[int, int]:
    """The size with a long side of at most `max_side`, in proportion."""
    scale = min(1.0, max_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _finish(picture: Image.Image, max_side: int) -> Image.Image:
    """A new picture: RGB, reduced, upright, without metadata."""
    _check_size(*picture.size)
    try:
        picture.load()
        turn = _turn(picture)
        if picture.mode in REDUCIBLE and "transparency" not in picture.info:
            # Before any conversion, which would copy all of a large picture.
            picture = _reduce(picture, max_side)
        rgb = _reduce(_to_rgb(picture), max_side)
        upright = rgb if turn is None else rgb.transpose(turn)
    except (Refusal, MemoryError):
        raise
    except Exception as error:  # a picture that is decoded only now; a mode that Pillow cannot convert
        raise Refusal("image_broken") from error
    upright.info = {}
    return upright


def _reduce(picture: Image.Image, max_side: int) -> Image.Image:
    size = _fit(*picture.size, max_side)
    if size == picture.size:
        return picture
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _turn(picture: Image.Image) -> Image.Transpose | None:
    """What puts a loaded picture upright, by its EXIF orientation; a damaged EXIF block says nothing."""
    try:
        return TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return None


def _to_rgb(picture: Image.Image) -> Image.Image:
    """A new RGB picture of any of Pillow's modes."""
    if picture.mode in PILLOW_16_BIT:
        return Image.fromarray(_from_16_bit(np.asarray(picture))).convert("RGB")
    if picture.mode in ("I", "F"):
        return Image.fromarray(_from_open_range(np.asarray(picture))).convert("RGB")
    if picture.has_transparency_data:
        rgba = (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")
        white = Image.new("RGB", picture.size, "white")
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return picture.convert("RGB")


def _from_16_bit(levels: np.ndarray) -> np.ndarray:
    """0..65535 -> 0..255, to the nearest."""
    return ((levels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _from_open_range(levels: np.ndarray) -> np.ndarray:
    """Levels of a 32-bit file, whose range no header states, to 0..255.

    The smallest usual range that holds them is taken: 0..1 for floats, 0..255, 0..65535; else their own.
    """
    if not np.isfinite(levels).all():
        raise Refusal("image_not_finite")
    low, high = float(levels.min()), float(levels.max())
    usual = [1.0, 255.0, 65535.0] if levels.dtype.kind == "f" else [255.0, 65535.0]
    top = next((t for t in usual if low >= 0 and high <= t), None)
    if top is None:
        levels, top = levels - np.float64(low), max(high - low, 1.0)
    return np.rint(levels * (255 / top)).astype(np.uint8)


def _from_array(array: np.ndarray) -> Image.Image:
    shape = " x ".join(map(str, array.shape))
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise Refusal("array_shape", shape=shape or "()")
    _check_size(array.shape[1], array.shape[0])
    if array.dtype == np.bool_:
        levels = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype == np.uint8:
        levels = array
    elif array.dtype == np.uint16:
        levels = _from_16_bit(array)
    elif array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise Refusal("image_not_finite")
        low, high = float(array.min()), float(array.max())
        if low < 0 or high > 1:
            raise Refusal("array_range", low=f"{low:g}", high=f"{high:g}")
        levels = np.rint(array * 255).astype(np.uint8)
    else:
        raise Refusal("array_dtype", dtype=str(array.dtype)[:DTYPE_CHARS])
    if levels.ndim == 3 and levels.shape[2] == 1:
        levels = levels[:, :, 0]
    return Image.fromarray(np.ascontiguousarray(levels))
