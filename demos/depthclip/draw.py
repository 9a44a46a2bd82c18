"""Depth as HTML: the coloured map over its image, the words at each place, tables of words and errors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from demos.depthclip.words import say
from demos.draw import base
from demos.kit import components
from demos.kit.html import Markup, grid, join, row, share, tag

if TYPE_CHECKING:
    from core.spatial import DepthEstimate

SIDE = 640  # pixels of the long side of what travels
CLOUD_POINTS = 20_000
FIELD = 0.9  # tangent of half the angle that an image is taken to cover across
MEASURES = ("abs_rel", "a1", "a2", "a3", "log10", "rmse")


def stage(elem_id: str, value: str = "") -> gr.HTML:
    """A place for `overlay`: a slider fades the map, pointing at a place shows its words (assets/js/depth.js)."""
    return components.stage(elem_id, value, ("depth.js",))


def coloured(depth: np.ndarray, bins: Sequence[float]) -> np.ndarray:
    """A map as colours over the range of the bins, near ones bright: uint8 [H, W, 3]."""
    low, high = min(bins), max(bins)
    return base.heat_colors(1 - (depth - low) / max(high - low, 1e-9))


def scale_bar(bins: Sequence[float]) -> Markup:
    """The colour bar in metres."""
    low, high = min(bins), max(bins)
    strip = base.heat_colors(1 - np.linspace(0, 1, 128)[None].repeat(12, 0))
    ticks = (low, (low + high) / 2, high)
    labels = join(tag("span", f"{value:.2f} m") for value in ticks)
    return tag("div", tag("img", src=base.png_uri(strip), alt=""), tag("div", labels), class_="dc-scale")


def overlay(image: Image.Image, result: DepthEstimate, lang: str) -> Markup:
    """The image under its depth map, a slider that fades it, the colour bar, and what a place says."""
    small = Image.fromarray(coloured(result.depth, result.bins))
    small.thumbnail((SIDE, SIDE))
    value = {
        "words": list(result.words),
        "probabilities": result.probabilities.round(3).tolist(),
        "depth": result.place_depth.round(2).tolist(),
    }
    pane = tag(
        "div",
        tag("img", src=base.data_uri(image, SIDE), alt=say("image_alt", lang)),
        tag("img", src=base.png_uri(small), alt=say("map_alt", lang), class_="dc-map"),
        class_="dc-pane",
        tabindex="0",
    )
    slider = tag(
        "label",
        say("fade", lang),
        tag("input", type="range", min="0", max="1", step="0.05", value="0.75"),
        class_="dc-fade",
    )
    said = tag("p", say("tip", lang), class_="atlas-line", role="status")
    return tag(
        "div", pane, slider, scale_bar(result.bins), said, class_="dc-stage", data_places=json.dumps(value)
    )


def word_table(result: DepthEstimate, lang: str) -> Markup:
    """Each word with its sentence, metres and share of the places."""
    shares = result.probabilities.mean((1, 2))
    body = [
        row(
            word,
            tag("td", sentence),
            tag("td", f"{metres:.2f} m"),
            share(float(part), base.percent(float(part))),
        )
        for word, sentence, metres, part in zip(
            result.words, result.sentences, result.bins, shares, strict=True
        )
    ]
    head = [say(name, lang) for name in ("word", "sentence", "metres", "share")]
    return grid(head, body) + tag("p", say("by_hand", lang), class_="atlas-hint")


def error_table(rows: Mapping[str, Mapping[str, float]], lang: str) -> Markup:
    """Measures by method; the constant is one of them."""
    body = [
        row(name, *(tag("td", f"{errors[measure]:.3f}") for measure in MEASURES))
        for name, errors in rows.items()
    ]
    return grid([say("method", lang), "AbsRel", "δ<1.25", "δ<1.25²", "δ<1.25³", "log10", "RMSE"], body)


def maps(pictures: Sequence[tuple[str, np.ndarray | Image.Image]]) -> Markup:
    """Images in a row with their titles."""
    figures = (
        tag("figure", tag("img", src=base.png_uri(one), alt=title), tag("figcaption", title))
        for title, one in pictures
    )
    return tag("div", join(figures), class_="dc-maps")


def bin_table(words: Sequence[str], before: Sequence[float], after: Sequence[float], lang: str) -> Markup:
    """The metres of each word before and after learning."""
    body = [
        row(word, tag("td", f"{one:.2f} m"), tag("td", f"{other:.2f} m"))
        for word, one, other in zip(words, before, after, strict=True)
    ]
    return grid([say("word", lang), say("by_hand_short", lang), say("learned", lang)], body)


def cloud_file(image: Image.Image, depth: np.ndarray) -> bytes:
    """The coloured point cloud as text: x y z red green blue, y up, for programs that show clouds."""
    height, width = depth.shape
    step = max(1, round((height * width / CLOUD_POINTS) ** 0.5))
    rows, columns = np.mgrid[0:height:step, 0:width:step]
    z = depth[rows, columns]
    x = (columns / max(width - 1, 1) * 2 - 1) * FIELD * z
    y = -(rows / max(height - 1, 1) * 2 - 1) * FIELD * z * height / width
    colours = np.asarray(image.resize((width, height)))[rows, columns]
    table: Any = np.concatenate([np.stack([x, y, -z], -1), colours], -1).reshape(-1, 6)
    return "\n".join(
        "{:.4f} {:.4f} {:.4f} {:.0f} {:.0f} {:.0f}".format(*one) for one in table.tolist()
    ).encode()
