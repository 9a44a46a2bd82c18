"""Clouds and depth images as HTML: the turning cloud with its cameras, the views with their probabilities."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from demos.draw import base
from demos.kit.components import surface
from demos.kit.html import Markup, join, tag
from demos.pointclip.words import say

if TYPE_CHECKING:
    from core.spatial import PointClassification
    from core.spatial.projection import Projection

SHOWN = 3000  # points of the turning cloud
SIDE = 112  # pixels of a view on the page
SHOWN_LABELS = 2  # under each view
TEMPLATE = (
    '<div class="pc-viewer" tabindex="0" role="img"><canvas width="640" height="420"></canvas>'
    '<p class="atlas-line"></p></div>'
)


def viewer(elem_id: str) -> gr.HTML:
    """A place for the turning cloud (assets/js/cloud.js): mouse, touch and arrow keys turn it."""
    return surface(elem_id, "cloud.js", TEMPLATE)


def viewer_value(points: np.ndarray, projection: Projection) -> str:
    """The value of the viewer: points as 16-bit numbers, and where the cameras of the views stand."""
    from core.spatial.projection import cameras

    step = max(1, len(points) // SHOWN)
    small = (points[::step][:SHOWN].clip(-1, 1) * 32_000).astype("<i2")
    places = cameras(projection).numpy()
    value = {
        "points": base64.b64encode(small.tobytes()).decode(),
        "cameras": places.round(3).tolist(),
    }
    return json.dumps(value)


def picture(view: np.ndarray, projection: Projection) -> Image.Image:
    """A depth image as the page shows it: near is bright for the perspective one, V2's as it is."""
    from core.spatial.projection import Perspective

    if isinstance(projection, Perspective):
        near = np.where(view > 0, (projection.distance + 1 - view) / 2, 0).clip(0, 1)
        levels = np.where(view > 0, 0.25 + 0.75 * near, 0)
    else:
        levels = view
    return Image.fromarray((levels * 255).round().astype(np.uint8))


def views(result: PointClassification, projection: Projection, lang: str) -> Markup:
    """The depth images with the best labels of each view alone, and its weight."""
    figures = []
    best = int(result.order[0])
    for number, (view, probabilities, weight) in enumerate(
        zip(result.views, result.view_probabilities, result.view_weights, strict=True), 1
    ):
        order = np.argsort(-probabilities, kind="stable")[:SHOWN_LABELS].tolist()
        lines = [
            tag(
                "span",
                f"{result.labels[i]} {base.percent(float(probabilities[i]))}",
                class_="pc-agrees" if i == best else "",
            )
            for i in order
        ]
        image = picture(view, projection).resize((SIDE, SIDE), Image.Resampling.NEAREST)
        alt = say("view_alt", lang, number=number, label=result.labels[order[0]])
        title = tag("b", say("view_title", lang, number=number, weight=float(weight)))
        figures.append(
            tag(
                "figure",
                tag("img", src=base.png_uri(image), alt=alt, width=SIDE, height=SIDE),
                tag("figcaption", title, *lines),
                class_="pc-off" if weight == 0 else None,
            )
        )
    return tag("div", join(figures), class_="pc-views")


def sheet(views: np.ndarray, projection: Projection) -> np.ndarray:
    """All depth images in one row, uint8 [H, V W]."""
    return np.concatenate([np.asarray(picture(view, projection)) for view in views], 1)


def accuracy_table(rows: list[tuple[str, float]], lang: str) -> Markup:
    """Accuracies with bars."""
    from demos.kit.html import grid, row, share

    body = [row(name, share(value, f"{100 * value:.0f} %")) for name, value in rows]
    return grid([say("method", lang), say("accuracy", lang)], body)


def both(columns: list[tuple[str, Any]]) -> Markup:
    """Two columns with their titles."""
    return tag(
        "div", join(tag("section", tag("h3", title), body) for title, body in columns), class_="pc-both"
    )
