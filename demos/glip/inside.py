"""*Look inside* and *How it learns* of the GLIP page: alignment, every shape, the lines that ran, the numbers."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from demos.chinese_clip.code import passage
from demos.chinese_clip.draw import shape_steps
from demos.glip import answer as handlers
from demos.glip.examples import words
from demos.glip.shared import Asked, Common, output
from demos.kit.language import Text
from demos.kit.shell import pick, tr

if TYPE_CHECKING:
    from core.detection.result import Grounding

ALIGNMENT_IDEA = (
    "**S = O Pᵀ**: every region of the picture times every word of the prompt. Once with the features that go into the "
    "fusion, once with those that come out.",
    "**S = O Pᵀ**：图片的每个区域乘以提示的每个词。一次用进入融合之前的特征，一次用融合之后的。",
)
TENSORS_IDEA = (
    "From pixels and words to boxes: every step with the shapes that it really had.",
    "从像素和词到框：每一步都带着真实的形状。",
)
CODE_IDEA = (
    "The lines of this repository that ran, read from the files of the server, each beside its equation (Li et al. 2022).",
    "刚刚运行的代码行，直接读自服务器上的文件，旁边是对应的公式（Li 等 2022）。",
)
LEARNING_IDEA = (
    "Boxes are dear, captions are cheap. GLIP lets a **teacher**, trained on the boxes there are, draw boxes for the phrases of "
    "captions that have none; a **student** learns from both. In the paper: 24 million captions from the web.",
    "框很贵，描述很便宜。GLIP 先用现有的框训练一个**老师**，让它给没有框的描述里的短语画框；**学生**再同时用两者学习。论文用了 "
    "2400 万条网络描述。",
)


DESCENDANT = Text(
    '<p class="atlas-line">This checkpoint is a descendant with classes of its own; these shapes and lines are GLIP\'s. Choose '
    "the miniature or GLIP-T above to see them run.</p>",
    '<p class="atlas-line">这组权重是后继模型，结构不同；这里的形状和代码是 GLIP 的。'
    "请在上面选微缩模型或 GLIP-T，看它们运行。</p>",
)


# --- tensors and code ------------------------------------------------------------------------------------


def longest(found: Grounding) -> int:
    """Words of the longest prompt."""
    return max(end - first for first, end in found.prompts)


def steps(answer: handlers.Answer, sizes: dict[str, Any]) -> list[tuple[Text, str, Text]]:
    """The way of one answer with the shapes that it had."""
    found = answer.found
    places = " + ".join(f"{high} × {wide}" for high, wide in sizes["levels"])
    count = sum(high * wide for high, wide in sizes["levels"])
    length, width, deep = longest(found), sizes["channels"], sizes["words"]
    several = len(found.prompts)
    height, across = sizes["pixels"]
    return [
        (
            Text("picture", "图片"),
            f"[1, 3, {height}, {across}]",
            Text("resized for the network", "缩放到网络的输入尺寸"),
        ),
        (
            Text("O⁰, regions", "O⁰，区域"),
            f"[{count}, {width}]",
            Text(
                f"places of {len(sizes['levels'])} levels: {places}",
                f"{len(sizes['levels'])} 层的位置：{places}",
            ),
        ),
        (
            Text("P⁰, words", "P⁰，词"),
            f"[{length}, {deep}]",
            Text("one vector for each word piece of the prompt", "提示的每个词片一个向量")
            if several == 1
            else Text(
                f"the list takes {several} prompts, each its own pass from here on; shapes are of the longest",
                f"标签表要分成 {several} 个提示，从这里起各走一遍；形状取最长的一个",
            ),
        ),
        (
            Text("fusion", "融合"),
            f"{sizes['blocks']} × ([{count}, {width}] ⇄ [{length}, {deep}])",
            Text(
                "regions read words, words read regions, in every block", "每个模块里，区域读词，词也读区域"
            ),
        ),
        (
            Text("S = O Pᵀ", "S = O Pᵀ"),
            f"[{count}, {width}] · [{width}, {length}] = [{count}, {length}]",
            Text("the words are projected to the regions' width first", "词先投影到区域的宽度"),
        ),
        (
            Text("phrases", "短语"),
            f"[{count}, {length}] → [{count}, {len(found.phrases)}]",
            Text("sigmoid, then the mean over each phrase's words", "先 sigmoid，再对每个短语的词取平均"),
        ),
        (
            Text("boxes", "框"),
            f"[{len(found.boxes)}, 4]",
            Text(
                f"what is left above {handlers.FLOOR} when the same thing twice is dropped",
                f"去掉重复之后，得分高于 {handlers.FLOOR} 的",
            ),
        ),
    ]


def made(answer: handlers.Answer, sizes: dict[str, Any]) -> dict[str, str]:
    """What a run made, by the names that cards use."""
    found = answer.found
    count, length = sum(high * wide for high, wide in sizes["levels"]), longest(found)
    best = ", ".join(f"{value:.3f}" for value in found.scores[:6].tolist())
    names = ", ".join(f"{phrase.text} = {list(phrase.words)}" for phrase in found.phrases[:6])
    return {
        "levels": ", ".join(f"[1, {sizes['channels']}, {high}, {wide}]" for high, wide in sizes["levels"]),
        "fusion": f"[{count}, {length}] × {sizes['heads']}",
        "blocks": f"{sizes['blocks']} × (X-MHA, BERTLayer, DyHead)",
        "alignment": f"[{count}, {sizes['channels']}] · [{sizes['channels']}, {length}] = [{count}, {length}]",
        "phrases": names,
        "boxes": f"{len(found.scores)}: [{best}{', …' if len(found.scores) > 6 else ''}]",
    }


def cards_html(values: dict[str, str], lang: str) -> str:
    """Every card: equation and meaning, what it made, its lines."""
    here = pick(lang, "in this run", "这一次运行")
    parts = []
    for card in words()["code"]:
        value = values.get(card.get("made", ""), "")
        shown = f"<p>{here}</p><pre>{html.escape(value)}</pre>" if value else ""
        parts.append(
            f'<section class="code-card"><div><p class="equation">{card["equation"]}</p>'
            f"<p>{html.escape(card['what'][lang])}</p>{shown}</div>"
            f"<div><p><code>{card['file']}</code> · <code>{card['name']}</code></p>"
            f'<pre tabindex="0"><code>{html.escape(passage(card))}</code></pre></div></section>'
        )
    return f'<div class="code-cards">{"".join(parts)}</div>'


def tensors(asked: Asked, lang: str) -> tuple[str, str]:
    """The table of shapes and the result line."""
    answer = handlers.answered(asked)
    sizes = handlers.sizes_of(answer)
    shown = shape_steps(steps(answer, sizes), lang) if sizes else DESCENDANT.get(lang)
    return shown, handlers.line_of(answer, lang)


def code(asked: Asked, lang: str) -> tuple[str, str]:
    """Equations, lines and shapes of one answer."""
    answer = handlers.answered(asked)
    sizes = handlers.sizes_of(answer)
    shown = cards_html(made(answer, sizes), lang) if sizes else DESCENDANT.get(lang) + cards_html({}, lang)
    return shown, handlers.line_of(answer, lang)


# --- layout ----------------------------------------------------------------------------------------------


def _shown_by(common: Common, name: str, idea: Sequence[str], button: Sequence[str], handler: Any) -> None:
    """A tab of one button, a result and its line."""
    gr.Markdown(tr(*idea))
    run = gr.Button(tr(*button), variant="primary", elem_id=f"{name}-button")
    shown, line = output(f"{name}-out"), output(f"{name}-line")
    common.on(run.click, handlers.as_job(handler, 2), [shown, line])


def alignment_tab(common: Common) -> None:
    """Lays out *Alignment*."""
    button = ("Show both matrices", "显示两个矩阵")
    _shown_by(common, "alignment", ALIGNMENT_IDEA, button, handlers.alignment)


def tensors_tab(common: Common) -> None:
    """Lays out *Tensors*."""
    _shown_by(common, "tensors", TENSORS_IDEA, ("Show the shapes", "展示形状"), tensors)


def code_tab(common: Common) -> None:
    """Lays out *Code*."""
    _shown_by(common, "code", CODE_IDEA, ("Run and show the lines", "运行并显示代码"), code)


def learning_tab() -> gr.HTML:
    """Lays out *How it learns*; returns the place of what was measured."""
    gr.Markdown(tr(*LEARNING_IDEA))
    return output("taught")
