"""A scene and what is known about it (`core.classroom.world.description.truth`) into HTML, images and tables.

Pure functions of plain values: what is shown is decoded from the same JSON that is downloaded.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core import masks as rle
from demos.draw import base as draw
from demos.kit import library
from demos.kit.files import to_data_uri
from demos.kit.html import escape
from demos.kit.language import pick

say = partial(library.say, "draw")
Truth = Mapping[str, Any]
# One colour an object, in the order of the scene; each also has its number.
COLOURS = (draw.SKY, draw.ORANGE, draw.PURPLE, draw.YELLOW)
POSES = {"standing": ("standing", "站立"), "eating": ("eating", "进食"), "lying": ("lying", "躺卧")}
CSV_HEAD = (
    "number", "code", "en", "zh", "pose", "style", "x", "y", "half", "depth",
    "left", "top", "right", "bottom", "seen_left", "seen_top", "seen_right", "seen_bottom", "area", "visible_area",
)  # fmt: skip


def source(image: NDArray[np.uint8]) -> str:
    """The image as the address of an `img`: a JPEG, a third of the PNG that is downloaded."""
    data = draw.encoded(Image.fromarray(image), "JPEG", quality=92, subsampling=0)
    return to_data_uri("image/jpeg", data)


def masks(known: Truth, name: str) -> list[NDArray[np.bool_]]:
    """The decoded masks "mask" or "visible_mask" of every object, [H, W] each."""
    size = known["size"]
    return [rle.decode(thing[name]["counts"], size, size) for thing in known["objects"]]


def mask_image(image: NDArray[np.uint8], known: Truth, name: str) -> NDArray[np.uint8]:
    """The image, pale and grey, with each object's mask in its colour and an edge around it."""
    grey = image.mean(-1, keepdims=True)
    shown = np.repeat(150 + 0.4 * grey, 3, axis=-1)
    for colour, mask in zip(COLOURS, masks(known, name), strict=False):
        rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], float)
        shown[mask] = 0.4 * shown[mask] + 0.6 * rgb
        shown[edge(mask)] = 0.45 * rgb
    return np.clip(shown, 0, 255).astype(np.uint8)


def edge(mask: NDArray[np.bool_], width: int = 2) -> NDArray[np.bool_]:
    """The outermost pixels of a mask."""
    padded = np.pad(mask, width)
    inner = mask.copy()
    for rows, columns in ((0, width), (2 * width, width), (width, 0), (width, 2 * width)):
        inner &= padded[rows : rows + mask.shape[0], columns : columns + mask.shape[1]]
    return mask & ~inner


def depth_image(known: Truth) -> NDArray[np.uint8]:
    """Distance in colours: yellow near, dark blue far."""
    size = known["size"]
    depth = np.ones((size, size), np.float32)
    for thing, mask in zip(known["objects"], masks(known, "visible_mask"), strict=True):
        depth[mask] = thing["depth"]
    return draw.heat_colors(1 - depth)


def box_image(image: NDArray[np.uint8], known: Truth, lang: str) -> str:
    """The image under its boxes as one SVG: whole objects dashed, what is seen of them solid."""
    size = known["size"]
    parts = []
    for at, (colour, thing) in enumerate(zip(COLOURS, known["objects"], strict=False), 1):
        for name, dash in (("box", ' stroke-dasharray="6 5"'), ("visible_box", "")):
            left, top, right, bottom = thing[name]
            if right > left:
                place = f'x="{left}" y="{top}" width="{right - left}" height="{bottom - top}"'
                parts.append(f'<rect {place} fill="none" stroke="#111" stroke-width="5"/>')
                parts.append(f'<rect {place} fill="none" stroke="{colour}" stroke-width="3"{dash}/>')
        left, top = thing["box"][:2]
        y = max(top, 4)
        parts.append(
            f'<rect x="{left}" y="{y}" width="26" height="26" fill="{colour}" stroke="#111" stroke-width="2"/>'
            f'<text x="{left + 13}" y="{y + 20}" text-anchor="middle" font-size="19" font-weight="700" fill="#111">{at}</text>'
        )
    label = pick(lang, "Boxes of the objects", "物体的框")
    return (
        f'<svg viewBox="0 0 {size} {size}" role="img" aria-label="{label}"><image width="{size}" height="{size}" '
        f'href="{source(image)}"/>{"".join(parts)}</svg>'
    )


def stage(image: NDArray[np.uint8], known: Truth, lang: str) -> str:
    """The image big, its captions beside it, and boxes, masks and depth below; a click makes any of them the big one."""
    views = {
        "picture": _img(image, known["captions"][lang][0]),
        "boxes": box_image(image, known, lang),
        "visible": _img(mask_image(image, known, "visible_mask"), say("scene_visible", lang)),
        "whole": _img(mask_image(image, known, "mask"), say("scene_whole", lang)),
        "depth": _img(depth_image(known), say("scene_depth", lang)),
    }
    figures = "".join(
        f'<figure data-is="{name}"><button type="button" data-view="{name}">{view}</button><figcaption>'
        f"<strong>{say(f'scene_{name}', lang)}</strong> {say(f'scene_{name}_is', lang)}</figcaption></figure>"
        for name, view in views.items()
    )
    return f'<div class="atlas-scene">{figures}{captions(known, lang)}{legend(known, lang)}</div>'


def _img(image: NDArray[np.uint8], alt: str) -> str:
    return f'<img alt="{escape(alt)}" src="{source(image)}">'


def captions(known: Truth, lang: str) -> str:
    """The true captions in both languages, the page's first, and the false one."""
    titles = {"en": pick(lang, "English", "英文"), "zh": pick(lang, "Chinese", "中文")}
    tags = {"en": "en", "zh": "zh-CN"}
    true = pick(lang, "True captions", "真实的描述")
    false = pick(lang, "false: the two are swapped", "错误：两个物体调换了")
    parts = []
    for name in (lang, "en" if lang == "zh" else "zh"):
        first, *others = known["captions"][name]
        lines = f"<li><strong>{escape(first)}</strong></li>" + "".join(
            f"<li>{escape(text)}</li>" for text in others
        )
        if known["swapped"]:
            lines += f'<li class="false"><s>{escape(known["swapped"][name])}</s></li>'
        parts.append(f'<h3>{titles[name]}</h3><ul class="atlas-said" lang="{tags[name]}">{lines}</ul>')
    note = f'<p class="atlas-line"><s>…</s> {false}</p>' if known["swapped"] else ""
    return f'<div class="atlas-scene-said"><h2>{true}</h2>{"".join(parts)}{note}</div>'


def legend(known: Truth, lang: str) -> str:
    """Number, colour and name of every object, how far it is and how much of it is seen."""
    items = []
    for at, (colour, thing) in enumerate(zip(COLOURS, known["objects"], strict=False), 1):
        name = escape(thing["zh" if lang == "zh" else "en"])
        pose = pick(lang, *POSES[thing["pose"]])
        posed = f" ({pose})" if thing["code"] == "1F411" else ""
        seen = thing["visible_area"] / thing["area"] if thing["area"] else 0.0
        facts = say("scene_facts", lang, depth=thing["depth"], seen=seen)
        items.append(
            f'<li><b style="background:{colour}">{at}</b> <span>{name}{posed}</span> <small>{facts}</small></li>'
        )
    tip = pick(lang, "Click a view to see it big.", "点一下任意一幅，就能放大看。")
    return f'<div class="atlas-scene-legend"><ol>{"".join(items)}</ol><p>{tip}</p></div>'


def to_csv(known: Truth) -> str:
    """One line an object; places in canvas units, boxes and areas in pixels."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(CSV_HEAD)
    writer.writerows(_cells(at, thing) for at, thing in enumerate(known["objects"], 1))
    return buffer.getvalue()


def _cells(number: int, thing: Mapping[str, Any]) -> Sequence[Any]:
    plain = [thing[name] for name in ("code", "en", "zh", "pose", "style", "x", "y", "half", "depth")]
    return [number, *plain, *thing["box"], *thing["visible_box"], thing["area"], thing["visible_area"]]
