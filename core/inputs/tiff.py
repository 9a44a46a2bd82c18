"""TIFF images of numbers of 16 bits and more, which Pillow reads in part: integers, floats, and colours of these.

Whole strips only, plain or deflated, as scientific programs write them.
"""

from __future__ import annotations

import zlib
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from core.errors import Refusal
from core.inputs.levels import BITS, MEANING, SAMPLE_FORMAT, WHITE_IS_ZERO, from_open_range

# Tags.
WIDTH, HEIGHT, COMPRESSION, SAMPLES, PLANES, PREDICTOR = 256, 257, 259, 277, 284, 317
OFFSETS, COUNTS = 273, 279  # of the strips, in bytes
PLAIN, DEFLATED = (1,), (8, 32946)
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
KINDS = {UNSIGNED: "u", SIGNED: "i", FLOAT: "f"}  # of a sample
KNOWN = {"u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"}
SEPARATE = 2
GREY, RGB = 1, 2  # what the numbers mean, beside `WHITE_IS_ZERO`
MAX_BYTES = 256 << 20  # of the numbers, unpacked

Tags = Any  # Pillow's dictionary of an image's tags


def tags_of(file: BinaryIO) -> Tags:
    """The tags of the first image of a file; raises anything for a broken one."""
    from PIL import TiffImagePlugin

    file.seek(0)
    head = file.read(8)
    if head[2:4] in (b"+\0", b"\0+"):
        head += file.read(8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(head)
    file.seek(tags.next)
    tags.load(file)
    file.seek(0)
    return tags


def is_wide(tags: Tags) -> bool:
    """Whether this module reads the image: Pillow does not know all such numbers, and mixes up the bytes of some.

    Those of a packing that is only Pillow's are left to it, but for the ones that it mixes up.
    """
    bits, kinds = tags.get(BITS, (1,)), set(tags.get(SAMPLE_FORMAT, (UNSIGNED,)))
    if tags.get(COMPRESSION, 1) in (*PLAIN, *DEFLATED) and tags.get(PREDICTOR, 1) == 1 and OFFSETS in tags:
        return (max(bits) >= 16 or kinds != {UNSIGNED}) and tags.get(MEANING) in (WHITE_IS_ZERO, GREY, RGB)
    is_known = kinds <= {UNSIGNED, SIGNED} or (len(bits) == 1 and max(bits) == 32)
    is_backwards = max(bits) >= 32 and tags.prefix == b"MM"
    return not is_known or is_backwards or (max(bits) == 16 < 16 * len(bits) and tags.get(PLANES) == SEPARATE)


def size_of(tags: Tags) -> tuple[int, int]:
    """Width and height."""
    return int(tags[WIDTH]), int(tags[HEIGHT])


def read(file: BinaryIO, tags: Tags) -> Image.Image:
    """The image as grey, RGB, or either with an alpha, of 8 bits.

    Raises:
        Refusal: "image_depth" for numbers or packings other than those of this module, "image_broken",
            "image_not_finite".
    """
    width, height = size_of(tags)
    samples = int(tags.get(SAMPLES, 1))
    bits, formats = set(tags.get(BITS, (1,))), set(tags.get(SAMPLE_FORMAT, (1,)))
    name = f"{KINDS.get(formats.pop(), '?')}{bits.pop() // 8}" if len(bits) == len(formats) == 1 else "?"
    packing, predictor = tags.get(COMPRESSION, 1), tags.get(PREDICTOR, 1)
    if (
        name not in KNOWN
        or samples not in (1, 2, 3, 4)
        or packing not in (*PLAIN, *DEFLATED)
        or predictor != 1
        or OFFSETS not in tags
    ):
        raise Refusal("image_depth")
    dtype = np.dtype(("<" if tags.prefix == b"II" else ">") + name)
    size = width * height * samples * dtype.itemsize
    if size > MAX_BYTES:
        raise Refusal("image_depth")
    data = bytearray()
    for offset, count in zip(tags[OFFSETS], tags.get(COUNTS, (size,)), strict=False):
        file.seek(offset)
        strip = file.read(count)
        try:
            data += (
                strip if packing in PLAIN else zlib.decompressobj().decompress(strip, size - len(data) + 1)
            )
        except zlib.error as error:
            raise Refusal("image_broken") from error
    if len(data) < size:
        raise Refusal("image_broken")
    numbers = np.frombuffer(bytes(data[:size]), dtype).astype(dtype.newbyteorder("="))
    if tags.get(PLANES) == SEPARATE:
        values = np.moveaxis(numbers.reshape(samples, height, width), 0, -1)
    else:
        values = numbers.reshape(height, width, samples)
    colours = samples - (samples in (2, 4))
    levels = [from_open_range(values[..., :colours])]
    levels += [from_open_range(values[..., colours:])] if colours < samples else []
    made = np.concatenate(levels, axis=-1)
    if tags.get(MEANING) == WHITE_IS_ZERO:
        made[..., :colours] = 255 - made[..., :colours]
    return Image.fromarray(made[..., 0] if samples == 1 else made)
