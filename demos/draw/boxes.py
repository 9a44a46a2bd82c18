"""Boxes on an image: the overlay of a page; the same boxes as files are in `demos.draw.box_files`.

Pure functions. A box is a `Mark`: its sides, label, score and colour. `assets/js/detect.js` highlights in the browser what
belongs together and passes clicks on; `demos.kit.components.stage` makes the component of an overlay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from core import inputs
from demos.draw import base as draw
from demos.kit.html import Markup, join, tag
from demos.kit.language import pick

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels of the image

IMAGE_SIDE, CROP_SIDE = 960, 240  # pixels of the long side of the JPEGs in a page
# The room that a chip needs on an image about this many letters wide; an estimate, it only decides where chips go.
LETTERS_ACROSS, CHIP_HEIGHT = 36, 0.082
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
    order = sorted(range(len(marks)), key=lambda i: -area(marks[i].box))
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


def area(box: Sequence[float]) -> float:
    """Square pixels of a box."""
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
