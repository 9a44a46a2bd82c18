"""Boxes on an image as files: PNG, SVG, COCO, YOLO, VOC, CSV and crops."""

from __future__ import annotations

import csv
import io
import math
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from core import coco, inputs
from core.coco import Coco
from demos.draw import base as draw
from demos.draw import masks as segment_draw
from demos.draw.boxes import Box, Mark, area, caption, chip_places, whole
from demos.kit.files import downloads
from demos.kit.html import escape
from demos.kit.language import pick

LETTERS_IN_FILES = 62
MOST_LETTERS = 60  # in the caption of a box in a file


@dataclass(frozen=True)
class Placed:
    """A box and what is written on it, in pixels of the image: the same numbers for the PNG and for the SVG."""

    mark: Mark
    box: Box
    words: str
    chip: Box  # the paper of the words


@dataclass(frozen=True)
class Pen:
    """Sizes of what is drawn on an image, in its pixels."""

    line: int  # even, so that it covers whole pixels on both sides of an edge between two
    letter: int

    @classmethod
    def of(cls, size: tuple[int, int]) -> Pen:
        """A pen that suits an image."""
        line = 2 * max(1, round(max(size) / 480))
        return cls(line, max(9, 6 * line))

    @property
    def dashes(self) -> tuple[int, int]:
        """Lengths of a dash and of the gap behind it."""
        return 4 * self.line, 3 * self.line


def placed(marks: Sequence[Mark], size: tuple[int, int], pen: Pen) -> list[Placed]:
    """Where everything is drawn, large boxes first."""
    font = draw.typeface(pen.letter)
    answers = []
    for mark, place in sorted(
        zip(marks, chip_places(marks, size, LETTERS_IN_FILES), strict=True),
        key=lambda pair: -area(pair[0].box),
    ):
        left, top, right, bottom = (round(float(side), 1) for side in mark.box)
        words = caption(mark)[:MOST_LETTERS]
        wide, high = round(font.getlength(words) + 0.6 * pen.letter, 1), round(1.4 * pen.letter, 1)
        row, _, end = place.partition("-")
        x = right - wide if end else left
        y = {"above": top - high, "inside": top, "below": bottom}[row]
        x, y = (
            round(min(max(value, 0), max(length - room, 0)), 1)
            for value, length, room in zip((x, y), size, (wide, high), strict=True)
        )
        box = left, top, right, bottom
        answers.append(Placed(mark, box, words, (x, y, round(x + wide, 1), round(y + high, 1))))
    return answers


def annotated_png(image: Image.Image, marks: Sequence[Mark]) -> bytes:
    """The image at its file's size with its boxes drawn in."""
    canvas = inputs.full_size(image).convert("RGB")
    pen = Pen.of(canvas.size)
    font = draw.typeface(pen.letter)
    for one in placed(marks, canvas.size, pen):
        _stroke(canvas, one.box, "white", pen.line + 2)
        _stroke(canvas, one.box, one.mark.colour, pen.line, pen.dashes if one.mark.dashed else None)
        if one.words:
            _fill(canvas, one.chip, "white")
            _stroke(canvas, one.chip, one.mark.colour, 1)
            at = one.chip[0] + 0.3 * pen.letter, one.chip[1] + 1.02 * pen.letter
            ImageDraw.Draw(canvas).text(at, one.words, fill="black", font=font, anchor="ls")
    return draw.png(canvas)


def _stroke(
    canvas: Image.Image,
    box: Box,
    colour: str,
    width: float,
    dashes: tuple[float, float] | None = None,
) -> None:
    """Draws a rectangle's outline, `width` wide around its edges, as SVG draws one: dashes begin at the upper left corner
    and go clockwise."""
    left, top, right, bottom = box
    wide, high, half = right - left, bottom - top, width / 2
    if dashes is None and min(wide, high) <= width:  # no room inside
        _fill(canvas, (left - half, top - half, right + half, bottom + half), colour)
        return
    if dashes is None:
        _fill(canvas, (left - half, top - half, right + half, top + half), colour)
        _fill(canvas, (left - half, bottom - half, right + half, bottom + half), colour)
        _fill(canvas, (left - half, top + half, left + half, bottom - half), colour)
        _fill(canvas, (right - half, top + half, right + half, bottom - half), colour)
        return
    corners = np.cumsum([0, wide, high, wide, high])
    starts = np.arange(0, corners[-1], sum(dashes))
    for start, end in zip(starts, np.minimum(starts + dashes[0], corners[-1]), strict=True):
        for side in range(4):
            # A dash around a corner is mitred there, as the joins of an SVG are.
            first, last = max(start, corners[side]), min(end, corners[side + 1])
            if first >= last:
                continue
            first -= corners[side] + half * (start < corners[side])
            last -= corners[side] - half * (end > corners[side + 1])
            part = (
                (left + first, top - half, left + last, top + half),
                (right - half, top + first, right + half, top + last),
                (right - last, bottom - half, right - first, bottom + half),
                (left - half, bottom - last, left + half, bottom - first),
            )[side]
            _fill(canvas, part, colour)


def _fill(canvas: Image.Image, box: Box, colour: str) -> None:
    """Fills a rectangle; pixels at its edges as far as it covers them."""
    covers, ends = [], []
    for low, high, length in zip(box[:2], box[2:], canvas.size, strict=True):
        first, last = max(math.floor(low), 0), min(math.ceil(high), length)
        if first >= last:
            return
        pixels = np.arange(first, last)
        covers.append(np.clip(np.minimum(pixels + 1, high) - np.maximum(pixels, low), 0, 1))
        ends.append((first, last))
    share = (255 * covers[1][:, None] * covers[0]).round().astype(np.uint8)
    (left, right), (top, bottom) = ends
    canvas.paste(colour, (left, top, right, bottom), Image.fromarray(share))


def svg(image: Image.Image, marks: Sequence[Mark]) -> str:
    """The same as an SVG that carries its image: boxes and words stay editable."""
    image = inputs.full_size(image)
    width, height = image.size
    pen = Pen.of(image.size)
    parts = []
    for one in placed(marks, image.size, pen):
        dash, gap = pen.dashes
        dashes = f' stroke-dasharray="{dash} {gap}"' if one.mark.dashed else ""
        edge = _rect(one.box)
        parts.append(
            f'<rect {edge} fill="none" stroke="white" stroke-width="{pen.line + 2}"/>'
            f'<rect {edge} fill="none" stroke="{one.mark.colour}" stroke-width="{pen.line}"{dashes}/>'
        )
        if one.words:
            x, y = one.chip[0] + 0.3 * pen.letter, one.chip[1] + 1.02 * pen.letter
            length = one.chip[2] - one.chip[0] - 0.6 * pen.letter
            parts.append(
                f'<rect {_rect(one.chip)} fill="white" stroke="{one.mark.colour}" stroke-width="1"/>'
                f'<text x="{x:.1f}" y="{y:.1f}" font-size="{pen.letter}" textLength="{length:.1f}">'
                f"{escape(one.words)}</text>"
            )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="{draw.FONTS}">'
        f'<image href="{draw.data_uri(image, max(image.size), quality=95)}" width="{width}" height="{height}"/>'
        f"{''.join(parts)}</svg>"
    )


def _rect(box: Box) -> str:
    """A box as the attributes of an SVG's rectangle."""
    left, top, right, bottom = box
    return f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}"'


def coco_set(
    marks: Sequence[Mark], names: Sequence[str], size: tuple[int, int], file: str = segment_draw.IMAGE_FILE
) -> dict[str, Any]:
    """The boxes as a COCO data set of one image; a mark's group is the place of its category in `names`."""
    made = Coco(names)
    made.image(file, size)
    for mark in marks:
        made.box(mark.group + 1, mark.box, mark.score)
    return made.data()


def coco_json(
    marks: Sequence[Mark], names: Sequence[str], size: tuple[int, int], file: str = segment_draw.IMAGE_FILE
) -> str:
    """`coco_set` as text."""
    return draw.to_json(coco_set(marks, names, size, file))


def yolo_zip(data: dict[str, Any]) -> bytes:
    """The YOLO files of a COCO data set."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, text in coco.yolo(data).items():
            archive.writestr(zipfile.ZipInfo(name), text)  # the same moment, as for crops
    return buffer.getvalue()


def to_csv(marks: Sequence[Mark]) -> str:
    """label, kind, score, left, top, right, bottom; best first."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["label", "kind", "score", "left", "top", "right", "bottom"])
    for mark in marks:
        score = "" if mark.score is None else f"{mark.score:.6f}"
        writer.writerow(
            [draw.plain_cell(mark.label), mark.kind, score, *(f"{side:.2f}" for side in mark.box)]
        )
    return buffer.getvalue()


def crops_zip(image: Image.Image, marks: Sequence[Mark]) -> bytes:
    """The content of each box as a PNG, numbered and named by its label."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for at, mark in enumerate(marks, 1):
            crop = draw.png(image.crop(whole(mark.box, image.size)))
            name = re.sub(r"[^\w-]+", "_", mark.label).strip("_")[:40] or "box"
            # Every entry gets the same moment, so that the same boxes give the same file.
            archive.writestr(zipfile.ZipInfo(f"{at:02d}_{name}.png"), crop)
    return buffer.getvalue()


def exports(image: Image.Image, marks: Sequence[Mark], names: Sequence[str], stem: str, lang: str) -> str:
    """Links to all downloads of one answer; the file names begin with `stem`."""
    image = inputs.full_size(image)
    size, title = inputs.size_of(image), pick(lang, "image with boxes PNG", "带框图片 PNG")
    data = coco_set(marks, names, size)
    files: list[tuple[str, str, bytes, str]] = [
        ("boxes.png", "image/png", annotated_png(image, marks), title),
        ("boxes.svg", "image/svg+xml", svg(image, marks).encode(), "SVG"),
        ("coco.json", "application/json", draw.to_json(data).encode(), "COCO JSON"),
        ("yolo.zip", "application/zip", yolo_zip(data), "YOLO ZIP"),
        ("voc.xml", "application/xml", next(iter(coco.voc(data).values())).encode(), "Pascal VOC XML"),
        ("boxes.csv", "text/csv", to_csv(marks).encode("utf-8-sig"), "CSV"),
        ("crops.zip", "application/zip", crops_zip(image, marks), pick(lang, "crops ZIP", "裁剪图 ZIP")),
    ]
    return downloads((f"{stem}-{name}", mime, data, title) for name, mime, data, title in files)
