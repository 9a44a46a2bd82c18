"""The *Tensors* and *Code* tabs: every shape on the way from pixels to a mask, and the lines of core that made them."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np

from demos.groupvit import answer as handlers
from demos.kit.code import passage
from demos.kit.language import Text
from demos.kit.shell import pick
from demos.kit.tensors import table as shape_steps

if TYPE_CHECKING:
    from core.segmentation import Grouping
    from core.segmentation.groupvit import Widths


def steps(found: Grouping, widths: Widths) -> list[tuple[Text, str, Text]]:
    """The way of one answer with the shapes that it had."""
    first, last = found.stages[0], found.stages[-1]
    (tokens, high, wide), slots = first.shape, len(last)
    count, dimension = found.text_features.shape
    pixels = f"{high * widths.patch}, {wide * widths.patch}"
    depths = " + ".join(str(depth) for depth in widths.depths)
    height, width = found.mask.shape
    return [
        (
            Text("picture", "图片"),
            f"[1, 3, {pixels}]",
            Text("resized, sides multiples of a patch", "缩放到图块的整数倍"),
        ),
        (
            Text("patches", "图块"),
            f"[1, {high * wide}, {widths.width}]",
            Text(
                f"{high} × {wide} patches of {widths.patch} pixels",
                f"{high} × {wide} 个 {widths.patch} 像素的图块",
            ),
        ),
        (
            Text("+ group tokens", "＋ 组 token"),
            f"[1, {high * wide} + {tokens}, {widths.width}]",
            Text(
                f"learned, the same for every picture; {depths} layers in all",
                f"学到的，对所有图片都一样；共 {depths} 层",
            ),
        ),
        (
            Text("grouping block 1", "分组块一"),
            f"[1, {tokens}, {high * wide}]",
            Text("each patch chooses one group", "每个图块选一个组"),
        ),
        (
            Text("grouping block 2", "分组块二"),
            f"[1, {slots}, {tokens}]",
            Text("each group of stage 1 chooses one of stage 2", "第一阶段的每个组再选第二阶段的一个组"),
        ),
        (
            Text("composed", "合成"),
            f"[{slots}, {tokens}] · [{tokens}, {high * wide}] = [{slots}, {high * wide}]",
            Text("which patch lies in which group", "每个图块属于哪个组"),
        ),
        (
            Text("group features", "组特征"),
            f"[{slots}, {dimension}]",
            Text("projected, length 1; their mean is the picture's", "投影后长度归一；平均就是整张图的特征"),
        ),
        (
            Text("text features", "文本特征"),
            f"[{count}, {dimension}]",
            Text("one for each label, length 1", "每个标签一个，长度归一"),
        ),
        (
            Text("scores", "得分"),
            f"[{slots}, {dimension}] · [{dimension}, {count}] → [{slots}, {count}]",
            Text(
                "cosines, softmax over labels, the five best alone",
                "余弦，对标签做 softmax，只留最好的五个标签",
            ),
        ),
        (
            Text("mask", "掩码"),
            f"[{height}, {width}]",
            Text("each pixel has its group's label, or none", "每个像素取所在组的标签，或者没有"),
        ),
    ]


def made(found: Grouping, widths: Widths) -> dict[str, str]:
    """What a run made, by the names that cards use."""
    (tokens, high, wide), slots = found.stages[0].shape, len(found.stages[-1])
    count = len(found.labels)
    used = [len(np.unique(stage.argmax(0))) for stage in found.stages]
    best = ", ".join(f"{value:.3f}" for value in found.scores.max(1).tolist())
    return {
        "tokens": f"[{tokens}, {widths.width}] × [{high * wide}, {widths.width}] → [{tokens}, {high * wide}]",
        "chosen": f"{used[0]} / {tokens}, {used[-1]} / {slots}",
        "merged": f"[{high * wide}, {widths.width}] → [{tokens}, {widths.width}] → [{slots}, {widths.width}]",
        "maps": f"[{slots}, {tokens}] · [{tokens}, {high * wide}] → [{slots}, {high}, {wide}]",
        "scores": f"[{slots}, {count}]: max = [{best}]",
        "line": f"θ = {found.threshold:.2f}, min(θ, max p) = {found.line:.3f}",
    }


def cards_html(values: dict[str, str], lang: str) -> str:
    """Every card: equation and meaning, what it made, its lines."""
    code = "zh" if lang == "zh" else "en"
    here = pick(lang, "in this run", "这一次运行")
    parts = []
    for card in handlers.texts()["code"]:
        value = values.get(card["made"], "")
        shown = f"<p>{here}</p><pre>{html.escape(value)}</pre>" if value else ""
        parts.append(
            f'<section class="code-card"><div><p class="equation">{card["equation"]}</p>'
            f"<p>{html.escape(card['what'][code])}</p>{shown}</div>"
            f"<div><p><code>{card['file']}</code> · <code>{card['name']}</code></p>"
            f'<pre tabindex="0"><code>{html.escape(passage(card))}</code></pre></div></section>'
        )
    return f'<div class="code-cards">{"".join(parts)}</div>'


def tensors(
    picture: str | None, labels: str, threshold: float, checkpoint: str, lang: str
) -> tuple[str, str]:
    """The table of shapes and the result line."""
    _, found, digest, seconds = handlers.answered(picture, labels, threshold, checkpoint)
    shapes = shape_steps(steps(found, handlers.model(checkpoint).widths), lang)
    return shapes, handlers.line_of(found, digest, seconds, lang)


def run(picture: str | None, labels: str, threshold: float, checkpoint: str, lang: str) -> tuple[Any, ...]:
    """Segments, and shows the lines with their values."""
    _, found, digest, seconds = handlers.answered(picture, labels, threshold, checkpoint)
    cards = cards_html(made(found, handlers.model(checkpoint).widths), lang)
    return cards, handlers.line_of(found, digest, seconds, lang)
