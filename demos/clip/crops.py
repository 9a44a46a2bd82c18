"""The *Crops* tab: boxes drawn on the image, or a grid; each is classified alone, beside the whole image."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from core import inputs
from demos.clip import answer as answers
from demos.clip import draw as views
from demos.clip.words import text
from demos.draw import base as draw
from demos.kit import classifier, components, form
from demos.kit.components import output
from demos.kit.events import api_errors
from demos.kit.language import Text
from demos.kit.layout import Layout

if TYPE_CHECKING:
    from demos.clip.page import Question


def clip_crops(
    image: gr.FileData,
    labels: list[str] | str,
    boxes: list[list[float]] | None = None,
    rows: int = 2,
    columns: int = 2,
    template: str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Rank the same labels for the whole image and for parts of it.

    Args:
        image: an image file, or a data URI.
        labels: a list, or one string with commas; at most 100.
        boxes: parts as [left, top, right, bottom] in pixels of the image, at most 64; a grid when left out.
        rows: rows of that grid.
        columns: columns of that grid.
        template: a template set ("photo", "seven", "photo-zh", ...) or a sentence with {} for the label.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "whole": results as in clip_classify, "crops": [{"box", "results"}, ...]}.
    """
    from core.clip import crops

    with api_errors():
        source, names, model = classifier.receive(image, labels, checkpoint)
        size = inputs.size_of(source)
        places = crops.grid(*size, rows, columns) if boxes is None else crops.check_boxes(boxes, *size)
        return crops.classify_crops(model, source, places, names, template).to_json()


def boxes_of(drawn: str | None, image: Image.Image, rows: float, columns: float) -> np.ndarray:
    """The boxes [R, 4] on the surface in pixels of the file; the grid where nothing was drawn."""
    from core.clip import crops

    shares = components.read(drawn).get("boxes")
    if not shares:
        return crops.grid(*inputs.size_of(image), int(rows), int(columns))
    return crops.check_boxes(shares, *inputs.size_of(image), shares=True)


def classify(question: Question, drawn: str | None, rows: float, columns: float, lang: str) -> dict[str, Any]:
    """The surface with the best label on each box, and the table of all answers."""
    from core.clip import crops

    image, labels, model = answers.read(question)
    boxes = boxes_of(drawn, image, rows, columns)
    result = crops.classify_crops(model, image, boxes, labels, answers.template_of(question))
    captions = [
        f"{result.labels[best]} {draw.percent(float(shares[best]))}"
        for best, shares in zip(result.best.tolist(), result.probabilities, strict=True)
    ]
    shares = (boxes / np.array(inputs.size_of(image) * 2)).round(4).tolist()
    files = [
        draw.json_file("clip-crops.json", result.to_json()),
        draw.csv_file("clip-crops.csv", views.crops_csv(result)),
    ]
    return {
        "surface": json.dumps({"boxes": shares, "captions": captions}, ensure_ascii=False),
        "table": views.crop_table(result, image, lang),
        "line": answers.below([(result.whole, inputs.digest(image))], result.seconds, lang, files),
    }


@dataclass(frozen=True)
class Grid:
    """The parts where nothing is drawn."""

    rows: float = form.slider(1, 8, 2, text("rows"), place="top")
    columns: float = form.slider(1, 8, 2, text("columns"), place="top")


def lay_out(layout: Layout) -> None:
    """Lays the tab out and wires it."""
    gr.Markdown(text("crops").tr)
    surface = components.box_surface("crops-surface")
    components.follow(surface, layout.components["image"])
    with gr.Row(equal_height=True):
        sliders = list(form.lay_out_fields(Grid, "crops").values())
    place = layout.place("crops", Text("Classify each part", "逐块分类"), {"table": output})
    place.depends_on([surface])
    place.slots["surface"] = surface
    layout.ask(place.button.click, place, classify, [surface, *sliders])
    releases = [slider.release for slider in sliders]  # the grid takes the place of the boxes that were drawn
    layout.ask(releases, place, lambda question, *grid: classify(question, "", *grid), sliders)
