"""*Look inside* of the ViLD page: candidate boxes, tensors and code of one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from demos.draw import base, boxes
from demos.kit import tensors
from demos.kit.components import output, pick_box, read_pick, stage
from demos.kit.html import Markup, join, tag
from demos.kit.places import Slots
from demos.vild import draw
from demos.vild.answer import Answer, ask, row_of
from demos.vild.words import PAPER, data, say, text

if TYPE_CHECKING:
    from demos.kit.layout import Layout
    from demos.vild.page import Question

FIRST = 12  # candidate boxes with a crop of their own
CELL, LONGEST = 66, 640  # pixels: width of a column of the matrix, and its longer side at most
ROW, LEAST_HEIGHT = 4, 120  # pixels: height of a row, and the least height
MOST_NAMES = 16  # columns of the matrix


# --- candidate boxes ---------------------------------------------------------------------------------------


def proposals(question: Question, lang: str) -> dict[str, Any]:
    """The slots of *Candidate boxes*: all of them on the image, the region of the first, the best ones, the line."""
    answer = ask(question)
    marks = draw.proposal_marks(answer.detection)
    return {
        "figure": boxes.overlay(answer.image, marks, lang, picks="look", chosen=0, fine=True),
        "region": draw.region(answer.image, answer.detection, 0, lang) if marks else "",
        "gallery": gallery(answer, lang),
        "line": answer.line(lang),
    }


def gallery(answer: Answer, lang: str) -> Markup:
    """The first candidate boxes as crops, each with its best label and its objectness."""
    detection = answer.detection
    cards = []
    for at in range(min(FIRST, len(detection.proposals))):
        best = int(detection.class_scores[at].argmax())
        name, share = detection.labels[best], float(detection.class_scores[at, best])
        if detection.background[at] > share:
            name, share = say("background", lang), float(detection.background[at])
        crop = tag("img", alt="", src=boxes.crop_uri(answer.image, detection.proposals[at], 120))
        caption = tag("b", f"{name} {base.percent(share)}")
        cards.append(tag("figure", crop, tag("figcaption", caption, f"{detection.objectness[at]:.2f}")))
    title = tag("h3", say("gallery", lang, count=len(cards)), class_="atlas-vild-title")
    return title + tag("div", *cards, class_="atlas-vild-gallery")


def look(question: Question, clicked: str, lang: str) -> dict[str, Any]:
    """The region of a clicked candidate box; nothing where the click belongs to another answer."""
    answer = ask(question)
    at = read_pick(clicked, len(answer.detection.proposals))
    return {} if at is None else {"region": draw.region(answer.image, answer.detection, at, lang)}


def proposals_tab(layout: Layout) -> None:
    """Lays *Candidate boxes* out and wires it."""
    gr.Markdown(text("regions_idea").tr)
    slots: Slots = {"figure": stage, "region": output, "gallery": output}
    place = layout.place("regions", text("regions_button"), slots)
    layout.ask(place.button.click, place, proposals)
    clicked = pick_box("look")
    layout.update(clicked.change, place, look, [clicked])


# --- tensors and code --------------------------------------------------------------------------------------


def shapes(answer: Answer) -> dict[str, str]:
    """The shape of every array of an answer, by the names of data.toml."""
    return {name: tensors.shape(getattr(answer.detection, name)) for name in data()["tensors"]}


def matrix(answer: Answer, lang: str) -> Markup:
    """The cosines of regions and labels as colours: each column runs from its lowest to its highest value."""
    detection = answer.detection
    cosines = detection.cosines[:, :MOST_NAMES]
    low, high = cosines.min(0), cosines.max(0)
    levels = (cosines - low) / np.maximum(high - low, 1e-9)
    rows, columns = levels.shape
    size = columns * CELL, min(LONGEST, max(rows * ROW, LEAST_HEIGHT))
    colours = Image.fromarray(base.heat_colors(levels)).resize(size, Image.Resampling.NEAREST)
    ranges = join(
        tag("li", tag("b", name), f" {least:+.2f} … {most:+.2f}")
        for name, least, most in zip(detection.labels, low.tolist(), high.tolist(), strict=False)
    )
    image = tag("img", alt=say("matrix_alt", lang), src=base.data_uri(colours, LONGEST))
    caption = tag("div", tag("figcaption", say("matrix", lang, rows=rows)), tag("ol", ranges))
    return tag("figure", image, caption, class_="atlas-vild-matrix")


def arrays(question: Question, lang: str) -> tuple[str, str]:
    """The matrix of cosines with every array of the answer, and the line."""
    answer = ask(question)
    table = tensors.table(tensors.named(PAPER, shapes(answer)), lang)
    return matrix(answer, lang) + table, answer.line(lang)


def code(question: Question, lang: str) -> tuple[Any, dict[str, str], str]:
    """The cards of the question's variant and network, their results, and the line."""
    answer = ask(question)
    variant = answer.detection.variant
    module = row_of(answer.detection.checkpoint).loader.partition(":")[0]
    cards = [
        card
        for card in data()["code"]
        if variant in card.get("variants", [variant]) and card.get("module", module) == module
    ]
    return cards, shapes(answer), answer.line(lang)
