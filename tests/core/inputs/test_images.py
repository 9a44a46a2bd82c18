"""Images at the door: what `core.inputs.image` makes of every kind of file, and what it refuses."""

from __future__ import annotations

import copy
import io
import pickle
import resource
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core import inputs
from core.errors import Refusal

ROOT = Path(__file__).resolve().parents[3]
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """An image as the bytes of a file."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def quarters(width: int = 64, height: int = 32, mode: str = "RGB") -> Image.Image:
    """Red, green / blue, white: any turn or flip shows."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2], pixels[: height // 2, width // 2 :] = RED, GREEN
    pixels[height // 2 :, : width // 2], pixels[height // 2 :, width // 2 :] = BLUE, WHITE
    return Image.fromarray(pixels).convert(mode)


def corners(picture: Image.Image) -> list[tuple[int, ...]]:
    """The colours of the four quarters, row by row."""
    w, h = picture.size
    places = [(w // 4, h // 4), (3 * w // 4, h // 4), (w // 4, 3 * h // 4), (3 * w // 4, 3 * h // 4)]
    return [picture.getpixel(place) for place in places]


def close(picture: Image.Image, colours: list[tuple[int, ...]], tolerance: int = 12) -> bool:
    """Whether the quarters have these colours, as far as a lossy format keeps them."""
    return bool(np.abs(np.array(corners(picture), int) - np.array(colours)).max() <= tolerance)


def png(
    width: int, height: int, *, depth: int = 8, colour: int = 2, rows: bytes = b"", extra: bytes = b""
) -> bytes:
    """A PNG file written by hand: its header says what it likes."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def refused(code: str, source: Any, **params: Any) -> None:
    """`source` is refused with this code, and with these parameters of its sentence, in both languages."""
    with pytest.raises(Refusal) as caught:
        inputs.image(source)
    assert caught.value.code == code
    assert caught.value.params.items() >= params.items()
    for lang in ("en", "zh"):
        sentence = caught.value.text(lang)
        assert "{" not in sentence and "\n" not in sentence


# --- formats -----------------------------------------------------------------------------------------------

FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]


@pytest.mark.parametrize("kind", FORMATS)
def test_formats_are_told_by_content(kind: str, tmp_path: Path) -> None:
    data = encoded(quarters(), kind)
    path = tmp_path / "picture.txt"
    path.write_bytes(data)
    for source in (data, path, str(path)):
        picture = inputs.image(source)
        assert (picture.mode, picture.size) == ("RGB", (64, 32))
        assert close(picture, [RED, GREEN, BLUE, WHITE], 40 if kind in ("WEBP", "AVIF") else 12)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"]
)
def test_every_mode_becomes_rgb(mode: str) -> None:
    through = {"La": "LA", "RGBa": "RGBA"}.get(mode)
    source = quarters(mode=through).convert(mode) if through else quarters(mode=mode)
    picture = inputs.image(source)
    assert picture.mode == "RGB"
    assert picture.getpixel((63, 31)) == WHITE


@pytest.mark.parametrize(
    "data",
    [
        b"<!doctype html><html><body><svg></svg></body></html>",
        b"<html></html>",
        b"%PDF-1.7\n",
        b"GIF plain text",
        b"PK\x03\x04" + bytes(30),
        b"\x1f\x8b\x08" + bytes(30),
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"\0\0\0\x18ftypisom\0\0\0\0isommp42",
        b"\x89PNG",
        b"x",
        b"import os",
    ],
)
def test_other_files_are_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    refused("not_an_image", path)


@pytest.mark.parametrize(
    "data",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- drawn -->\n<svg width="4"></svg>',
        b'\n  <!DOCTYPE svg PUBLIC "x" "y"><SVG></SVG>',
    ],
)
def test_svg_is_refused_in_its_own_words(data: bytes) -> None:
    refused("image_svg", data)


def test_heic_without_a_plugin_is_refused_in_its_own_words() -> None:
    refused("image_heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))


def test_first_frame_of_an_animation() -> None:
    second = quarters().transpose(Image.Transpose.ROTATE_180)
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(quarters(), kind, save_all=True, append_images=[second], **options)
        assert close(inputs.image(data), [RED, GREEN, BLUE, WHITE]), kind


# --- colour and depth --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_laid_on_white(kind: str) -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4] = (255, 0, 0, 255)
    pixels[4:] = (0, 0, 0, 0)
    pixels[:, 6:] = (0, 0, 0, 128)
    picture = inputs.image(
        encoded(Image.fromarray(pixels), kind, **({"lossless": True} if kind == "WEBP" else {}))
    )
    assert picture.getpixel((0, 0)) == RED
    assert picture.getpixel((0, 7)) == WHITE
    assert picture.getpixel((7, 0)) == (127, 127, 127)


def test_transparent_colours_are_white() -> None:
    palette = Image.new("P", (4, 4))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((0, 0), 1)
    for data in (
        encoded(palette, "GIF", transparency=1),
        encoded(palette, "PNG", transparency=b"\xff\x00"),
        encoded(Image.new("RGB", (4, 4), BLUE), "PNG", transparency=BLUE),
        encoded(Image.new("L", (4, 4), 7), "PNG", transparency=7),
    ):
        assert inputs.image(data).getpixel((0, 0)) == WHITE
    assert inputs.image(encoded(palette, "PNG", transparency=b"\xff\x00")).getpixel((3, 3)) == RED


def test_cmyk_jpeg() -> None:
    data = encoded(quarters(mode="CMYK"), "JPEG", quality=95)
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    assert close(inputs.image(data), [RED, GREEN, BLUE, WHITE])


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    levels = np.linspace(0, 65535, 64).astype(np.uint16)[None].repeat(4, 0)
    for data in (encoded(Image.fromarray(levels), "PNG"), encoded(Image.fromarray(levels), "TIFF")):
        row = np.asarray(inputs.image(data))[0, :, 0].astype(int)
        assert (row[0], row[-1]) == (0, 255)
        assert np.abs(row - levels[0] / 257).max() <= 0.5


def test_16_bit_colour_is_scaled() -> None:
    rows = b"\0" + struct.pack(">6H", 65535, 32768, 0, 256, 65279, 65535)
    picture = inputs.image(png(2, 1, depth=16, rows=rows))
    assert np.abs(np.asarray(picture)[0].astype(int) - [[255, 128, 0], [1, 254, 255]]).max() <= 1


def test_32_bit_levels_take_the_range_that_holds_them() -> None:
    for top, dtype in (
        (1, np.float32),
        (255, np.float32),
        (65535, np.float32),
        (255, np.int32),
        (65535, np.int32),
    ):
        data = encoded(Image.fromarray(np.array([[0, top // 2 if top > 1 else 0.5, top]], dtype)), "TIFF")
        grey = np.asarray(inputs.image(data))[0, :, 0].astype(int)
        assert np.abs(grey - [0, 127, 255]).max() <= 1
    stretched = inputs.image(encoded(Image.fromarray(np.array([[-40, 80, 200]], np.float32)), "TIFF"))
    assert np.asarray(stretched)[0, :, 0].tolist() == [0, 128, 255]
    flat = inputs.image(encoded(Image.fromarray(np.full((2, 2), -3, np.float32)), "TIFF"))
    assert np.asarray(flat).max() == 0
    refused("image_not_finite", encoded(Image.fromarray(np.array([[0, np.nan]], np.float32)), "TIFF"))


# --- orientation, size, metadata ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind: str, orientation: int) -> None:
    # How a camera stores an upright image under each orientation: the inverse of what puts it upright.
    t = Image.Transpose
    stored = {2: t.FLIP_LEFT_RIGHT, 3: t.ROTATE_180, 4: t.FLIP_TOP_BOTTOM, 5: t.TRANSPOSE, 6: t.ROTATE_90}
    stored |= {7: t.TRANSVERSE, 8: t.ROTATE_270}
    picture = quarters()
    if orientation > 1:
        picture = picture.transpose(stored[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = inputs.image(encoded(picture, kind, exif=exif))
    assert result.size == (64, 32)
    assert close(result, [RED, GREEN, BLUE, WHITE], 40)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_exif_is_no_reason_to_refuse() -> None:
    data = encoded(quarters(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert close(inputs.image(data), [RED, GREEN, BLUE, WHITE])


def test_nothing_but_pixels_is_kept() -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    data = encoded(
        quarters(), "JPEG", exif=exif, comment=b"home address", dpi=(300, 300), icc_profile=b"x" * 200
    )
    picture = inputs.image(data)
    assert picture.info == {} and not picture.getexif()
    assert b"camera" not in encoded(picture, "JPEG")


def test_long_side_is_reduced() -> None:
    for kind in ("JPEG", "PNG"):
        picture = inputs.image(encoded(quarters(3000, 1500), kind))
        assert picture.size == (2048, 1024)
        assert close(picture, [RED, GREEN, BLUE, WHITE])
    assert inputs.image(quarters(300, 600), max_side=100).size == (50, 100)
    assert inputs.image(quarters(2048, 2048)).size == (2048, 2048)


def test_reducing_keeps_colours_apart_from_hidden_ones() -> None:
    pixels = np.zeros((512, 512, 4), np.uint8)
    pixels[:, 0::2] = (255, 0, 0, 255)
    pixels[:, 1::2] = (0, 255, 0, 0)  # green that nobody sees
    reduced = inputs.image(encoded(Image.fromarray(pixels), "PNG"), max_side=64)
    assert np.abs(np.asarray(reduced)[8:-8, 8:-8].astype(int) - [255, 127, 127]).max() <= 3
    palette = Image.new("P", (512, 512))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    stripes = np.indices((512, 512))[1].astype(np.uint8) % 2
    palette.putdata(stripes.ravel().tolist())
    assert close(inputs.image(encoded(palette, "PNG"), max_side=64), [(127, 0, 127)] * 4)
    for kind in ("PNG", "TIFF"):
        grey = np.full((256, 512), 40_000, np.uint16)
        assert inputs.image(encoded(Image.fromarray(grey), kind), max_side=64).getpixel((9, 9)) == (156,) * 3
    keyed = encoded(palette.convert("RGB"), "PNG", transparency=BLUE)
    assert close(inputs.image(keyed, max_side=64), [(255, 127, 127)] * 4)


def test_reducing_averages_instead_of_picking() -> None:
    fine = np.indices((1024, 1024)).sum(0) % 2 * 255
    reduced = np.asarray(inputs.image(fine.astype(np.uint8), max_side=128))
    assert np.abs(reduced.astype(int) - 127).max() <= 4


def test_one_pixel() -> None:
    for kind in FORMATS:
        assert inputs.image(encoded(Image.new("RGB", (1, 1), RED), kind)).size == (1, 1)


def test_the_callers_picture_is_left_alone() -> None:
    source = quarters()
    source.info["dpi"] = (72, 72)
    picture = inputs.image(source)
    assert picture is not source and source.info == {"dpi": (72, 72)}
    picture.putpixel((0, 0), BLUE)
    assert source.getpixel((0, 0)) == RED


# --- refusals ----------------------------------------------------------------------------------------------


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = png(20_000, 20_000, rows=bytes(1_000_000))
    assert len(bomb) < 2000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.thread_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for kind in ("GIF", "BMP", "WEBP", "TIFF"):
            refused("image_too_large", header(kind, 16_000, 16_000), limit=40)
        refused("image_too_large", bomb, width=20_000, height=20_000, limit=40)
        refused("image_too_large", Image.open(io.BytesIO(png(8_000, 8_000))), width=8_000)
        # Between Pillow's two limits: it would only have warned.
        refused("image_too_large", png(10_000, 10_000), width=10_000)
    assert not caught
    assert time.thread_time() - start < 0.5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def header(kind: str, width: int, height: int) -> bytes:
    """The start of a file that claims a size and has next to no pixels."""
    if kind == "GIF":
        data = encoded(Image.new("P", (4, 4)), "GIF")
        return data[:6] + struct.pack("<HH", width, height) + data[10:]
    if kind == "BMP":
        return b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    if kind == "TIFF":
        data = encoded(Image.new("L", (257, 258)), "TIFF")
        for old, new in ((257, width), (258, height)):
            data = data.replace(
                struct.pack("<HHII", old - 1, 3, 1, old), struct.pack("<HHII", old - 1, 3, 1, new)
            )
            data = data.replace(
                struct.pack("<HHII", old - 1, 4, 1, old), struct.pack("<HHII", old - 1, 4, 1, new)
            )
        return data
    still = encoded(Image.new("RGB", (4, 4), RED), "WEBP", lossless=True)[12:]
    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    frame = bytes(6) + struct.pack("<I", 3)[:3] * 2 + bytes(4) + still
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + canvas
    body += b"ANIM" + struct.pack("<I", 6) + bytes(6) + b"ANMF" + struct.pack("<I", len(frame)) + frame
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF"])
def test_truncated_files_are_refused(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encoded(noise, kind)
    for share in (0.1, 0.5, 0.9):
        refused("image_broken", data[: int(len(data) * share)])
        if kind not in (
            "WEBP",
            "AVIF",
        ):  # these two are parsed whole on opening, for which Pillow closes nothing
            with Image.open(io.BytesIO(data)) as whole:
                assert inputs.image(whole).size == (64, 64)


def test_a_lazily_opened_truncated_picture_is_refused() -> None:
    data = encoded(quarters(512, 512), "JPEG")
    refused("image_broken", Image.open(io.BytesIO(data[: len(data) // 2])))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_random_damage_never_escapes() -> None:
    generator = np.random.default_rng(1)
    outcomes = set()
    for kind in FORMATS:
        data = np.frombuffer(encoded(quarters(16, 16), kind), np.uint8)
        for _ in range(40):
            damaged = data.copy()
            places = generator.integers(0, len(data), 4)
            damaged[places] = generator.integers(0, 256, 4)
            try:
                picture = inputs.image(damaged.tobytes())
                assert picture.mode == "RGB"
                outcomes.add("picture")
            except Refusal as refusal:
                outcomes.add(refusal.code)
    assert {"picture", "image_broken", "not_an_image"} <= outcomes


def test_sizes_that_are_refused() -> None:
    refused("image_too_thin", Image.new("L", (1, 101)), width=1, height=101, limit=100)
    assert inputs.image(Image.new("L", (1, 100))).size == (1, 100)
    refused("image_empty", Image.new("RGB", (0, 5)))
    refused("image_empty", np.zeros((5, 0, 3), np.uint8))
    refused("image_broken", png(0, 5))  # Pillow opens no such file


def test_files_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for nothing in (None, "", b""):
        refused("no_image", nothing)
    refused("not_an_image", {"path": "x.png"})
    refused("image_missing", tmp_path / "gone.png", name="gone.png")
    refused("image_missing", tmp_path)
    refused("image_missing", "/dev/zero")
    refused("image_missing", "a\0b")
    refused("image_missing", "x" * 5000, name="x" * 40 + "…")
    for address in ("https://example.org/x.png", "file:///etc/passwd", "data:image/png;base64,AAAA"):
        refused("image_is_address", address)
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate(51 << 20)
    refused("image_file_too_large", large, size=51, limit=50)
    refused("image_file_too_large", bytes(51 << 20))

    def exhausted(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("core.inputs.levels.to_rgb", exhausted)
    refused("image_no_memory", encoded(quarters(), "PNG"))


# --- arrays ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "array",
    [
        np.array([[0, 255]], np.uint8),
        np.array([[[0], [255]]], np.uint8),
        np.array([[[0] * 3, [255] * 3]], np.uint8),
        np.array([[[0, 0, 0, 255], [9, 9, 9, 0]]], np.uint8),
        np.array([[False, True]]),
        np.array([[0, 65535]], np.uint16),
        np.array([[[0.0] * 3, [1.0] * 3]], np.float64),
        np.array([[0, 1]], np.float16),
        np.array([[[0] * 3, [9] * 3, [255] * 3]], np.uint8)[:, ::2],
    ],
)
def test_arrays(array: np.ndarray) -> None:
    assert np.asarray(inputs.image(array)).tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_arrays_that_are_refused() -> None:
    refused("array_shape", np.zeros((3, 8, 8), np.uint8), shape="3 x 8 x 8")
    refused("array_shape", np.zeros(5, np.uint8), shape="5")
    refused("array_shape", np.zeros((), np.uint8), shape="()")
    refused("array_dtype", np.zeros((4, 4), np.int64), dtype="int64")
    refused("array_dtype", np.zeros((4, 4), complex), dtype="complex128")
    refused("array_dtype", np.full((4, 4), "x"))
    refused("array_range", np.array([[0.0, 255.0]]), low="0", high="255")
    refused("image_not_finite", np.array([[0.0, np.nan]]))
    refused("image_not_finite", np.array([[0.0, np.inf]]))
    refused("image_too_large", np.broadcast_to(np.uint8(0), (20_000, 20_000)))


# --- the rest of the door ----------------------------------------------------------------------------------


def test_many_threads_get_their_own_pictures() -> None:
    files = [
        encoded(Image.new("RGB", (200 + i, 100), (i * 30, 0, 0)), kind) for i, kind in enumerate(FORMATS)
    ]
    wrong: list[str] = []

    def work() -> None:
        for _ in range(5):
            for i, data in enumerate(files):
                picture = inputs.image(data)
                if picture.size != (200 + i, 100) or abs(picture.getpixel((9, 9))[0] - i * 30) > 8:
                    wrong.append(FORMATS[i])

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_digest_follows_the_content() -> None:
    first = inputs.digest(inputs.image(quarters()))
    assert len(first) == 32 and first == inputs.digest(quarters())
    changed = quarters()
    changed.putpixel((5, 5), (254, 0, 0))
    other = Image.frombytes("RGB", (32, 64), quarters().tobytes())
    assert len({first, inputs.digest(changed), inputs.digest(other)}) == 3


def test_importing_the_door_is_cheap() -> None:
    code = (
        "import core.inputs, core.runtime, resource, sys; u = resource.getrusage(resource.RUSAGE_SELF);"
        "print(u.ru_utime + u.ru_stime, 'torch' in sys.modules, 'gradio' in sys.modules)"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert all(run.split()[1:] == ["False", "False"] for run in runs)
    assert min(float(run.split()[0]) for run in runs) < 0.3


# --- pixels of the caller's file ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_reduced_image_knows_the_size_of_its_file(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = inputs.image(encoded(Image.new("RGB", (3001, 1501), RED), kind, exif=exif))
    upright = (1501, 3001) if orientation in (6, 8) else (3001, 1501)
    assert image.file_size == inputs.size_of(image) == upright
    assert 1792 <= max(image.size) <= 2048 and image.size == inputs.reduced_size(*upright)


def test_an_image_that_fits_is_its_own_file() -> None:
    image = inputs.image(quarters())
    assert image.file_size == image.size == (64, 32) and inputs.size_of(quarters()) == (64, 32)
    assert inputs.image(quarters(3000, 1500), max_side=None).size == (3000, 1500)


def test_the_size_of_the_file_survives_processes_and_a_second_door() -> None:
    image = inputs.image(quarters(4096, 2048))
    for twin in (pickle.loads(pickle.dumps(image)), copy.copy(image), inputs.image(image)):
        assert twin.file_size == (4096, 2048) and twin.size == (2048, 1024)
        assert twin.tobytes() == image.tobytes()
    assert inputs.size_of(image.crop((0, 0, 10, 20))) == (10, 20), "what is made of it is an image of its own"


def test_places_go_from_the_file_to_its_pixels() -> None:
    image = inputs.image(quarters(4096, 2048))
    assert inputs.to_pixels(image, [4096, 0, 1024, 2048]).tolist() == [2048, 0, 512, 1024]
    assert inputs.to_pixels(image, np.array([[[2.0, 4.0]]])).tolist() == [[[1, 2]]]
    assert inputs.to_pixels(quarters(), [3, 4, 5, 6]).tolist() == [3, 4, 5, 6]
    part = inputs.crop(image, [0, 0, 2048, 1024])
    assert part.size == (1024, 512) and part.getpixel((500, 250)) == RED
    assert inputs.crop(image, [4095, 2047, 4096, 2048]).size == (1, 1)


@pytest.mark.parametrize(
    "size",
    [
        (6000, 2000),
        (4096, 3072),
        (4032, 3024),
        (6016, 4016),
        (3001, 1501),
        (7919, 2711),
        (5471, 1823),
        (2999, 1501),
    ],
)
@pytest.mark.parametrize("tower", [64, 224, 256, 336, 384])
def test_the_middle_of_a_reduced_image_is_the_middle_of_its_file(size: tuple[int, int], tower: int) -> None:
    # Towers resize the short side to theirs, cut the long one to whole pixels, and take the square in the middle.
    width, height = inputs.reduced_size(*size)
    assert int(tower * width / height) == int(tower * size[0] / size[1])


def test_a_digest_tells_files_of_other_sizes_apart() -> None:
    white = [
        inputs.image(Image.new("RGB", size, "white")) for size in ((2200, 2200), (2100, 2100), (2048, 2048))
    ]
    assert len({image.tobytes() for image in white}) == 1
    assert len({inputs.digest(image) for image in white}) == 3


@pytest.mark.parametrize("ratio", [2, 3, 10, 60, 99])
def test_a_strip_keeps_its_short_side(ratio: int) -> None:
    short = min(800, int((30_000_000 / ratio) ** 0.5))
    for size in ((ratio * short, short), (short, ratio * short)):
        reduced = inputs.reduced_size(*size)
        assert min(short, max(512, 2048 // ratio)) * 7 // 8 <= min(reduced) <= short
        assert max(reduced) / min(reduced) == pytest.approx(ratio, rel=1e-3)


def test_a_long_strip_of_a_file() -> None:
    image = inputs.image(encoded(Image.new("L", (60 * 600, 600)), "PNG"))
    assert image.file_size == (36_000, 600) and min(image.size) >= 512
