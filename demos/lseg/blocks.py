"""*Regularization*: one image and its labels under no block, and under blocks that are used once, twice, four times.

The image is encoded once, and what a block changes is computed from label maps that are there already. The browser
chooses which answer is large, and whether it shows the mask or what changed (assets/css/segment.css).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import inputs
from core.classroom import report
from demos.draw import base, masks
from demos.kit.events import api_errors
from demos.kit.files import uploaded
from demos.kit.html import Markup, grid, join, tag
from demos.kit.language import Text, pick
from demos.lseg.answer import Answer, colour_slots, colours, line_of, model_of, run

if TYPE_CHECKING:
    from core.segmentation.regularization import Regularized
    from core.segmentation.result import Segmentation
    from demos.lseg.page import Question

ALONE, ABLATION = "blocks fitted alone", "ablation of blocks"  # how measures of the report card begin
LITTLE = 0.01  # of the pixels
MEAN = "mean"
BLOCKS = {
    "bottleneck": Text("bottleneck", "瓶颈式"),
    "depthwise": Text("depthwise", "逐通道"),
    MEAN: Text("plain mean", "简单平均"),
}
ROWS = {
    "bottleneck": Text(
        "trained: a window, plus the best score of the place", "训练过：窗口，加上这个位置的最高分"
    ),
    "depthwise": Text("trained: a window alone", "训练过：只有窗口"),
    MEAN: Text("not trained: the mean of the window", "未训练：窗口内取平均"),
}
IDEA = Text(
    "Should neighbouring pixels vote together? A block smooths the map of every label with one small window, which is the same "
    "for all labels. It is used once, twice or four times. **Image, labels and network stay the same; only the block "
    "differs.**",
    "相邻的像素该不该一起投票？模块用同一个小窗口平滑每个标签的图，可以用一次、两次或四次。**图片、标签、网络都相同，只有模块不同。**",
)
BUTTON = Text("Compare the blocks", "比较各种模块")
NOTE = Text(
    "Only the blocks were trained, for minutes and on scenes with masks. The network was trained without a block and stays as "
    "it is. The middle of a window is the place itself, the other eight numbers belong to its neighbours, and a tenth "
    "number is added to all. A bottleneck and a depthwise block that are used once give the same mask: the best score of a "
    "place is added to all its labels, and the softmax does not change.",
    "训练过的只有模块：几分钟，用的是有掩码的场景。网络训练时没有模块，保持不变。窗口中间是这个位置自己，其余八个数属于它的邻居，"
    "第十个数加在所有位置上。只用一次时，瓶颈式和逐通道给出同样的掩码：位置的最高分加到它的所有标签上，softmax 不变。",
)
TOGETHER = Text(
    "Each decoder was trained together with its block, all for the same small number of steps, and measured on new scenes. "
    "Compare the rows with each other, not with the checkpoint above. Measured by ",
    "这里每个解码器都和它的模块一起训练，步数同样很少，并在新的场景上测量：只能行与行比较，不能和上面的权重比。测量命令：",
)


def variants_of(result: Segmentation) -> list[Regularized]:
    """The answers under every block."""
    return importlib.import_module("core.segmentation.regularization").compare(result)


# --- endpoint --------------------------------------------------------------------------------------------


def lseg_regularize(
    image: gr.FileData, labels: list[str] | str, checkpoint: str | None = None
) -> dict[str, Any]:
    """Segment an image with no regularization block, and with bottleneck and depthwise ones used 1, 2 and 4 times.

    Args:
        image: an image file, or a data URI.
        labels: a list, or one string with commas; at most 1,000.
        checkpoint: a row of LSeg that has fitted blocks; LSeg's default row when left out.

    Returns:
        {"checkpoint", "results": [{"block", "depth", "changed", "shares": {label: share}}, ...]}: no block first, last the
        plain mean of a window, not fitted; "changed" is the share of pixels with another label than without a block.
    """
    with api_errors():
        names = inputs.labels(labels, limit=1000)
        picture = inputs.image(uploaded(image))
        result = model_of(checkpoint).segment(picture, names)
        rows = [
            {
                "block": one.kind,
                "depth": one.depth,
                "changed": one.share,
                "shares": dict(zip(names, one.shares(len(names)), strict=True)),
            }
            for one in variants_of(result)
        ]
        return {"checkpoint": result.checkpoint, "results": rows}


# --- the tab ---------------------------------------------------------------------------------------------


def compare(question: Question, lang: str) -> dict[str, Any]:
    """The image under every block, what changed, what was measured; and the line."""
    answer = run(question)
    variants = variants_of(answer.result)
    rows = report.rows()
    return {
        "out": figure(answer, variants, question.held, lang)
        + table(variants, rows, answer.result.checkpoint, lang)
        + ablation(rows, lang),
        "line": line_of(answer, lang),
    }


def figure(answer: Answer, variants: Sequence[Regularized], held: Sequence[str], lang: str) -> Markup:
    """No block beside the chosen one, large; below, all of them to choose from: a row of each kind."""
    names = answer.result.labels
    painted = colours(names, colour_slots(names, held))
    layers = [f"--picture:url({base.data_uri(answer.image, masks.MASK_SIDE)})"]
    for i, one in enumerate(variants):
        layers.append(f"--mask{i}:url({masks.mask_layer(one.mask, painted)})")
        layers.append(f"--change{i}:url({masks.spots_layer(one.changed, base.VERMILION)})")
    most = max(range(1, len(variants)), key=lambda i: variants[i].share * (variants[i].kind != MEAN))
    legend = join(
        tag("li", tag("i", style=f"background:{colour or 'transparent'}"), name)
        for name, colour in zip(names, painted, strict=True)
    )
    toggle = pick(lang, "Show the pixels that changed, enlarged", "显示变化的像素（放大显示）")
    ratio = f"--ratio:{answer.image.width / answer.image.height:.4f}"
    return tag(
        "div",
        tag("p", summary(variants[most], lang), class_="said"),
        tag("div", *(_figure(i, one, lang) for i, one in enumerate(variants)), class_="pair"),
        tag("ul", legend, class_="legend"),
        tag("label", tag("input", type="checkbox"), " ", toggle, class_="only"),
        *(_row(kind, variants, most, lang) for kind in BLOCKS),
        class_="atlas-blocks",
        style=";".join([ratio, *layers]),
    )


def summary(most: Regularized, lang: str) -> str:
    """What the trained block that changes most does."""
    name, share = block_name(most.name, lang), _share(most, lang)
    sentence = pick(
        lang,
        f"Of the trained blocks, {name} changes most: {share} of the pixels get another label.",
        f"训练过的模块里变化最大的是{name}：{share} 的像素换了标签。",
    )
    if most.share >= LITTLE:
        return sentence
    return sentence + pick(
        lang,
        " That is little: a decoder that was trained without a block does not need one.",
        "变化很小：训练时没有模块的解码器并不需要它。",
    )


def block_name(split: str, lang: str) -> str:
    """The report card's "none" or "depthwise x 2" as people read it: "no block", "depthwise × 2"."""
    kind, _, depth = split.partition(" x ")
    if kind == "none":
        return pick(lang, "no block", "不用模块")
    return f"{BLOCKS[kind].get(lang)} × {depth}" if kind in BLOCKS else split


def _row(kind: str, variants: Sequence[Regularized], most: int, lang: str) -> Markup:
    """The small answers of a kind: none, and used once, twice, four times."""
    title = BLOCKS[kind].get(lang)
    cells = [_cell(i, one, lang, i == most) for i, one in enumerate(variants) if one.kind in ("none", kind)]
    head = tag("p", tag("b", title), " ", ROWS[kind].get(lang))
    return tag("div", head, *cells, class_="row", role="group", aria_label=title)


def _share(one: Regularized, lang: str) -> str:
    return base.percent(one.share) if one.changed.any() else pick(lang, "none", "没有")


def _caption(one: Regularized, lang: str) -> str:
    if one.kind == "none":
        return pick(lang, "the network's own mask", "网络自己的掩码")
    return pick(lang, f"{_share(one, lang)} changed", f"{_share(one, lang)} 有变化")


def _stage(i: int, one: Regularized, lang: str) -> Markup:
    """The image with the mask of a variant over it."""
    label = f"{block_name(one.name, lang)}: {_caption(one, lang)}"
    style = f"--mask:var(--mask{i});--change:var(--change{i})"
    return tag("span", class_="stage", role="img", aria_label=label, style=style)


def _figure(i: int, one: Regularized, lang: str) -> Markup:
    caption = tag("figcaption", tag("b", block_name(one.name, lang)), " ", _caption(one, lang))
    return tag("figure", caption, _stage(i, one, lang), class_=f"n{i}")


def _cell(i: int, one: Regularized, lang: str, chosen: bool) -> Markup:
    """A small answer; one of those with a block is chosen to be large."""
    title = pick(lang, "none", "无") if one.kind == "none" else f"× {one.depth}"
    text = _stage(i, one, lang), tag("span", tag("b", title), " ", _caption(one, lang), class_="name")
    if one.kind == "none":
        return tag("div", *text, class_="cell")
    choice = tag("input", type="radio", name_="atlas-block", value=i, checked=chosen)
    return tag("label", choice, *text, class_="cell")


# --- tables ----------------------------------------------------------------------------------------------


def measured(
    rows: Sequence[Mapping[str, Any]], start: str
) -> tuple[dict[str, str], dict[tuple[str, str], float]]:
    """The measures that begin so, by their rest, and the values by split and measure."""
    chosen = [row for row in rows if row["measure"].startswith(start)]
    names = {row["measure"]: row["measure"].removeprefix(start).strip(": ") for row in chosen}
    return names, {(row["split"], row["measure"]): row["value"] for row in chosen}


def _value(value: float | None, best: float = 2.0) -> Markup:
    if value is None:
        return tag("td", "–")
    mark = "best" if value == best else None
    return tag("td", f"{value:.3f}", class_=mark, style=f"--share:{100 * value:.1f}%")


def table(
    variants: Sequence[Regularized], rows: Sequence[Mapping[str, Any]], checkpoint: str, lang: str
) -> Markup:
    """A line of each variant: what changed in this image, its window, and what was measured of it on many scenes."""
    own = [row for row in rows if row["checkpoint"] == checkpoint and row["measure"].startswith(ALONE)]
    names, values = measured(own, ALONE)
    best = {name: max(value for (_, other), value in values.items() if other == name) for name in names}
    head = [
        pick(lang, "block", "模块"),
        pick(lang, "changed in this image", "本图中的变化"),
        pick(lang, "its window", "它的窗口"),
        *(report.named(rest, lang) for rest in names.values()),
    ]
    body = [
        tag(
            "tr",
            tag("th", block_name(one.name, lang), scope="row"),
            tag("td", _share(one, lang)),
            tag("td", _window(one, lang)),
            *(_value(values.get((one.name, name)), best[name]) for name in names),
        )
        for one in variants
    ]
    note = [NOTE.get(lang)]
    if own:
        note += [pick(lang, " Measured by ", "测量命令："), tag("code", own[0]["command"])]
    title = pick(lang, "The ten numbers of each block, and what they do", "每个模块的十个数，以及它们的作用")
    return tag("h3", title) + grid(head, body) + tag("p", *note, class_="atlas-line")


def _window(one: Regularized, lang: str) -> Markup | str:
    if one.window is None:
        return "–"
    label = pick(lang, "weights of the window, row by row", "窗口的权重，逐行")
    cells = (tag("span", f"{value:+.2f}") for value in one.window.ravel().tolist())
    return tag("span", *cells, class_="atlas-window", role="group", aria_label=label)


def ablation(rows: Sequence[Mapping[str, Any]], lang: str) -> Markup:
    """What was measured of every kind of block (the paper's Table 4 in small); nothing where nothing was."""
    own = [row for row in rows if row["paper"] == "lseg" and row["measure"].startswith(ABLATION)]
    if not own:
        return Markup("")
    names, values = measured(own, ABLATION)
    body = [
        tag(
            "tr",
            tag("th", block_name(split, lang), scope="row"),
            *(_value(values.get((split, name))) for name in names),
        )
        for split in dict.fromkeys(row["split"] for row in own)
    ]
    title = pick(lang, "Whole decoders trained with their blocks", "解码器和模块一起训练")
    head = ["", *(report.named(rest, lang) for rest in names.values())]
    note = tag("p", TOGETHER.get(lang), tag("code", own[0]["command"]), class_="atlas-line")
    return tag("h3", title) + grid(head, body) + note
