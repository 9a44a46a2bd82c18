"""The *Regularization* tab of the LSeg page: one picture and its labels under no block, and under blocks used 1, 2, 4 times.

The picture is encoded once; what a block adds is computed from label maps that are there already. Which of the answers is
shown large, and whether as a mask or as what changed, is the browser's business (`assets/css/segment.css`).
"""

from __future__ import annotations

import html
import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import inputs
from core.classroom import report
from demos.draw import base as draw
from demos.draw import masks as segment_draw
from demos.kit import shell
from demos.kit.shell import pick, tr
from demos.lseg import answer as handlers
from demos.lseg.inside import BLOCKS, ablation, block_name
from demos.lseg.shared import Common, output

if TYPE_CHECKING:
    from core.segmentation.regularization import Regularized
    from core.segmentation.result import Segmentation

ALONE = "blocks fitted alone"  # how the report card's rows begin
LITTLE = 0.01  # of the pixels
MEAN = "mean"
ROWS = {
    "bottleneck": ("fitted; a window, plus the best score of the place", "训练过；窗口，加上这一处的最高分"),
    "depthwise": ("fitted; a window alone", "训练过；只有窗口"),
    MEAN: ("not fitted; what real smoothing does", "没有训练；真正平滑起来的样子"),
}
IDEA = (
    "Should neighbouring pixels vote together? A block smooths every label's map with one small window, the same for all "
    "labels, used once, twice or four times. **Same picture, same labels, same network: only the block differs.**",
    "相邻的像素该不该一起投票？模块用同一个小窗口平滑每个标签的图，可以用一次、两次或四次。**图片、标签、网络都相同，只有模块不同。**",
)


def variants_of(found: Segmentation) -> list[Regularized]:
    """The answers of core, which is imported when it is first asked."""
    return importlib.import_module("core.segmentation.regularization").compare(found)


# --- endpoint --------------------------------------------------------------------------------------------


def lseg_regularize(
    image: gr.FileData, labels: list[str] | str, checkpoint: str | None = None
) -> dict[str, Any]:
    """Segment a picture with no regularization block, and with bottleneck and depthwise ones used 1, 2 and 4 times.

    Args:
        image: a picture file, or a data URI.
        labels: a list, or one string with commas; at most 1,000.
        checkpoint: a row of LSeg that has fitted blocks; LSeg's default row when left out.

    Returns:
        {"checkpoint", "results": [{"block", "depth", "changed", "shares": {label: share}}, ...]}: no block first, last the
        plain mean of a window, not fitted; "changed" is the share of pixels with another label than without a block.
    """
    with shell.api_errors():
        names = inputs.labels(labels, limit=1000)
        picture = inputs.image(shell.uploaded(image))
        result = handlers.model_of(checkpoint).segment(picture, names)
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


def compare(
    picture: str | None, labels: str, way: str, plain: str, checkpoint: str, lang: str
) -> tuple[str, str]:
    """The picture under every block, what changed, what was measured; and the line."""
    found = handlers.run(picture, labels, way, plain, checkpoint)
    variants = variants_of(found.result)
    rows = report.rows()
    shown = figure(found, variants, lang) + table(variants, rows, found.result.checkpoint, lang)
    return shown + ablation(rows, lang), handlers.line_of(found, lang)


def figure(found: handlers.Run, variants: Sequence[Regularized], lang: str) -> str:
    """No block beside the chosen one, large; below, all of them to choose from: a row of each kind."""
    names = found.result.labels
    painted = handlers.colours(names, handlers.slots(names, []))
    layers = [f"--picture:url({draw.data_uri(found.image, segment_draw.MASK_SIDE)})"]
    for i, one in enumerate(variants):
        layers.append(f"--mask{i}:url({segment_draw.mask_layer(one.mask, painted)})")
        layers.append(f"--change{i}:url({segment_draw.spots_layer(one.changed, draw.VERMILION)})")
    most = max(range(1, len(variants)), key=lambda i: variants[i].share * (variants[i].kind != MEAN))
    stages = "".join(_stage(i, one, lang, large=True) for i, one in enumerate(variants))
    rows = "".join(_row(kind, variants, most, lang) for kind in BLOCKS)
    legend = "".join(
        f'<li><i style="background:{colour or "transparent"}"></i>{html.escape(name)}</li>'
        for name, colour in zip(names, painted, strict=True)
    )
    toggle = pick(lang, "Show what changed, each pixel larger than it is", "显示变了的像素（画得比实际大）")
    return (
        f'<div class="atlas-blocks" style="--ratio:{found.image.width / found.image.height:.4f};{";".join(layers)}">'
        f'<p class="said">{finding(variants[most], lang)}</p><div class="pair">{stages}</div><ul class="legend">{legend}</ul>'
        f'<label class="only"><input type="checkbox"> {toggle}</label>{rows}</div>'
    )


def finding(most: Regularized, lang: str) -> str:
    """What the fitted block that changes most comes to, in a sentence or two."""
    name, share = block_name(most.name, lang), _share(most, lang)
    said = pick(
        lang,
        f"{name} changes most of the fitted blocks: {share} of the pixels get another label.",
        f"训练过的模块里变化最大的是{name}：{share} 的像素换了标签。",
    )
    if most.share >= LITTLE:
        return said
    return said + pick(
        lang,
        " That is little: a decoder that was trained without a block has no need of one.",
        "变化很小：训练时没有模块的解码器，并不需要它。",
    )


def _row(kind: str, variants: Sequence[Regularized], most: int, lang: str) -> str:
    """The small answers of a kind: none, and used once, twice, four times."""
    title, what = pick(lang, *BLOCKS[kind]), pick(lang, *ROWS[kind])
    cells = "".join(
        _cell(i, one, lang, i == most) for i, one in enumerate(variants) if one.kind in ("none", kind)
    )
    return f'<div class="row" role="group" aria-label="{title}"><p><b>{title}</b> {what}</p>{cells}</div>'


def _share(one: Regularized, lang: str) -> str:
    return draw.percent(one.share) if one.changed.any() else pick(lang, "none", "没有")


def _caption(one: Regularized, lang: str) -> str:
    if one.kind == "none":
        return pick(lang, "as the network leaves it", "网络原样的输出")
    return pick(lang, f"{_share(one, lang)} changed", f"{_share(one, lang)} 变了")


def _stage(i: int, one: Regularized, lang: str, large: bool = False) -> str:
    """The picture with the mask of a variant over it; as a figure where it is large."""
    said = html.escape(f"{block_name(one.name, lang)}: {_caption(one, lang)}")
    stage = f'<span class="stage" role="img" aria-label="{said}" style="--mask:var(--mask{i});--change:var(--change{i})"></span>'
    if not large:
        return stage
    caption = f"<b>{block_name(one.name, lang)}</b> {_caption(one, lang)}"
    return f'<figure class="n{i}"><figcaption>{caption}</figcaption>{stage}</figure>'


def _cell(i: int, one: Regularized, lang: str, chosen: bool) -> str:
    """A small answer; of those with a block one is chosen to be shown large."""
    title = pick(lang, "none", "无") if one.kind == "none" else f"× {one.depth}"
    text = f'{_stage(i, one, lang)}<span class="name"><b>{title}</b> {_caption(one, lang)}</span>'
    if one.kind == "none":
        return f'<div class="cell">{text}</div>'
    checked = " checked" if chosen else ""
    return f'<label class="cell"><input type="radio" name="atlas-block" value="{i}"{checked}>{text}</label>'


def table(variants: Sequence[Regularized], rows: Sequence[dict[str, Any]], checkpoint: str, lang: str) -> str:
    """A line of each variant: what changed here, its window, and what was measured of it on many scenes."""
    measured = [r for r in rows if r["checkpoint"] == checkpoint and r["measure"].startswith(ALONE)]
    measures = list(dict.fromkeys(row["measure"] for row in measured))
    values = {(row["split"], row["measure"]): row["value"] for row in measured}
    heads = [
        pick(lang, "block", "模块"),
        pick(lang, "changed here", "这里变了"),
        pick(lang, "its window", "它的窗口"),
        *(report.named(name.removeprefix(f"{ALONE}: "), lang) for name in measures),
    ]
    head = "".join(f'<th scope="col">{html.escape(title)}</th>' for title in heads)
    best = {name: max(values[split, name] for split, other in values if other == name) for name in measures}
    body = ""
    for one in variants:
        cells = f"<td>{_share(one, lang)}</td><td>{_window(one, lang)}</td>"
        for name in measures:
            value = values.get((one.name, name))
            if value is None:
                cells += "<td>–</td>"
                continue
            mark = ' class="best"' if value == best[name] else ""
            cells += f'<td{mark} style="--share:{100 * value:.1f}%">{value:.3f}</td>'
        body += f'<tr><th scope="row">{block_name(one.name, lang)}</th>{cells}</tr>'
    title = pick(lang, "The ten numbers of each block, and what they do", "每个模块的十个数，以及它们的作用")
    note = pick(
        lang,
        "Only blocks were fitted, for minutes and on scenes with masks; the network was trained without one and stays as it "
        "is. A window's middle is the place itself, around it are its eight neighbours; the tenth number is added to all. "
        "Used once, bottleneck and depthwise are the same: the place's best score goes to all its labels alike, and a "
        "softmax does not notice.",
        "训练过的只有模块，几分钟，用的是有掩码的场景；网络训练时没有模块，保持不变。窗口中间是这一处自己，周围是八个邻居；第十个数加在"
        "所有位置上。只用一次时瓶颈式和逐通道是一回事：这一处的最高分加给它的所有标签，softmax 察觉不到。",
    )
    if measured:
        command = html.escape(measured[0]["command"])
        note += pick(lang, f" Measured by <code>{command}</code>", f"测量命令：<code>{command}</code>")
    return (
        f'<h3>{title}</h3><div class="atlas-scroll" tabindex="0"><table class="atlas-grid"><thead><tr>{head}</tr></thead>'
        f'<tbody>{body}</tbody></table></div><p class="atlas-line">{note}</p>'
    )


def _window(one: Regularized, lang: str) -> str:
    if one.window is None:
        return "–"
    said = pick(lang, "weights of the window, row by row", "窗口的权重，逐行")
    cells = "".join(f"<span>{value:+.2f}</span>" for value in one.window.ravel().tolist())
    return f'<span class="atlas-window" role="group" aria-label="{said}">{cells}</span>'


def blocks_tab(common: Common) -> None:
    """Lays out *Regularization*."""
    gr.Markdown(tr(*IDEA))
    run = gr.Button(
        tr("Compare none, 1, 2 and 4", "比较不用、用 1、2、4 次"), variant="primary", elem_id="blocks-button"
    )
    shown, line = output("blocks-out"), output("blocks-line")
    common.page.on(run.click, compare, common.asked, [shown, line])
