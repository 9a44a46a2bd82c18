"""Images from outside: decoded by content, upright, RGB, alpha on white, of a bounded size, without metadata.

An image that was reduced remembers the size of the file that it comes from, so that boxes and masks are told in pixels
of the caller's file, whatever was computed on (`FileImage`, `size_of`, `to_pixels`, `crop`, `full_size`).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image

from core.errors import Refusal
from core.inputs import levels, tiff
from core.inputs.texts import beginning

MAX_FILE_BYTES = 50 << 20
MAX_PIXELS = 40_000_000
MAX_ASPECT = 100
MAX_SIDE = 2048
# A strip's short side is reduced no further than to this part of the longest side: towers take their square from it.
SHORT_PART = 4
TOWERS = (48, 64, 96, 128, 192, 224, 256, 288, 336, 384, 448)  # usual sides of what a tower sees

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
QUARTER_TURNS = (5, 6, 7, 8)  # orientations that swap width and height
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

Size = tuple[int, int]  # width, height


class FileImage(Image.Image):
    """RGB pixels to compute on, which know the size of the file that they come from, and the file.

    What Pillow makes of it, a crop or another size, is a plain image with a size of its own.
    """

    file_size: Size  # width, height of the file, upright
    source: Path | bytes | None  # where all pixels of a reduced image are

    @classmethod
    def of(cls, pixels: Image.Image, file_size: Size, source: Path | bytes | None = None) -> FileImage:
        """The pixels of an RGB image, which are not copied."""
        made = cls()
        made.im, made._mode, made._size = pixels.im, pixels.mode, pixels.size
        made.file_size, made.source = file_size, source if made.size != file_size else None
        return made

    def copy(self) -> FileImage:
        return FileImage.of(super().copy(), self.file_size, self.source)

    __copy__ = copy

    def __getstate__(self) -> list[Any]:
        return [
            *super().__getstate__(),
            self.file_size,
            None if isinstance(self.source, bytes) else self.source,
        ]

    def __setstate__(self, state: list[Any]) -> None:
        *pixels, file_size, source = state
        super().__setstate__(pixels)
        self.file_size, self.source = file_size, source


def image(
    source: str | Path | bytes | Image.Image | np.ndarray | None,
    *,
    max_side: int | None = MAX_SIDE,
) -> FileImage:
    """A clean image: RGB, upright, alpha on white, first frame, no metadata, bounded size.

    Formats are told by content, never by name: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF; HEIC where Pillow has a
    plugin for it. Levels of any depth are scaled to 8 bits, not clipped; colour profiles are ignored, as the
    encoders' own pipelines do.

    Args:
        source: a file's path or its bytes; a Pillow image; or an array [H, W], [H, W, 1], [H, W, 3] or
            [H, W, 4] of bool, uint8, uint16 (full range 65535) or floats in [0, 1].
        max_side: a longer side is reduced to this many pixels, the other in proportion, but to no less than 1/4 of
            it: a long strip stays longer. None reduces nothing.

    Returns:
        A new RGB image; its `file_size` is the size of the source, upright.

    Raises:
        Refusal: "no_image", "image_missing", "image_is_address", "image_file_too_large", "image_svg",
            "image_heic", "not_an_image", "image_broken", "image_depth", "image_empty", "image_too_large",
            "image_too_thin", "image_not_finite", "image_no_memory", "array_shape", "array_dtype", "array_range".
    """
    try:
        return _read(source, max_side)
    except MemoryError as error:
        raise Refusal("image_no_memory") from error


def size_of(image: Image.Image) -> Size:
    """Width and height of the caller's file; of an image that comes from none, its own."""
    return image.file_size if isinstance(image, FileImage) else image.size


def to_pixels(image: Image.Image, places: Sequence[float] | np.ndarray) -> np.ndarray:
    """Places (x, y, x, y, ...) [..., 2 n] in pixels of the caller's file -> in pixels of the image."""
    (width, height), (file_width, file_height) = image.size, size_of(image)
    values = np.asarray(places, float)
    return values * np.resize([width / file_width, height / file_height], values.shape[-1])


def crop(image: Image.Image, box: Sequence[float] | np.ndarray) -> Image.Image:
    """What a box (xyxy pixels of the caller's file) shows, at least one pixel of the image."""
    left, top, right, bottom = to_pixels(image, box)
    left, top = min(max(int(left), 0), image.width - 1), min(max(int(top), 0), image.height - 1)
    right, bottom = (
        min(max(round(right), left + 1), image.width),
        min(max(round(bottom), top + 1), image.height),
    )
    return image.crop((left, top, right, bottom))


def full_size(image: Image.Image) -> Image.Image:
    """The image at the size of the caller's file: read again where it was reduced, enlarged where its file is gone."""
    size = size_of(image)
    if not isinstance(image, FileImage) or image.size == size:
        return image
    try:
        again = _read(image.source, None)
    except Refusal:
        again = None
    return again if again is not None and again.size == size else FileImage.of(image.resize(size), size)


def read_capture_time(source: Path) -> float | None:
    """When a camera says that it took an image: seconds since 1970 of its own clock, read as UTC; None where none says it."""
    try:
        with source.open("rb") as file:
            kind = _sniff(file.read(4096))
            file.seek(0)
            if kind not in Image.OPEN:
                Image.init()
            exif = Image.OPEN[kind][0](file, "").getexif()
        inner = exif.get_ifd(ExifTags.IFD.Exif)
        told = inner.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime)
        return datetime.strptime(str(told)[:19], "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    except Exception:  # a plugin raises anything on a damaged block
        return None


def digest(image: Image.Image) -> str:
    """A hash of an image's pixels and of its file's size, for caches: 32 hexadecimal digits."""
    size = f"{image.mode} {image.width} {image.height} {size_of(image)}"
    hashed = blake2b(size.encode(), digest_size=16)
    hashed.update(image.tobytes())
    return hashed.hexdigest()


@lru_cache(maxsize=256)
def reduced_size(width: int, height: int, max_side: int | None = MAX_SIDE) -> Size:
    """The size that `image` reduces a file of this width and height to.

    Of the sizes near the wanted one it is the largest of which towers cut the same middle as of the file: they resize
    the short side to theirs, cut the long one down to whole pixels and take the square in the middle.
    """
    long, short = max(width, height), min(width, height)
    if max_side is None or long <= max_side or short <= max_side // SHORT_PART:
        return width, height
    wanted = max(short * max_side // long, max_side // SHORT_PART, 1)
    strips = [tower * long // short for tower in TOWERS]

    def misses(size: Size) -> int:
        return sum(tower * size[0] // size[1] != strip for tower, strip in zip(TOWERS, strips, strict=True))

    sides = range(wanted, wanted * 7 // 8, -1)
    sizes = ((side * long // short + more, side) for side in sides for more in (0, 1))
    most = max(max_side, wanted * long // short)
    best = min((size for size in sizes if size[0] <= most), key=misses)
    return best if width >= height else best[::-1]


# --- reading -----------------------------------------------------------------------------------------------


def _read(source: str | Path | bytes | Image.Image | np.ndarray | None, max_side: int | None) -> FileImage:
    if source is None or (isinstance(source, str | bytes) and not source):
        raise Refusal("no_image")
    if isinstance(source, Image.Image):
        return FileImage.of(*_finish(source, max_side), getattr(source, "source", None))
    if isinstance(source, np.ndarray):
        _check_array(source)
        return FileImage.of(*_finish(levels.from_array(source), max_side))
    if isinstance(source, bytes):
        return FileImage.of(*_decode(io.BytesIO(source), len(source), max_side), source)
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
            return FileImage.of(*_decode(file, path.stat().st_size, max_side), path)
    except (OSError, ValueError) as error:
        raise Refusal("image_missing", name=beginning(path.name)) from error


def _decode(file: BinaryIO, size: int, max_side: int | None) -> tuple[Image.Image, Size]:
    if size > MAX_FILE_BYTES:
        raise Refusal("image_file_too_large", size=size >> 20, limit=MAX_FILE_BYTES >> 20)
    kind = _sniff(file.read(4096))
    file.seek(0)
    if kind not in Image.OPEN:
        Image.init()
    if kind == "HEIF" and kind not in Image.OPEN:
        raise Refusal("image_heic")
    try:
        if kind == "TIFF" and tiff.is_wide(tags := tiff.tags_of(file)):
            _check_size(*tiff.size_of(tags))
            return _finish(tiff.read(file, tags), max_side)
        # The plugin itself, not Image.open, which warns and refuses by a limit of the whole process.
        decoded = Image.OPEN[kind][0](file, "")
        _check_size(*decoded.size)
        whole = decoded.size
        # JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the time; the rest of the way is a proper filter.
        decoded.draft(decoded.mode, reduced_size(*whole, max_side))
        is_draft = decoded.size != whole
        decoded.load()
        return _finish(decoded, max_side, whole if is_draft else None)
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
    # The encoders enlarge the short side: a hair would become an image of a hundred megapixels there.
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise Refusal("image_too_thin", width=width, height=height, limit=MAX_ASPECT)


def _check_array(array: np.ndarray) -> None:
    shape = " x ".join(map(str, array.shape))
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise Refusal("array_shape", shape=shape or "()")
    _check_size(array.shape[1], array.shape[0])


def _finish(
    decoded: Image.Image, max_side: int | None, whole: Size | None = None
) -> tuple[Image.Image, Size]:
    """A new image: RGB, reduced, upright, without metadata; and the size of its file, upright.

    Args:
        decoded: by Pillow; perhaps not loaded yet.
        max_side: as for `image`.
        whole: the file's size, where less than all of it was decoded.
    """
    _check_size(*decoded.size)
    try:
        decoded.load()
        size = whole or size_of(decoded)
        orientation = _orientation(decoded)
        lies = orientation in QUARTER_TURNS
        if decoded.mode in REDUCIBLE and "transparency" not in decoded.info:
            # Before any conversion, which would copy all of a large image.
            decoded = _reduced(decoded, size, max_side, lies)
        rgb = _reduced(levels.to_rgb(decoded), size, max_side, lies)
        upright = rgb.transpose(TURNS[orientation]) if orientation in TURNS else rgb
    except (Refusal, MemoryError):
        raise
    except Exception as error:  # an image that is decoded only now; a mode that Pillow cannot convert
        raise Refusal("image_broken") from error
    return upright, size[::-1] if lies else size


def _reduced(pixels: Image.Image, size: Size, max_side: int | None, lies: bool) -> Image.Image:
    """All or some of the pixels of a file of this size, as `image` reduces it; `lies`: it will be turned by a quarter."""
    wanted = reduced_size(*size, max_side)
    if pixels.size == wanted:
        return pixels
    if lies:
        # Pillow filters along the rows first and rounds in between: these columns will be rows, so they come first.
        pixels = pixels.resize((pixels.width, wanted[1]), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return pixels.resize(wanted, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _orientation(decoded: Image.Image) -> int:
    """The EXIF orientation of a loaded image; 1, upright, for a damaged EXIF block."""
    try:
        return int(decoded.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1
