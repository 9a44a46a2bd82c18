"""Boxes on an image: the overlay of a page, and the same boxes as SVG, PNG, COCO, YOLO, VOC, CSV and crops.

Pure functions. A box is a `Mark`: its sides, label, score and colour. `assets/js/detect.js` highlights in the browser what
belongs together and passes clicks on; `demos.kit.components.stage` makes the component of an overlay.
"""

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
from demos.kit.files import downloads
from demos.kit.html import Markup, escape, join, tag
from demos.kit.language import pick

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels of the image

IMAGE_SIDE, CROP_SIDE = 960, 240  # pixels of the long side of the JPEGs in a page
# The room that a chip needs on an image about this many letters wide; an estimate, it only decides where chips go.
LETTERS_ACROSS, CHIP_HEIGHT = 36, 0.082
LETTERS_IN_FILES = 62
MOST_LETTERS = 60  # in the caption of a box in a file
CHIP_PLACES = ("above", "inside", "below", "above-end", "inside-end", "below-end")
MOST_NAMED = 12  # boxes in the description of an overlay


@dataclass(frozen=True)
class Mark:
    """One box."""

    box: Box
    label: str  # escaped here
    score: float | None  # 0 to 1; None where a box has none
    colour: str  # "#rrggbb"
    group: int = 0  # boxes, entries of the legend and phrases of one group are highlighted together
    kind: str = ""  # a word for tables, such as "base"
    dashed: bool = False  # so that no meaning is in colour alone
    pick: int = -1  # the number that a click passes to Python; -1 for a box without clicks


@dataclass(frozen=True)
class Entry:
    """One row of the legend."""

    label: str
    colour: str
    group: int
    note: str = ""
    dashed: bool = False


def marks_of(
    boxes: np.ndarray,
    groups: Sequence[int],
    names: Sequence[str],
    scores: Sequence[float] | np.ndarray | None,
    colours: Sequence[str],
) -> list[Mark]:
    """Marks of an answer, in its order; a click passes on the place of a box in it.

    Args:
        boxes: [R, 4] xyxy pixels.
        groups: R indices of names, one for each box.
        names: N labels or phrases.
        scores: R values in [0, 1], or None.
        colours: N colours.
    """
    values = [None] * len(boxes) if scores is None else [float(score) for score in scores]
    return [
        Mark(tuple(box), names[group], score, colours[group], int(group), pick=at)
        for at, (box, group, score) in enumerate(zip(boxes.tolist(), groups, values, strict=True))
    ]


def caption(mark: Mark) -> str:
    """The text on a box: label and score."""
    if mark.score is None:
        return mark.label
    return f"{mark.label} {mark.score:.2f}".strip()


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[R, 4] and [K, 4], xyxy -> [R, K] intersection over union."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(-1)
    areas = [np.clip(one[:, 2:] - one[:, :2], 0, None).prod(-1) for one in (first, second)]
    return both / np.maximum(areas[0][:, None] + areas[1][None] - both, 1e-9)


# --- overlay -----------------------------------------------------------------------------------------------


def overlay(
    image: Image.Image,
    marks: Sequence[Mark],
    lang: str,
    *,
    entries: Sequence[Entry] = (),
    picks: str = "",
    above: str = "",
    chosen: int = -1,
    fine: bool = False,
    side: int = IMAGE_SIDE,
    letters: int = LETTERS_ACROSS,
) -> Markup:
    """The image with its boxes as HTML, and a legend under it.

    Args:
        image: the caller's image.
        marks: best first; a small box lies above a large one, so that both can be pointed at.
        lang: "en" or "zh".
        entries: of the legend.
        picks: the id of the `components.pick_box` that clicks on boxes go to; "" for an image without clicks.
        above: in the same figure, `Markup`: its elements with `data-group` are highlighted with their boxes.
        chosen: the pick that is marked as chosen at first.
        fine: thin lines without chips, paler where a score is low: for hundreds of boxes.
        side: pixels of the long side of the JPEG.
        letters: how many fit across the image at its size on the page.
    """
    size = inputs.size_of(image)
    order = sorted(range(len(marks)), key=lambda i: -_area(marks[i].box))
    boxes = join(_box(marks[i], size, picks, chosen, lang) for i in order)
    # The best box comes last, its chip lies above the others.
    places = [] if fine else list(zip(marks, chip_places(marks, size, letters), strict=True))
    chips = join(_chip(mark, place, size, picks) for mark, place in reversed(places))
    picture = tag(
        "div",
        tag("img", alt="", draggable="false", src=draw.data_uri(image, side)),
        boxes,
        chips,
        class_="atlas-det-stage",
        role="group" if picks else "img",
        aria_label=_title(marks, lang),
        style=f"--ratio:{image.width / image.height:.4f}",
    )
    legend = tag("ul", *map(_entry, entries), class_="atlas-det-legend") if entries else ""
    look = "atlas-det fine" if fine else "atlas-det"
    return tag("figure", above, picture, legend, class_=look, data_picks=picks or None)


def _title(marks: Sequence[Mark], lang: str) -> str:
    if not marks:
        return pick(lang, "The image, without a box", "图片，没有方框")
    names = ", ".join(caption(mark) for mark in marks[:MOST_NAMED])
    rest = len(marks) - MOST_NAMED
    more = pick(lang, f" and {rest} more", f" 等 {len(marks)} 个") if rest > 0 else ""
    return pick(lang, f"The image with boxes: {names}{more}", f"带方框的图片：{names}{more}")


def _box(mark: Mark, size: tuple[int, int], picks: str, chosen: int, lang: str) -> Markup:
    left, top, right, bottom = shares(mark.box, size)
    style = (
        f"left:{100 * left:.2f}%;top:{100 * top:.2f}%;width:{100 * (right - left):.2f}%;"
        f"height:{100 * (bottom - top):.2f}%;--c:{mark.colour};--sure:{1 if mark.score is None else mark.score:.2f}"
    )
    classes = f"atlas-det-box{' dashed' if mark.dashed else ''}"
    if not picks or mark.pick < 0:
        return tag("span", class_=classes, data_group=mark.group, style=style)
    where = ", ".join(f"{share:.0%}" for share in (left, top, right, bottom))
    return tag(
        "button",
        type="button",
        class_=classes,
        data_group=mark.group,
        data_pick=mark.pick,
        aria_pressed="true" if mark.pick == chosen else "false",
        aria_label=pick(lang, f"{caption(mark)}: box {where}", f"{caption(mark)}：方框 {where}"),
        style=style,
    )


def _chip(mark: Mark, place: str, size: tuple[int, int], picks: str) -> Markup:
    """The caption of a box, above all boxes; a mouse may click it, a keyboard has the box."""
    words = caption(mark)
    if not words:
        return Markup()
    left, top, right, bottom = shares(mark.box, size)
    row, _, end = place.partition("-")
    side = f"right:{100 * (1 - right):.2f}%" if end else f"left:{100 * left:.2f}%"
    return tag(
        "b",
        words,
        class_=f"atlas-det-chip {row}",
        aria_hidden="true",
        data_group=mark.group,
        data_pick=mark.pick if picks and mark.pick >= 0 else None,
        style=f"{side};top:{100 * (bottom if row == 'below' else top):.2f}%;--c:{mark.colour}",
    )


def _entry(entry: Entry) -> Markup:
    swatch = tag("i", class_="dashed" if entry.dashed else None, style=f"--c:{entry.colour}")
    text = tag("span", entry.label, tag("b", entry.note))
    button = tag("button", swatch, text, type="button", data_group=entry.group, aria_pressed="false")
    return tag("li", button)


def shares(box: Sequence[float], size: tuple[int, int]) -> Box:
    """A box as shares of width and height, cut off at the edges of the image."""
    left, top, right, bottom = (
        min(max(value / length, 0.0), 1.0) for value, length in zip(box, (*size, *size), strict=True)
    )
    return left, top, right, bottom


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _letters(text: str) -> int:
    """The width of a text in Latin letters; a Chinese character counts twice."""
    return sum(1 + (letter > "\u2e7f") for letter in text)


def chip_places(marks: Sequence[Mark], size: tuple[int, int], letters: int = LETTERS_ACROSS) -> list[str]:
    """Where each mark's chip goes, one of `CHIP_PLACES`: the first place that is free, best marks first."""
    ratio = size[0] / size[1]
    height = CHIP_HEIGHT * max(ratio, 1.0) * LETTERS_ACROSS / letters
    taken = np.zeros((0, 4))
    places = []
    for mark in marks:
        left, top, right, bottom = shares(mark.box, size)
        width = (_letters(caption(mark)) + 2) / (letters * min(ratio, 1.0))
        rows = {"above": top - height, "inside": top, "below": bottom}
        rooms = np.array(
            [
                [x, rows[place.partition("-")[0]], x + width, rows[place.partition("-")[0]] + height]
                for place in CHIP_PLACES
                for x in [right - width if place.endswith("-end") else left]
            ]
        )
        outside = np.clip(-rooms[:, :2], 0, None).sum(1) + np.clip(rooms[:, 2:] - 1, 0, None).sum(1)
        sides = np.minimum(rooms[:, None, 2:], taken[None, :, 2:]) - np.maximum(
            rooms[:, None, :2], taken[None, :, :2]
        )
        covered = np.clip(sides, 0, None).prod(-1).sum(-1)
        best = int((outside + 10 * covered).round(4).argmin())
        taken = np.concatenate([taken, rooms[best : best + 1]])
        places.append(CHIP_PLACES[best])
    return places


def crop_uri(image: Image.Image, box: Sequence[float] | np.ndarray, side: int = CROP_SIDE) -> str:
    """The content of a box as a data URI."""
    return draw.data_uri(inputs.crop(image, box), side)


def whole(box: Sequence[float] | np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A box in whole pixels inside the image, at least one pixel wide and high."""
    left = min(max(int(box[0]), 0), size[0] - 1)
    top = min(max(int(box[1]), 0), size[1] - 1)
    right = min(max(round(box[2]), left + 1), size[0])
    bottom = min(max(round(box[3]), top + 1), size[1])
    return left, top, right, bottom


# --- downloads ---------------------------------------------------------------------------------------------


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
        key=lambda pair: -_area(pair[0].box),
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
