"""The *Tensors* and *Code* tabs of the LSeg page: what was made on the way from picture and words to a mask."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from core import checkpoints
from core.classroom import report
from demos.draw import base as draw
from demos.draw import masks as segment_draw
from demos.kit.code import passage
from demos.kit.shell import pick, tr
from demos.lseg import answer as handlers
from demos.lseg.examples import words
from demos.lseg.shared import Common, output

if TYPE_CHECKING:
    from core.segmentation.result import Segmentation

SIDE = 360  # pixels of a shown field
ABLATION = "ablation of blocks"  # how the report card's rows begin
BLOCKS = {
    "bottleneck": ("bottleneck", "瓶颈式"),
    "depthwise": ("depthwise", "逐通道"),
    "mean": ("plain mean", "简单平均"),
}
MOST_NEAR = 12  # labels in the table of cosines
TENSORS_IDEA = (
    "Before any word is read the picture is already a field of vectors; words only choose among them.",
    "还没读任何一个词，图片就已经变成了一片向量；词只是在其中挑选。",
)
CODE_IDEA = (
    "The lines of this hub that made the answer, beside the paper's equations, with what they made of your picture.",
    "得出这个答案的源代码，旁边是论文的公式，以及它们对你的图片算出的东西。",
)


def features_of(encoded: Any) -> np.ndarray:
    """[h, w, D] of any kind of encoded picture."""
    if hasattr(encoded, "activations"):
        places = encoded.activations[-1, 1:]  # the class token is no place
        side = round(len(places) ** 0.5)
        return places.reshape(side, side, -1)
    return encoded.pixel_features if hasattr(encoded, "pixel_features") else encoded.place_features


def shapes(found: handlers.Run) -> dict[str, str]:
    """The shape of every tensor, by the names of `lseg.toml`."""
    result = found.result
    arrays = {
        "pixel_features": features_of(found.encoded),
        "text_features": result.text_features,
        "before": result.before_blocks,
        "after": result.after_blocks,
        "logits": result.logits,
        "mask": result.mask,
    }
    return {name: "[" + ", ".join(map(str, array.shape)) + "]" for name, array in arrays.items()}


def principal_colours(features: np.ndarray) -> np.ndarray:
    """A field of vectors [h, w, D] as RGB uint8 [h, w, 3]: its three directions of largest spread."""
    flat = features.reshape(-1, features.shape[-1]).astype(np.float32)
    centred = flat - flat.mean(0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    spread = centred @ directions[:, :-4:-1]  # [h w, 3], the largest first
    low, high = np.percentile(spread, [2, 98], axis=0)
    levels = np.clip((spread - low) / np.maximum(high - low, 1e-9), 0, 1)
    return (255 * levels).round().astype(np.uint8).reshape(*features.shape[:2], -1)


def field_figure(features: np.ndarray, image: Image.Image, lang: str) -> str:
    """The picture beside its field of features, places with like vectors in like colours."""
    size = image.copy()
    size.thumbnail((SIDE, SIDE))
    colours = Image.fromarray(principal_colours(features)).resize(size.size, Image.Resampling.NEAREST)
    rows, columns, width = features.shape
    caption = pick(
        lang,
        f"{rows} × {columns} places with {width} numbers each, shown by their three directions of largest spread: like "
        "colours are like vectors. No label was read yet.",
        f"{rows} × {columns} 处，每处 {width} 个数，这里只画方差最大的三个方向：颜色相近即向量相近。此时还没读任何标签。",
    )
    alt = pick(lang, "the features as colours", "用颜色表示的特征")
    return (
        f'<figure class="atlas-seg-field"><div><img alt="" src="{draw.data_uri(size, SIDE)}">'
        f'<img alt="{alt}" src="{draw.data_uri(colours, SIDE)}"></div><figcaption>{caption}</figcaption></figure>'
    )


def nearness(texts: np.ndarray, names: Sequence[str], lang: str) -> str:
    """Cosines of the first labels with each other: near neighbours are hard to tell apart."""
    names = names[:MOST_NEAR]
    unit = texts[: len(names)] / np.linalg.norm(texts[: len(names)], axis=1, keepdims=True)
    cosines = unit @ unit.T
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th>'
        + "".join(f'<td style="--share:{100 * max(value, 0):.0f}%">{value:+.2f}</td>' for value in row)
        + "</tr>"
        for name, row in zip(names, cosines.tolist(), strict=True)
    )
    title = pick(lang, "How near the labels are to each other (cosine)", "标签之间有多近（余弦）")
    return (
        f'<h3>{title}</h3><div class="atlas-scroll" tabindex="0"><table class="atlas-grid"><thead><tr><td></td>{head}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )


def block_of(result: Segmentation) -> tuple[str, int]:
    """Kind and depth of a checkpoint's regularization block; ("none", 0) where it has none."""
    options = checkpoints.row(result.checkpoint).options
    return str(options.get("block", "none")), int(options.get("depth", 0))


def tensors(
    picture: str | None, labels: str, way: str, plain: str, checkpoint: str, lang: str
) -> tuple[str, str]:
    """The field of features as colours, how near the labels are, every tensor's shape, the blocks; and the line."""
    found = handlers.run(picture, labels, way, plain, checkpoint)
    result = found.result
    field = field_figure(features_of(found.encoded), found.image, lang)
    near = nearness(result.text_features, result.labels, lang)
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
    return f"{field}{near}{table}{blocks(found, lang)}", handlers.line_of(found, lang)


def blocks(found: handlers.Run, lang: str) -> str:
    """Maps before and after the checkpoint's block, or that it has none."""
    result = found.result
    kind, depth = block_of(result)
    title = f"<h3>{pick(lang, 'Spatial regularization', '空间正则化')}</h3>"
    if kind == "none":
        said = pick(
            lang,
            "This checkpoint has no regularization block: the maps before and after are the same. What a block would change "
            "is in the tab “Regularization”.",
            "这组权重没有正则化模块：前后的图完全相同。加上模块会改变什么，见“正则化”标签页。",
        )
        shown = f"<p>{said}</p>"
    else:
        shown = "".join(
            f"<h4>{name}</h4>{segment_draw.heat_maps(found.image, _softmax(array), result.labels, lang)}"
            for name, array in (
                (pick(lang, "before", "之前"), result.before_blocks),
                (f"{kind} × {depth}", result.after_blocks),
            )
        )
    return title + shown


def block_name(split: str, lang: str) -> str:
    """The report card's "none" or "depthwise x 2" as people read it: "no block", "depthwise × 2"."""
    kind, _, depth = split.partition(" x ")
    if kind == "none":
        return pick(lang, "no block", "不用模块")
    return f"{pick(lang, *BLOCKS[kind])} × {depth}" if kind in BLOCKS else split


def ablation(rows: Sequence[dict[str, Any]], lang: str) -> str:
    """What was measured of every kind of block (the paper's Table 4 in small); nothing where nothing was."""
    found = [row for row in rows if row["paper"] == "lseg" and row["measure"].startswith(ABLATION)]
    if not found:
        return ""
    measures = list(dict.fromkeys(row["measure"] for row in found))
    values = {(row["split"], row["measure"]): row["value"] for row in found}
    head = "".join(
        f'<th scope="col">{html.escape(report.named(name.removeprefix(ABLATION).strip(": "), lang))}</th>'
        for name in measures
    )
    body = ""
    for split in dict.fromkeys(row["split"] for row in found):
        cells = "".join(
            f'<td style="--share:{100 * values[split, name]:.1f}%">{values[split, name]:.3f}</td>'
            if (split, name) in values
            else "<td>–</td>"
            for name in measures
        )
        body += f'<tr><th scope="row">{html.escape(block_name(split, lang))}</th>{cells}</tr>'
    note = pick(
        lang,
        "Here each decoder was trained together with its block, all for the same few steps, and measured on scenes it never "
        "saw: compare rows with each other, not with the checkpoint above. Measured by ",
        "这里每个解码器都和它的模块一起训练，步数同样很少，并在没见过的场景上测量：只能行与行比较，不能和上面的权重比。测量命令：",
    )
    command = html.escape(found[0]["command"])
    return (
        f"<h3>{pick(lang, 'Whole decoders trained with their blocks', '解码器和模块一起训练')}</h3>"
        f'<div class="atlas-scroll" tabindex="0"><table class="atlas-grid"><thead><tr><td></td>{head}</tr></thead>'
        f'<tbody>{body}</tbody></table></div><p class="atlas-line">{note}<code>{command}</code></p>'
    )


def _softmax(maps: np.ndarray) -> np.ndarray:
    powers = np.exp(maps - maps.max(0))
    return powers / powers.sum(0)


# --- code ------------------------------------------------------------------------------------------------


def code(
    picture: str | None, labels: str, way: str, plain: str, checkpoint: str, lang: str
) -> tuple[str, str]:
    """Equations, lines and shapes of one answer."""
    found = handlers.run(picture, labels, way, plain, checkpoint)
    made = shapes(found)
    cards = "".join(
        _card(card, made.get(card.get("made", ""), ""), lang)
        for card in words()["code"]
        if card.get("way", found.kind) == found.kind
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


def tensors_tab(common: Common) -> None:
    """Lays out *Tensors*."""
    gr.Markdown(tr(*TENSORS_IDEA))
    run = gr.Button(tr("Look inside", "看看内部"), variant="primary", elem_id="tensors-button")
    shown, line = output("tensors-out"), output("tensors-line")
    common.page.on(run.click, tensors, common.asked, [shown, line])


def code_tab(common: Common) -> None:
    """Lays out *Code*."""
    gr.Markdown(tr(*CODE_IDEA))
    run = gr.Button(tr("Run and show the lines", "运行并显示代码"), variant="primary", elem_id="code-button")
    shown, line = output("code-out"), output("code-line")
    common.page.on(run.click, code, common.asked, [shown, line])
