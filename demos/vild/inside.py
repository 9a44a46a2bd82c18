"""*Look inside* of the ViLD page: candidate boxes, tensors and code of one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from demos.draw import base, boxes
from demos.kit import library
from demos.kit import tensors as tensor_table
from demos.kit.components import output, pick_box, picked, stage
from demos.kit.html import Markup, join, tag
from demos.kit.language import Text, pick
from demos.kit.places import Slots
from demos.vild import draw
from demos.vild.answer import PAPER, Answer, ask, result_line, row_of

if TYPE_CHECKING:
    from demos.kit.page import Layout
    from demos.vild.page import Question

FIRST = 12  # candidate boxes with a crop of their own
CELL, LONGEST = 66, 640  # pixels: width of a column of the matrix, and its longer side at most
ROW, LEAST_HEIGHT = 4, 120  # pixels: height of a row, and the least height
MOST_NAMES = 16  # columns of the matrix
PROPOSALS_IDEA = Text(
    "Before the network reads any label, it proposes boxes that contain *some* object. Click one to see its crop and its cosine "
    "with every label.",
    "在读取任何标签之前，网络已经给出含有某种物体的候选框。点击一个，查看它的裁剪图以及与每个标签的余弦相似度。",
)
TENSORS_IDEA = Text(
    "Regions and labels are vectors in one space. All scores come from one matrix of cosines.",
    "区域和标签是同一个空间里的向量，所有得分都来自一个余弦矩阵。",
)


# --- candidate boxes ---------------------------------------------------------------------------------------


def proposals(question: Question, lang: str) -> dict[str, Any]:
    """The slots of *Candidate boxes*: all of them on the image, the region of the first, the best ones, the line."""
    answer = ask(question)
    marks = draw.proposal_marks(answer.detection)
    return {
        "figure": boxes.overlay(answer.image, marks, lang, picks="look", chosen=0, fine=True),
        "region": draw.region(answer.image, answer.detection, 0, lang) if marks else "",
        "gallery": gallery(answer, lang),
        "line": result_line(answer, lang),
    }


def gallery(answer: Answer, lang: str) -> Markup:
    """The first candidate boxes as crops, each with its best label and its objectness."""
    detection = answer.detection
    cards = []
    for at in range(min(FIRST, len(detection.proposals))):
        best = int(detection.class_scores[at].argmax())
        name, share = detection.labels[best], float(detection.class_scores[at, best])
        if detection.background[at] > share:
            name, share = pick(lang, "background", "背景"), float(detection.background[at])
        crop = tag("img", alt="", src=boxes.crop_uri(answer.image, detection.proposals[at], 120))
        caption = tag("b", f"{name} {base.percent(share)}")
        cards.append(tag("figure", crop, tag("figcaption", caption, f"{detection.objectness[at]:.2f}")))
    title = pick(
        lang,
        f"The {len(cards)} boxes with the highest objectness: best label, its probability, and below it the objectness",
        f"物体性最高的 {len(cards)} 个候选框：最佳标签及其概率，下面是物体性",
    )
    return tag("h3", title, class_="atlas-vild-title") + tag("div", *cards, class_="atlas-vild-gallery")


def look(question: Question, clicked: str, lang: str) -> dict[str, Any]:
    """The region of a clicked candidate box; nothing where the click belongs to another answer."""
    answer = ask(question)
    at = picked(clicked, len(answer.detection.proposals))
    return {} if at is None else {"region": draw.region(answer.image, answer.detection, at, lang)}


def proposals_tab(layout: Layout) -> None:
    """Lays *Candidate boxes* out and wires it."""
    gr.Markdown(PROPOSALS_IDEA.tr)
    slots: Slots = {"figure": stage, "region": output, "gallery": output}
    place = layout.place("regions", Text("Show the candidate boxes", "显示候选框"), slots)
    layout.ask(place.button.click, place, proposals)
    clicked = pick_box("look")
    layout.update(clicked.change, place, look, [clicked])


# --- tensors and code --------------------------------------------------------------------------------------


def shapes(answer: Answer) -> dict[str, str]:
    """The shape of every array of an answer, by the names of data.toml."""
    arrays = {name: getattr(answer.detection, name) for name in library.data(PAPER)["tensors"]}
    return {name: "[" + ", ".join(map(str, array.shape)) + "]" for name, array in arrays.items()}


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
    caption = pick(
        lang,
        f"Cosines of {rows} regions (rows, highest objectness first) with the labels (columns, from the left). In each column "
        "the lowest value is dark and the highest is yellow.",
        f"{rows} 个区域（行，物体性高的在上）与各标签（列，从左到右）的余弦相似度。每一列中最小值为深色，最大值为黄色。",
    )
    alt = pick(lang, "cosines of regions and labels as colours", "以颜色表示的区域与标签的余弦相似度")
    image = tag("img", alt=alt, src=base.data_uri(colours, LONGEST))
    text = tag("div", tag("figcaption", caption), tag("ol", ranges))
    return tag("figure", image, text, class_="atlas-vild-matrix")


def tensors(question: Question, lang: str) -> tuple[str, str]:
    """The matrix of cosines with every array of the answer, and the line."""
    answer = ask(question)
    meanings = library.data(PAPER)["tensors"]
    steps = [(Text(name, name), shape, Text(**meanings[name])) for name, shape in shapes(answer).items()]
    return matrix(answer, lang) + tensor_table.table(steps, lang), result_line(answer, lang)


def code(question: Question, lang: str) -> tuple[Any, dict[str, str], str]:
    """The cards of the question's variant and network, their results, and the line."""
    answer = ask(question)
    variant = answer.detection.variant
    module = row_of(answer.detection.checkpoint).loader.partition(":")[0]
    cards = [
        card
        for card in library.data(PAPER)["code"]
        if variant in card.get("variants", [variant]) and card.get("module", module) == module
    ]
    return cards, shapes(answer), result_line(answer, lang)
