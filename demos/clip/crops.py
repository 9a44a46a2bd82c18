"""The *Crops* tab: boxes drawn on the picture or a grid, each classified alone, beside the whole picture's answer.

Its two lessons are one click each: a flock whose animals do different things, and labels in a language that a
checkpoint cannot read.
"""

from __future__ import annotations

import json
import time
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from core import checkpoints, inputs
from demos.clip import answer as handlers
from demos.clip import draw as clip_draw
from demos.clip.shared import Common
from demos.draw import base as draw
from demos.kit import components, shell
from demos.kit.components import output
from demos.kit.shell import pick, tr

FLOCK = "flock"
ENGLISH_ONLY = "clip-vit-b32"
IDEA = (
    "CLIP gives **one** vector for a whole picture, so its answer says nothing about which part does what. Cut the "
    "picture into boxes and ask about each: that is the first step from naming a picture to finding things in it.",
    "CLIP 给整张图片**一个**向量，所以它的回答说不清哪一部分是什么。把图片切成方框，逐个提问："
    "这就是从“给图片取名”走向“在图中找东西”的第一步。",
)


# --- endpoint --------------------------------------------------------------------------------------------


def clip_crops(
    image: gr.FileData,
    labels: list[str] | str,
    boxes: list[list[float]] | None = None,
    rows: int = 2,
    columns: int = 2,
    template: str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Rank the same labels for the whole picture and for parts of it.

    Args:
        image: a picture file, or a data URI.
        labels: a list, or one string with commas; at most 100.
        boxes: parts as [left, top, right, bottom] in pixels of the picture, at most 64; a grid when left out.
        rows: rows of that grid.
        columns: columns of that grid.
        template: a template set ("photo", "seven", "photo-zh", ...) or a sentence with {} for the label.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "whole": results as in clip_classify, "crops": [{"box", "results"}, ...]}.
    """
    from core.clip import crops

    with shell.api_errors():
        names = inputs.labels(labels)
        picture = inputs.image(shell.uploaded(image))
        size = inputs.size_of(picture)
        found = crops.grid(*size, rows, columns) if boxes is None else crops.check_boxes(boxes, *size)
        return crops.classify_crops(handlers.model(checkpoint), picture, found, names, template).to_json()


# --- handlers --------------------------------------------------------------------------------------------


def boxes_of(drawn: str | None, image: Image.Image, rows: float, columns: float) -> np.ndarray:
    """The boxes on the surface in pixels [R, 4]; the grid where nothing was drawn."""
    from core.clip import crops

    shares = components.read(drawn).get("boxes")
    if not shares:
        return crops.grid(*inputs.size_of(image), int(rows), int(columns))
    return crops.check_boxes(shares, *inputs.size_of(image), shares=True)


def classify(
    picture: str | None,
    drawn: str | None,
    rows: float,
    columns: float,
    labels: str,
    checkpoint: str,
    lang: str,
) -> tuple[str, str, str]:
    """The surface with the best label on each box, the table of all answers, and the result line."""
    from core.clip import crops

    image, names = inputs.image(shell.picture_source(picture)), inputs.labels(labels)
    boxes = boxes_of(drawn, image, rows, columns)
    model = handlers.model(checkpoint)
    result = crops.classify_crops(model, image, boxes, names)
    thumbnails = [inputs.crop(image, box) for box in result.seen.tolist()]
    captions = [
        f"{result.labels[best]} {draw.percent(float(row[best]))}"
        for best, row in zip(result.best.tolist(), result.probabilities, strict=True)
    ]
    answer = result.to_json()
    files = [
        ("clip-crops.json", "application/json", draw.to_json(answer).encode()),
        ("clip-crops.csv", "text/csv", clip_draw.crops_csv(result).encode("utf-8-sig")),
    ]
    line = handlers.shown_line(result.whole, model.encode(image), result.seconds, lang)
    return (
        marked(boxes, image, captions),
        clip_draw.crop_table(result, image, thumbnails, lang),
        line + shell.downloads(files),
    )


def marked(boxes: np.ndarray, image: Image.Image, captions: list[str]) -> str:
    """A surface's value with these boxes [R, 4] (pixels of the file) and what is written on them."""
    shares = (boxes / np.array(inputs.size_of(image) * 2)).round(4).tolist()
    return json.dumps({"boxes": shares, "captions": captions}, ensure_ascii=False)


def lay_grid(picture: str | None, rows: float, columns: float, lang: str) -> tuple[str]:
    """The surface with a grid in place of what was drawn."""
    from core.clip import crops

    image = inputs.image(shell.picture_source(picture))
    return (marked(crops.grid(*inputs.size_of(image), int(rows), int(columns)), image, []),)


def flock(lang: str) -> tuple[Any, ...]:
    """The flock of four sheep, each doing something else, cut into four: picture, labels, grid, surface, example."""
    path, labels, *_ = handlers.fill(FLOCK, lang)
    # Without boxes the grid counts.
    return path, labels, 2, 2, "{}", FLOCK


def languages(
    picture: str | None,
    drawn: str | None,
    rows: float,
    columns: float,
    example: str,
    checkpoint: str,
    lang: str,
) -> tuple[str, str]:
    """The example's labels in English and in Chinese: does each place get the same answer in both?

    The page's checkpoint is asked, and the English-only one where it is on this machine.
    """
    from core.clip import crops

    name = example if example in handlers.examples() else FLOCK
    row = handlers.examples()[name]
    image = inputs.image(shell.picture_source(picture) if name == example else row["path"])
    pairs = [inputs.labels(row["labels"][code]) for code in ("en", "zh")]
    boxes = boxes_of(drawn, image, rows, columns)
    asked = [handlers.model(checkpoint).checkpoint]
    here = checkpoints.state(ENGLISH_ONLY) in ("bundled", "cached")
    asked += [ENGLISH_ONLY] if here and ENGLISH_ONLY not in asked else []
    parts = []
    start = time.perf_counter()
    for one in asked:
        model = handlers.model(one)
        english, chinese = (crops.classify_crops(model, image, boxes, labels) for labels in pairs)
        parts.append(clip_draw.language_table(english, chinese, lang))
    if not here:
        title = checkpoints.row(ENGLISH_ONLY).title[lang]
        note = pick(
            lang,
            f"{title}, which reads only English, is not on this machine: fetch it in the menu above, and it is asked "
            "here too.",
            f"只懂英文的 {title} 不在本机上：在上方菜单中下载后，这里也会问它。",
        )
        parts.append(f'<p class="atlas-hint">{note}</p>')
    line = handlers.shown_line(english.whole, model.encode(image), time.perf_counter() - start, lang)
    return "".join(parts), line


# --- layout ----------------------------------------------------------------------------------------------


def crops_tab(common: Common) -> None:
    """Lays the tab out and wires it."""
    page = common.page
    gr.Markdown(tr(*IDEA))
    with gr.Row(elem_classes="atlas-lessons"):
        sheep = gr.Button(tr("Lesson: a flock", "一课：羊群"), size="sm", elem_id="crops-flock")
        babel = gr.Button(
            tr("Lesson: labels it cannot read", "一课：看不懂的标签"), size="sm", elem_id="crops-languages"
        )
    surface = components.box_surface("crops-surface")
    components.follow(surface, common.picture)
    with gr.Row(equal_height=True):
        rows = gr.Slider(1, 8, value=2, step=1, label=tr("Grid: rows", "网格：行"), elem_id="crops-rows")
        columns = gr.Slider(1, 8, value=2, step=1, label=tr("columns", "列"), elem_id="crops-columns")
        lay = gr.Button(tr("Lay the grid", "铺上网格"), elem_id="crops-grid", min_width=120)
    run = gr.Button(tr("Classify each part", "逐块分类"), variant="primary", elem_id="crops-button")
    table, line = output("crops-out"), output("crops-line")
    other = output("crops-languages-out")

    where = [common.picture, surface, rows, columns]
    asked, shown = [*where, common.labels, common.checkpoint], [surface, table, line]
    page.on(run.click, classify, asked, shown)
    page.on(lay.click, lay_grid, [common.picture, rows, columns], [surface], show_progress="hidden")
    filled = [common.picture, common.labels, rows, columns, surface, common.example]
    page.then(page.on(sheep.click, flock, [], filled, show_progress="hidden"), classify, asked, shown)
    page.on(babel.click, languages, [*where, common.example, common.checkpoint], [other, line])
    gr.api(clip_crops, api_name="clip_crops")
