"""Images of a run: start and result under one slider, frames that a slider turns over, strips, figures, a film as a file.

The markup is what `assets/js/frames.js` works on; `assets/css/frames.css` lays it out.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import gradio as gr
import numpy as np
from PIL import Image

from demos.draw import base
from demos.kit import components
from demos.kit.html import Markup, join, tag
from demos.kit.language import Text

SMALL = 128  # pixels of a side up to which every pixel travels as it is
SIDE, CELL = 512, 112  # of larger images: on their own, and beside others
STRIP = 12  # images of a strip
KEPT = 48  # images of a film
CUT = 20  # percent of the width that shows the start at first
MILLISECONDS = 120  # of one image of a film
START, RESULT = Text("start", "起点"), Text("result", "结果")
SLIDER = Text(
    "Start on the left, result on the right: move the line between them",
    "左边是起点，右边是结果：移动中间的分界线",
)
Named = tuple[np.ndarray, str]  # an image [H, W, 3] uint8 and its caption


def stage(elem_id: str, value: str = "") -> gr.HTML:
    """A place for `pair` and `flip`."""
    return components.stage(elem_id, value, ("frames.js",))


def picture(image: np.ndarray, alt: str, side: int = SIDE, kind: str = "") -> Markup:
    """An image [H, W, 3] uint8 as an element; small ones keep their pixels."""
    is_small = max(image.shape[:2]) <= SMALL
    source = base.png_uri(image) if is_small else base.data_uri(Image.fromarray(image), side)
    return tag("img", src=source, alt=alt, class_=kind or None)


def cell(image: np.ndarray, alt: str) -> Markup:
    """A small image of a table."""
    return picture(image, alt, CELL, "fr-cell")


def pair(start: np.ndarray, made: np.ndarray, lang: str) -> Markup:
    """Both images one over the other; a slider moves the line between them."""
    height, width = start.shape[:2]
    parts = (
        picture(start, START.get(lang)),
        picture(made, RESULT.get(lang), kind="fr-made"),
        tag("span", START.get(lang)),
        tag("span", RESULT.get(lang)),
        tag("input", type="range", min="0", max="100", value=CUT, aria_label=SLIDER.get(lang)),
    )
    return tag("div", *parts, class_="fr-pair", style=f"--sides:{width}/{height};--cut:{CUT}%")


def flip(frames: Sequence[Named], title: str, at: int = 0) -> Markup:
    """Images with their captions, of which a slider shows one, `at` first."""
    figures = (
        tag("figure", picture(image, caption), tag("figcaption", caption), data_frame=i, hidden=i != at)
        for i, (image, caption) in enumerate(frames)
    )
    ends = {"min": 0, "max": len(frames) - 1, "value": at}
    slider = tag("input", type="range", aria_label=title, aria_valuetext=frames[at][1], **ends)
    return tag("div", join(figures), slider, class_="fr-flip")


def strip(frames: Iterable[Named]) -> Markup:
    """Small images in a row that scrolls sideways."""
    made = (tag("figure", picture(one, name, CELL), tag("figcaption", name)) for one, name in frames)
    return tag("div", join(made), class_="fr-strip", tabindex="0")


def figures(frames: Iterable[Named]) -> Markup:
    """Images beside each other, each with its caption."""
    made = (tag("figure", picture(one, name), tag("figcaption", name)) for one, name in frames)
    return tag("div", join(made), class_="fr-figures")


def spread(frames: Sequence[Named], count: int = STRIP) -> list[Named]:
    """At most so many of the images, the first and the last among them."""
    places = np.unique(np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int))
    return [frames[i] for i in places]


@dataclass
class Film:
    """The images of a run, small, at most KEPT of them from all its steps."""

    frames: list[Named] = field(default_factory=list)
    every: int = 1

    def add(self, step: int, image: np.ndarray) -> None:
        """Keeps the image of a step, if it is one of those that are kept."""
        if step % self.every:
            return
        small = Image.fromarray(image)
        small.thumbnail((SMALL, SMALL))
        self.frames.append((np.asarray(small), str(step)))
        if len(self.frames) > KEPT:
            self.frames, self.every = self.frames[::2], self.every * 2


def gif(frames: Sequence[Named], side: int = 256) -> bytes:
    """Images as a film of that width."""
    images = [Image.fromarray(image) for image, _ in frames]
    first, *others = (one.resize((side, side * one.height // one.width), 0) for one in images)
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=MILLISECONDS, loop=0)
    return buffer.getvalue()
