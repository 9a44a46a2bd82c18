"""Every depth and meaning of TIFF and PNG comes out as bright as the file means it. The files are written here, by hand."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core import inputs
from core.errors import Refusal
from tests.core.inputs.test_images import png

RAMP = np.linspace(0, 1, 9)
GREY, MINISWHITE, RGB, PALETTE, LAB = 1, 0, 2, 3, 8


def tiff(
    samples: np.ndarray,
    *,
    meaning: int = GREY,
    bits: int | None = None,
    order: str = "<",
    extra: dict[int, tuple[int, ...]] | None = None,
    deflate: bool = False,
    separate: bool = False,
    data: bytes | None = None,
) -> bytes:
    """A TIFF of samples [H, W] or [H, W, C] of any dtype: one strip a plane.

    Args:
        bits: of a sample, where `data` holds packed ones.
        extra: more tags, 16 bits each.
    """
    height, width, *rest = samples.shape
    count = rest[0] if rest else 1
    kind = {"u": 1, "b": 1, "i": 2, "f": 3}[samples.dtype.kind]
    numbers = samples.astype(samples.dtype.newbyteorder(order))
    planes = [numbers[..., i] for i in range(count)] if separate else [numbers]
    strips = [np.ascontiguousarray(plane).tobytes() for plane in planes] if data is None else [data]
    strips = [zlib.compress(strip) for strip in strips] if deflate else strips
    bits = bits or 8 * samples.dtype.itemsize
    tags: dict[int, tuple[str, tuple[int, ...]]] = {
        256: ("I", (width,)),
        257: ("I", (height,)),
        258: ("H", (bits,) * count),
        259: ("H", (8 if deflate else 1,)),
        262: ("H", (meaning,)),
        277: ("H", (count,)),
        278: ("I", (height,)),
        279: ("I", tuple(map(len, strips))),
        284: ("H", (2 if separate else 1,)),
        339: ("H", (kind,) * count),
    }
    tags |= {tag: ("H", values) for tag, values in (extra or {}).items()}
    offset, places = 8, []
    for strip in strips:
        places.append(offset)
        offset += len(strip) + len(strip) % 2
    tags[273] = ("I", tuple(places))
    body = b"".join(strip + b"\0" * (len(strip) % 2) for strip in strips)
    entries, tail = b"", b""
    start = offset + 2 + 12 * len(tags) + 4
    for tag, (code, values) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(packed) > 4:
            place, tail = start + len(tail), tail + packed
            packed = struct.pack(f"{order}I", place)
        entries += struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[code], len(values)) + packed.ljust(
            4, b"\0"
        )
    head = b"II*\0" if order == "<" else b"MM\0*"
    directory = struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
    return head + struct.pack(f"{order}I", offset) + body + directory + tail


def grey(source: Any) -> np.ndarray:
    """The first row as 0..255; all channels are alike."""
    pixels = np.asarray(inputs.image(source)).astype(int)
    assert (pixels == pixels[..., :1]).all()
    return pixels[0, :, 0]


def ramp(dtype: type, top: float | None = None) -> np.ndarray:
    """From black to white [2, 9], in the whole range of a dtype, or up to `top`."""
    kind = np.dtype(dtype).kind
    top = (1.0 if kind == "f" else np.iinfo(dtype).max) if top is None else top
    if kind == "f":
        return np.tile(RAMP * top, (2, 1)).astype(dtype)
    return np.array([[int(top) * i // 8 for i in range(9)]] * 2, dtype)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize(
    ("dtype", "top"),
    [
        (np.uint8, None),
        (np.uint16, None),
        (np.uint32, None),
        (np.uint32, 65535),
        (np.uint64, None),
        (np.int32, 255),
        (np.int32, 65535),
        (np.float16, None),
        (np.float32, None),
        (np.float32, 255),
        (np.float32, 65535),
        (np.float64, None),
        (np.float64, 255),
    ],
)
@pytest.mark.parametrize("meaning", [GREY, MINISWHITE])
def test_grey_of_every_depth(dtype: type, top: float | None, meaning: int, order: str, deflate: bool) -> None:
    row = grey(tiff(ramp(dtype, top), meaning=meaning, order=order, deflate=deflate))
    expected = 255 * (RAMP if meaning == GREY else 1 - RAMP)
    assert np.abs(row - expected).max() <= 1


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("meaning", [GREY, MINISWHITE])
def test_packed_bits(bits: int, meaning: int) -> None:
    values = np.arange(8) % (1 << bits)
    packed = np.packbits([[int(c) for c in f"{v:0{bits}b}"] for v in values.tolist()]).tobytes()
    row = grey(tiff(np.zeros((1, 8), np.uint8), bits=bits, data=packed, meaning=meaning))
    expected = 255 * values / ((1 << bits) - 1)
    assert np.abs(row - (expected if meaning == GREY else 255 - expected)).max() <= 1


def test_twelve_bits_are_not_read_as_sixteen() -> None:
    data = bytes.fromhex("000800fff000")  # 0x000, 0x800, 0xfff, 0x000
    row = grey(tiff(np.zeros((1, 4), np.uint16), bits=12, data=data))
    assert np.abs(row - [0, 127.5, 255, 0]).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_colours_of_every_depth(dtype: type, separate: bool, order: str) -> None:
    top = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    shares = np.array([[[1, 0, 0], [0, 0.5, 0], [0.25, 0, 1]]] * 2)
    data = tiff((shares * top).astype(dtype), meaning=RGB, separate=separate, order=order)
    assert np.abs(np.asarray(inputs.image(data))[0].astype(int) - 255 * shares[0]).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_of_every_depth_is_laid_on_white(dtype: type) -> None:
    top = np.iinfo(dtype).max
    pixels = np.array([[[top, 0, 0, top], [0, 0, 0, 0], [0, 0, 0, top // 2]]] * 2, dtype)
    data = tiff(pixels, meaning=RGB, extra={338: (2,)})
    assert (
        np.abs(np.asarray(inputs.image(data))[0].astype(int) - [[255, 0, 0], [255] * 3, [127] * 3]).max() <= 1
    )


@pytest.mark.parametrize("unit", [257, 1])
def test_palettes_of_16_bits_and_of_8(unit: int) -> None:
    colours = np.zeros((3, 256), int)
    colours[:, 1], colours[:, 2] = (255, 128, 0), (10, 20, 30)
    data = tiff(
        np.array([[0, 1, 2]], np.uint8),
        meaning=PALETTE,
        extra={320: tuple((colours * unit).ravel().tolist())},
    )
    assert np.asarray(inputs.image(data))[0].tolist() == [[0, 0, 0], [255, 128, 0], [10, 20, 30]]


def test_cielab() -> None:
    lab = np.array([[[0, 0, 0], [255, 0, 0], [136, 80, 67]]], np.uint8)  # black, white, near pure red
    pixels = np.asarray(inputs.image(tiff(lab, meaning=LAB)))[0].astype(int)
    assert pixels[0].max() <= 2 and pixels[1].min() >= 253
    assert pixels[2, 0] > 225 and pixels[2, 1:].max() < 60


def test_floats_that_overshoot_a_little_are_not_taken_for_dark_ones() -> None:
    levels = ramp(np.float32)
    levels[0, 0], levels[0, -1] = -0.02, 1.03
    assert np.abs(grey(tiff(levels)) - 255 * RAMP).max() <= 1


def test_numbers_that_are_not_read_say_so() -> None:
    for data in (
        tiff(np.zeros((2, 3), np.uint64), extra={339: (6,)}),
        tiff(np.zeros((2, 2, 5), np.float32)),
        tiff(np.zeros((2, 3), np.float64), extra={317: (3,)}),
    ):
        with pytest.raises(Refusal) as caught:
            inputs.image(data)
        assert caught.value.code == "image_depth"
    for code, data in (
        ("image_not_finite", tiff(np.array([[0, np.nan]], np.float64))),
        ("image_broken", tiff(np.zeros((2, 3), np.float64))[:40]),
        ("image_broken", tiff(np.zeros((2, 3), np.float64), data=b"short")),
        ("image_broken", tiff(np.zeros((2, 3), np.float64), data=b"no deflate", extra={259: (8,)})),
        ("image_too_large", tiff(np.zeros((1, 1), np.float64), extra={256: (60_000,), 257: (60_000,)})),
    ):
        with pytest.raises(Refusal) as caught:
            inputs.image(data)
        assert caught.value.code == code


# --- PNG ---------------------------------------------------------------------------------------------------


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("keyed", [False, True])
def test_grey_png_of_every_depth(bits: int, keyed: bool) -> None:
    top = (1 << bits) - 1
    values = np.array([0, top, top // 2, 0])
    if bits < 8:
        row = np.packbits([[int(c) for c in f"{v:0{bits}b}"] for v in values.tolist()]).tobytes()
    else:
        row = values.astype(f">u{bits // 8}").tobytes()
    extra = chunk(b"tRNS", struct.pack(">H", 0)) if keyed else b""
    pixels = grey(png(4, 1, depth=bits, colour=0, rows=b"\0" + row, extra=extra))
    expected = np.where(keyed & (values == 0), 255, 255 * values / top)
    assert np.abs(pixels - expected).max() <= 1


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_png_of_every_depth_with_transparency(bits: int) -> None:
    palette = chunk(b"PLTE", bytes([255, 0, 0, 0, 0, 255])) + chunk(b"tRNS", bytes([128, 0]))
    values = [0, 1] * (4 if bits < 8 else 1)
    row = np.packbits([[int(c) for c in f"{v:0{bits}b}"] for v in values]).tobytes()
    pixels = np.asarray(inputs.image(png(2, 1, depth=bits, colour=3, rows=b"\0" + row, extra=palette)))[0]
    assert np.abs(pixels.astype(int) - [[255, 127, 127], [255, 255, 255]]).max() <= 1


@pytest.mark.parametrize(("colour", "channels"), [(4, 2), (6, 4)])
def test_png_of_16_bits_with_alpha(colour: int, channels: int) -> None:
    whole = [65535] * (channels - 1)
    values = [*(0 for _ in whole), 65535, *(0 for _ in whole), 32768, *whole, 0]
    pixels = grey(png(3, 1, depth=16, colour=colour, rows=b"\0" + struct.pack(f">{3 * channels}H", *values)))
    assert np.abs(pixels - [0, 127, 255]).max() <= 1


def test_the_transparent_colour_of_a_16_bit_png() -> None:
    rows = b"\0" + struct.pack(">6H", 65535, 256, 512, 0, 0, 0)
    key = chunk(b"tRNS", struct.pack(">3H", 65535, 256, 512))
    pixels = np.asarray(inputs.image(png(2, 1, depth=16, rows=rows, extra=key)))[0]
    assert pixels.tolist() == [[255, 255, 255], [0, 0, 0]]


def test_pillow_images_opened_by_the_caller_keep_their_meaning() -> None:
    data = tiff(ramp(np.uint16), meaning=MINISWHITE)
    assert np.abs(grey(Image.open(io.BytesIO(data))) - 255 * (1 - RAMP)).max() <= 1
