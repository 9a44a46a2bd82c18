"""The *Look inside* tabs: where a label is seen, what reads what, and every tensor with its shape.

The map of pictures and texts is in `demos.clip.map`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from gradio.context import Context
from PIL import Image

from core import inputs
from core.errors import Refusal
from demos.clip import answer as handlers
from demos.clip import inside_draw
from demos.clip.shared import Common
from demos.draw import base as draw
from demos.kit import shell
from demos.kit.components import output
from demos.kit.shell import pick, tr

if TYPE_CHECKING:
    from core.clip.inside import Relevance

ALL = "all"
SHOWN_LABELS = 5  # rows of relevance on the page; the endpoint takes more
WHERE_IDEA = (
    "CLIP was only ever told what **whole** pictures show, never where. Yet its places know something of their own. Three "
    "methods ask them, none of which needs training. *Predict first:* where will each label light up?",
    "训练时 CLIP 只知道**整张**图片说的是什么，从没人告诉它东西在哪里。但图中各处其实各有所知。"
    "下面三种方法都不需要训练，就能问出来。*先猜一猜：*每个标签会在哪里亮起来？",
)
ATTENTION_IDEA = (
    "In an attention layer every place **reads** from all others; the weights say how much. A ViT has many layers of it; a "
    "ResNet CLIP only one, at its very end, where the places are pooled into one vector.",
    "在注意力层里，每个位置都从所有其他位置那里**读取**信息，权重说明读多少。"
    "ViT 有许多层；ResNet 的 CLIP 只在最后有一层，用来把各处汇成一个向量。",
)
STAGES_IDEA = (
    "Every tensor between your picture and the probabilities, with its shape: this is what the model really computes.",
    "从图片到概率之间的每个张量及其形状：这就是模型真正计算的东西。",
)


# --- endpoints -------------------------------------------------------------------------------------------


def clip_inside(
    image: gr.FileData,
    labels: list[str] | str,
    method: str = "maskclip",
    contrast: bool = True,
    template: str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Where each label is seen in a picture, and the shape of every tensor on the way.

    Args:
        image: a picture file, or a data URI.
        labels: a list, or one string with commas; at most 12.
        method: "maskclip", "gradcam" or "attribution" (attention times gradient).
        contrast: whether what the labels have in common is taken away first.
        template: a template set ("photo", "seven", "photo-zh", ...) or a sentence with {} for the label.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "method", "crop": [left, top, right, bottom] that the maps cover, "relevance": [{"label",
        "probability", "cosine", "map": rows of numbers}], "tensors": [{"name", "kind", "shape", "mean", "deviation"}]}.
    """
    from core.clip import inside

    with shell.api_errors():
        names = inputs.labels(labels)
        picture = inputs.image(shell.uploaded(image))
        model = handlers.model(checkpoint)
        found = inside.relevance(model, picture, names, method, contrast, template)
        way = [*inside.stages(model, picture), *inside.answer_stages(found.answer)]
        return {**found.to_json(), "tensors": [plain(stage) for stage in way]}


def plain(stage: Any) -> dict[str, Any]:
    """A tensor's facts as plain values."""
    return {
        "name": stage.name,
        "kind": stage.kind,
        "shape": list(stage.shape),
        "mean": round(stage.mean, 6),
        "deviation": round(stage.deviation, 6),
    }


def clip_attention(
    image: gr.FileData, row: int | None = None, column: int | None = None, checkpoint: str | None = None
) -> dict[str, Any]:
    """What one reader attends to, in every layer and head of the image encoder.

    Args:
        image: a picture file, or a data URI.
        row: of the place that reads, from 0; the whole picture reads when row and column are left out.
        column: of that place, from 0.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "layers": names, "heads", "grid": [rows, columns], "crop": [left, top, right, bottom], "weights":
        [layers][heads][rows][columns], "kept": [layers][heads] (left on the token of the whole picture; with it the weights
        sum to 1), "mean": per layer, whether it is the mean of all readers}.
    """
    from core.clip import inside

    with shell.api_errors():
        picture = inputs.image(shell.uploaded(image))
        model = handlers.model(checkpoint)
        reader = None if row is None or column is None else (row, column)
        found = inside.attention(model, picture, reader)
        return {
            "checkpoint": model.checkpoint,
            "layers": list(found.layers),
            "heads": found.weights.shape[1],
            "grid": list(found.weights.shape[2:]),
            "crop": [float(value) for value in found.crop],
            "weights": np.round(found.weights, 6).tolist(),
            "kept": np.round(found.kept, 6).tolist(),
            "mean": list(found.mean),
        }


# --- handlers --------------------------------------------------------------------------------------------


def known_boxes(labels: tuple[str, ...], example: str, image: Image.Image) -> list[list[list[float]]]:
    """For each label the boxes of the things it names, where the picture is one that the classroom composed."""
    row = handlers.examples().get(example, {})
    things = row.get("objects", [])
    if not things or inputs.digest(image) != inputs.digest(inputs.image(row["path"])):
        return [[] for _ in labels]
    from core.classroom.world.wording import phrase

    def names(thing: dict[str, Any]) -> set[str]:
        return {thing["en"], phrase(thing["en"], "en"), thing["zh"], phrase(thing["zh"], "zh")}

    return [[thing["box"] for thing in things if label.lower() in names(thing)] for label in labels]


def where(
    picture: str | None,
    labels: str,
    method: str,
    contrast: bool,
    example: str,
    checkpoint: str,
    lang: str,
) -> tuple[str, str]:
    """The cards of relevance and the result line."""
    from core.clip import inside

    image, names = inputs.image(shell.picture_source(picture)), inputs.labels(labels)
    model = handlers.model(checkpoint)
    start = time.perf_counter()
    encoded = model.encode(image)
    ranked = model.classify(encoded, names)
    chosen = [ranked.labels[i] for i in sorted(ranked.order[:SHOWN_LABELS].tolist())]
    methods = list(inside.METHODS) if method == ALL else [method]
    found = [inside.relevance(model, image, chosen, one, contrast) for one in methods]
    answer = found[0].answer
    boxes = known_boxes(answer.labels, example, image)
    shares = [
        [
            inside.share_inside(one, answer.crop, places) if places else None
            for one, places in zip(each.maps, boxes, strict=True)
        ]
        for each in found
    ]
    body = inside_draw.relevance_cards(found, image, boxes, shares, lang)
    if len(chosen) < len(names):
        more = pick(
            lang,
            f"Only the {len(chosen)} likeliest of {len(names)} labels are shown.",
            f"共 {len(names)} 个标签，只显示最可能的 {len(chosen)} 个。",
        )
        body += f'<p class="atlas-line">{more}</p>'
    line = handlers.shown_line(answer, encoded, time.perf_counter() - start, lang)
    return body, line + shell.downloads(relevance_files(found, image))


def relevance_files(found: list[Relevance], image: Image.Image) -> list[tuple[str, str, bytes]]:
    """The maps as JSON, and the best label's as a picture."""
    first = found[0]
    best = int(first.answer.order[0])
    overlay = draw.heat_overlay(image, first.maps[best], first.answer.crop)
    return [
        ("clip-where.json", "application/json", draw.to_json([one.to_json() for one in found]).encode()),
        ("clip-where.png", "image/png", draw.png_beside(overlay, first.answer.to_json()["results"])),
    ]


def attend(picture: str | None, checkpoint: str, lang: str) -> tuple[str, str]:
    """The surface with what the whole picture reads, and the result line."""
    return read_from(picture, None, checkpoint, lang)


def read_from(picture: str | None, value: str | None, checkpoint: str, lang: str) -> tuple[str, str]:
    """The surface with what the place reads that was clicked on it."""
    from core.clip import inside
    from demos.kit import components

    image = inputs.image(shell.picture_source(picture))
    model = handlers.model(checkpoint)
    start = time.perf_counter()
    found = inside.attention(model, image, reader_of(components.read(value).get("reader")))
    seconds = time.perf_counter() - start
    facts = [
        pick(
            lang,
            f"layers: {len(found.layers)}, heads: {found.weights.shape[1]}",
            f"{len(found.layers)} 层 × {found.weights.shape[1]} 头",
        ),
        pick(lang, "grid", "网格") + f" {found.weights.shape[2]} × {found.weights.shape[3]}",
    ]
    line = shell.result_line(seconds, model.checkpoint, model.device, lang, " · ".join(facts))
    if len(found.layers) == 1 and not found.mean[0]:
        note = pick(
            lang,
            "This checkpoint's image encoder is a ResNet: its only attention is the pool at the end. A ViT shows a row of "
            "tiles for every block.",
            "这组权重的图像编码器是 ResNet：只有最后的池化用到注意力。换成 ViT，每个块都会有一行小图。",
        )
        line = f'<p class="atlas-hint">{note}</p>' + line
    return inside_draw.attention_value(found, image), line


def reader_of(value: Any) -> tuple[int, int] | None:
    """Row and column from a surface; anything else is refused."""
    if value is None:
        return None
    if isinstance(value, list) and len(value) == 2 and all(isinstance(part, int) for part in value):
        return value[0], value[1]
    raise Refusal("bad_drawing")


def tensors(picture: str | None, labels: str, checkpoint: str, lang: str) -> tuple[str, str]:
    """The table of tensors and the result line."""
    from core.clip import inside

    image, names = inputs.image(shell.picture_source(picture)), inputs.labels(labels)
    model = handlers.model(checkpoint)
    start = time.perf_counter()
    encoded = model.encode(image)
    answer = model.classify(encoded, names)
    way = [*inside.stages(model, image), *inside.answer_stages(answer)]
    line = handlers.shown_line(answer, encoded, time.perf_counter() - start, lang)
    facts = draw.to_json({"checkpoint": model.checkpoint, "tensors": [plain(stage) for stage in way]})
    return inside_draw.stage_table(way, lang), line + shell.downloads(
        [("clip-tensors.json", "application/json", facts.encode())]
    )


# --- layout ----------------------------------------------------------------------------------------------


def where_tab(common: Common) -> None:
    """Lays out *Where is it?* and wires it."""
    gr.Markdown(tr(*WHERE_IDEA))
    methods = inside_draw.words()["methods"]
    choices = [(tr(row["title"]["en"], row["title"]["zh"]), name) for name, row in methods.items()]
    method = gr.Radio(
        [*choices, (tr("All three, side by side", "三种并排"), ALL)],
        value="gradcam",
        label=tr("Method", "方法"),
        elem_id="where-method",
    )
    contrast = gr.Checkbox(
        value=True,
        label=tr("Take away what the labels have in common", "去掉各标签共有的部分"),
        info=tr(
            "Asks what tells each label from the others; try it without.",
            "问的是：什么把这个标签与其他标签区分开；也试试不勾选。",
        ),
        elem_id="where-contrast",
    )
    run = gr.Button(tr("Show where", "看看在哪里"), variant="primary", elem_id="where-button")
    body, line = output("where-out"), output("where-line")
    says = "".join(
        f"<dt>{shell.both(row['title']['en'], row['title']['zh'])}</dt>"
        f"<dd>{shell.both(row['says']['en'], row['says']['zh'])}</dd>"
        for row in methods.values()
    )
    with gr.Accordion(tr("How each method asks", "各种方法怎么问"), open=False, elem_id="where-methods"):
        gr.HTML(f'<dl class="atlas-facts">{says}</dl>', padding=False, apply_default_css=False)
    asked = [common.picture, common.labels, method, contrast, common.example, common.checkpoint]
    common.page.on([run.click, method.input, contrast.input], where, asked, [body, line])
    gr.api(clip_inside, api_name="clip_inside")


def attention_tab(common: Common) -> None:
    """Lays out *Attention* and wires it."""
    page, tab = common.page, Context.block
    gr.Markdown(tr(*ATTENTION_IDEA))
    run = gr.Button(tr("Show what reads what", "看看谁在读什么"), variant="primary", elem_id="attend-button")
    surface = gr.HTML(
        value="",
        html_template=inside_draw.attention_template(),
        js_on_load=inside_draw.attention_script(),
        elem_id="attend",
        padding=False,
        apply_default_css=False,
    )
    line = output("attend-line")
    asked, shown = [common.picture, common.checkpoint], [surface, line]
    page.on([run.click, tab.select], attend, asked, shown)  # type: ignore[union-attr]
    reading = [common.picture, surface, common.checkpoint]
    page.on(surface.select, read_from, reading, shown, show_progress="hidden", trigger_mode="always_last")
    gr.api(clip_attention, api_name="clip_attention")


def tensors_tab(common: Common) -> None:
    """Lays out *Tensors* and wires it."""
    gr.Markdown(tr(*STAGES_IDEA))
    run = gr.Button(tr("Show every tensor", "列出每个张量"), variant="primary", elem_id="tensors-button")
    body, line = output("tensors-out"), output("tensors-line")
    common.page.on(run.click, tensors, [common.picture, common.labels, common.checkpoint], [body, line])
