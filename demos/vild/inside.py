"""The *Proposals*, *Tensors* and *Code* tabs of the ViLD page: what was made on the way from picture and words to boxes."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from core import checkpoints
from demos.draw import base as draw
from demos.draw import boxes as detect_draw
from demos.kit.code import passage
from demos.kit.components import picked, stage
from demos.kit.shell import pick, tr
from demos.vild import answer as handlers
from demos.vild import draw as vild_draw
from demos.vild.examples import words
from demos.vild.shared import Asked, Common, output

FIRST = 12  # proposals whose crops are shown in a row
CELL, LONGEST = 22, 640  # pixels of a cell of the matrix, and of its longer side at most
MOST_NAMES = 16  # columns of the matrix that are named
PROPOSALS_IDEA = (
    "Before any word is read, the picture is already cut into places where *something* is. Click one: its crop, and its "
    "cosine with every label.",
    "还没读任何词，图片就已经切成了一处处“有东西”的地方。点一个看看：它的裁剪图，以及它与每个标签的余弦。",
)
TENSORS_IDEA = (
    "Regions and labels are vectors in one space; everything else is one matrix of cosines.",
    "区域和标签是同一空间里的向量；其余的一切，都来自一个余弦矩阵。",
)
CODE_IDEA = (
    "The lines of this hub that made the answer, beside the paper's equations, with what they made of your picture.",
    "得出这个答案的源代码，旁边是论文的公式，以及它们对你的图片算出的东西。",
)


# --- proposals -------------------------------------------------------------------------------------------


def proposals(asked: Asked, lang: str) -> tuple[str, str, str, str]:
    """All proposals on the picture, the best as crops with their best label, the look at the first one, and the line."""
    found = handlers.run(asked)
    result = found.result
    marks = vild_draw.proposal_marks(result)
    shown = detect_draw.overlay(found.image, marks, lang, picks="look", chosen=0, fine=True)
    first = vild_draw.region(found.image, result, 0, lang) if len(marks) else ""
    return shown, first, gallery(found, lang), handlers.line_of(found, lang)


def gallery(found: handlers.Run, lang: str) -> str:
    """The first proposals as crops, each with its objectness and its best label."""
    result = found.result
    cards = []
    for at in range(min(FIRST, len(result.proposals))):
        best = int(result.class_scores[at].argmax())
        name, share = result.labels[best], float(result.class_scores[at, best])
        if result.background[at] > share:
            name, share = pick(lang, "background", "背景"), float(result.background[at])
        cards.append(
            f'<figure><img alt="" src="{detect_draw.crop_uri(found.image, result.proposals[at], 120)}"><figcaption>'
            f"<b>{html.escape(name)} {draw.percent(share)}</b>{result.objectness[at]:.2f}</figcaption></figure>"
        )
    title = pick(
        lang,
        f"The {len(cards)} most thing-like proposals: best label with its probability, objectness below",
        f"物体性最高的 {len(cards)} 个候选框：最佳标签及其概率，下面是物体性",
    )
    return f'<h3 class="atlas-vild-title">{title}</h3><div class="atlas-vild-gallery">{"".join(cards)}</div>'


def look(asked: Asked, clicked: str, lang: str) -> tuple[Any, ...]:
    """The region of a proposal that was clicked on."""
    found = handlers.run(asked)
    at = picked(clicked, len(found.result.proposals))
    return (gr.skip() if at is None else vild_draw.region(found.image, found.result, at, lang),)


# --- tensors ---------------------------------------------------------------------------------------------


def shapes(found: handlers.Run) -> dict[str, str]:
    """The shape of every array, by the names of `vild.toml`."""
    arrays = {name: getattr(found.result, name) for name in words()["tensors"]}
    return {name: "[" + ", ".join(map(str, array.shape)) + "]" for name, array in arrays.items()}


def matrix(found: handlers.Run, lang: str) -> str:
    """Regions by labels as colours: each column stretched from its own least to its own largest cosine."""
    cosines = found.result.cosines[:, :MOST_NAMES]
    low, high = cosines.min(0), cosines.max(0)
    levels = (cosines - low) / np.maximum(high - low, 1e-9)
    rows, columns = levels.shape
    height = min(LONGEST, max(rows * 4, 120))
    colours = Image.fromarray(draw.heat_colors(levels)).resize(
        (columns * CELL * 3, height), Image.Resampling.NEAREST
    )
    ranges = "".join(
        f"<li><b>{html.escape(name)}</b> {one:+.2f} … {other:+.2f}</li>"
        for name, one, other in zip(
            found.result.labels[:MOST_NAMES], low.tolist(), high.tolist(), strict=True
        )
    )
    caption = pick(
        lang,
        f"Cosines of {rows} regions (rows, most thing-like above) and labels (columns, from left): dark is the column's "
        "least, yellow its largest.",
        f"{rows} 个区域（行，物体性高的在上）与各标签（列，从左到右）的余弦：深色是该列最小，黄色是最大。",
    )
    alt = pick(lang, "regions by labels as colours", "区域乘标签的颜色图")
    return (
        f'<figure class="atlas-vild-matrix"><img alt="{alt}" src="{draw.data_uri(colours, LONGEST)}">'
        f"<div><figcaption>{caption}</figcaption><ol>{ranges}</ol></div></figure>"
    )


def tensors(asked: Asked, lang: str) -> tuple[str, str]:
    """The matrix of cosines, every array with its shape; and the line."""
    found = handlers.run(asked)
    rows = "".join(
        f'<tr><th scope="row"><code>{name}</code></th><td><code>{shape}</code></td>'
        f"<td>{html.escape(words()['tensors'][name][lang])}</td></tr>"
        for name, shape in shapes(found).items()
    )
    head = "".join(
        f'<th scope="col">{pick(lang, *title)}</th>'
        for title in (("tensor", "张量"), ("shape", "形状"), ("what it is", "是什么"))
    )
    table = (
        f'<div class="atlas-scroll" tabindex="0"><table class="atlas-grid"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
    return matrix(found, lang) + table, handlers.line_of(found, lang)


# --- code ------------------------------------------------------------------------------------------------


def code(asked: Asked, lang: str) -> tuple[str, str]:
    """Equations, lines and shapes of one answer."""
    found = handlers.run(asked)
    made = shapes(found)
    module = checkpoints.row(found.result.checkpoint).loader.partition(":")[0]
    cards = "".join(
        _card(card, made.get(card.get("made", ""), ""), lang)
        for card in words()["code"]
        if found.result.variant in card.get("variants", [found.result.variant])
        and card.get("module", module) == module
    )
    return f'<div class="code-cards">{cards}</div>', handlers.line_of(found, lang)


def _card(card: dict[str, Any], made: str, lang: str) -> str:
    shown = f"<p>{pick(lang, 'in this run', '这一次运行')}</p><pre>{made}</pre>" if made else ""
    return (
        f'<section class="code-card"><div><p class="equation">{card["equation"]}</p>'
        f"<p>{html.escape(card['what'][lang])}</p>{shown}</div>"
        f"<div><p><code>{card['file']}</code> · <code>{card['name']}</code></p>"
        f'<pre tabindex="0"><code>{html.escape(passage(card))}</code></pre></div></section>'
    )


# --- layout ----------------------------------------------------------------------------------------------


def proposals_tab(common: Common, clicked: gr.HTML, stopping: gr.Button) -> None:
    """Lays out *Proposals*; `clicked` is where clicks on one arrive."""
    gr.Markdown(tr(*PROPOSALS_IDEA))
    run = gr.Button(tr("Show the proposals", "显示候选框"), variant="primary", elem_id="proposals-button")
    shown, one, row = stage("proposals-out"), output("look-out"), output("gallery-out")
    line = output("proposals-line")
    job = handlers.as_job(proposals, 4)
    common.page.on(run.click, job, common.asked, [shown, one, row, line, stopping], session=True)
    common.on(clicked.change, look, [one], clicked, show_progress="hidden")


def tensors_tab(common: Common, stopping: gr.Button) -> None:
    """Lays out *Tensors*."""
    gr.Markdown(tr(*TENSORS_IDEA))
    run = gr.Button(tr("Look inside", "看看内部"), variant="primary", elem_id="tensors-button")
    shown, line = output("tensors-out"), output("tensors-line")
    job = handlers.as_job(tensors, 2)
    common.page.on(run.click, job, common.asked, [shown, line, stopping], session=True)


def code_tab(common: Common, stopping: gr.Button) -> None:
    """Lays out *Code*."""
    gr.Markdown(tr(*CODE_IDEA))
    run = gr.Button(tr("Run and show the lines", "运行并显示代码"), variant="primary", elem_id="code-button")
    shown, line = output("code-out"), output("code-line")
    job = handlers.as_job(code, 2)
    common.page.on(run.click, job, common.asked, [shown, line, stopping], session=True)
