"""What the *Look inside* tabs draw: relevance cards, the value of the attention surface, the map, the table of tensors.

Every text that a user typed is escaped here.
"""

from __future__ import annotations

import base64
import html
import io
import json
import re
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from core import inputs
from demos.draw import base as draw
from demos.kit.components import SCRIPTS
from demos.kit.language import both, pick

if TYPE_CHECKING:
    from core.clip.inside import Attention, Projection, Relevance, Stage

Box = Sequence[float]
# Neighbours write to different sides, so that their words lie on each other less often.
PLACES = ("top center", "bottom center", "middle right", "middle left")


@cache
def words() -> dict[str, Any]:
    """Names and explanations of methods and stages, in both languages."""
    return tomllib.loads(Path(__file__).with_name("inside.toml").read_text(encoding="utf-8"))


# --- relevance -------------------------------------------------------------------------------------------


def relevance_cards(
    found: Sequence[Relevance],
    image: Image.Image,
    boxes: Sequence[Sequence[Box]],
    inside: Sequence[Sequence[tuple[float, float] | None]],
    lang: str,
) -> str:
    """A row for each label, a picture in it for each method; the known boxes of what the label names are drawn.

    Args:
        found: one for each method, of the same labels.
        image: the caller's picture.
        boxes: for each label the boxes of the things it names, xyxy pixels; none where nothing is known.
        inside: for each method and label, share of relevance and of area in those boxes.
        lang: "en" or "zh".
    """
    answer = found[0].answer
    rows = []
    for i in answer.order.tolist():
        cards = "".join(
            _relevance_card(one, image, i, boxes[i], shares[i], len(found) > 1, lang)
            for one, shares in zip(found, inside, strict=True)
        )
        share = draw.percent(float(answer.probabilities[i]))
        rows.append(
            f"<section><h4><span>{html.escape(answer.labels[i])}</span> <small>{share} · {answer.cosines[i]:+.3f}</small>"
            f"</h4><div>{cards}</div></section>"
        )
    note = pick(
        lang,
        "Yellow: here the picture speaks for the label. Every map is stretched to its own range: compare places within one, "
        "not two maps.",
        "黄色：图中这里最支持该标签。每张图各自拉满量程：只能比较同一张图里的位置，不能跨图比较。",
    )
    many = " many" if len(found) > 1 else ""
    return f'<div class="atlas-where{many}">{"".join(rows)}</div><p class="atlas-line">{note}</p>'


def _relevance_card(
    one: Relevance,
    image: Image.Image,
    label: int,
    boxes: Sequence[Box],
    share: tuple[float, float] | None,
    named: bool,
    lang: str,
) -> str:
    overlay = draw.heat_overlay(image, one.maps[label], one.answer.crop)
    pen = ImageDraw.Draw(overlay)
    for box in boxes:
        edge = inputs.to_pixels(image, box).round().tolist()
        pen.rectangle(edge, outline="black", width=max(4, image.width // 90))
        pen.rectangle(edge, outline="white", width=max(2, image.width // 180))
    title = words()["methods"][one.method]["title"][lang]
    alt = pick(
        lang,
        f"{title}: where “{one.answer.labels[label]}” is seen",
        f"{title}：“{one.answer.labels[label]}”在哪里",
    )
    parts = [f"<b>{html.escape(title)}</b>"] if named else []
    if share:
        inner, area = share
        text = pick(
            lang,
            f"{inner:.0%} of it in the true box, which is {area:.0%} of the picture",
            f"{inner:.0%} 落在真实方框内（方框占图片的 {area:.0%}）",
        )
        parts.append(f"<span>{text}</span>")
    caption = f"<figcaption>{' '.join(parts)}</figcaption>" if parts else ""
    return f'<figure><img alt="{html.escape(alt)}" src="{draw.data_uri(overlay, 420)}">{caption}</figure>'


# --- attention -------------------------------------------------------------------------------------------


def attention_template() -> str:
    """The static part of the attention surface; `assets/js/attention.js` fills it."""
    tip = both(
        "Point at a tile to see it large: a row a layer, first the mean, then every head. Click a place in the picture to "
        "let <em>it</em> read; click it again for the whole picture.",
        "指向小图即可放大：一行一层，最左是平均，然后是每个头。点一下大图上的某处，就看<em>它</em>在读什么；再点一次回到整张图。",
    )
    picture = both(
        "The picture under one map; arrow keys move the reader", "叠加注意力的图片；方向键移动读者"
    )
    return (
        f'<div class="atlas-attend" hidden><p class="atlas-line">{tip}</p><div class="atlas-attend-stage">'
        '<div class="atlas-attend-big"><canvas tabindex="0" role="img" aria-labelledby="attend-name"></canvas>'
        f'<span id="attend-name" class="atlas-only-read">{picture}</span>'
        '<p class="atlas-attend-caption" role="status"></p><p class="atlas-tools">'
        f'<label>{both("Strength", "叠加强度")} <input type="range" min="0" max="1" step="0.05" value="0.65"></label>'
        f'<button type="button" class="atlas-chip" data-whole>{both("Whole picture reads", "由整张图来读")}</button></p></div>'
        '<div class="atlas-attend-scroll" tabindex="0"><div class="atlas-attend-tiles"></div></div></div></div>'
    )


def attention_script() -> str:
    """The script of the attention surface."""
    return (SCRIPTS / "attention.js").read_text(encoding="utf-8")


def attention_value(found: Attention, image: Image.Image) -> str:
    """The value of the attention surface: every map as bytes, each stretched to its own peak."""
    layers, heads, rows, columns = found.weights.shape
    flat = found.weights.reshape(layers * heads, -1)
    peaks = flat.max(axis=1)
    scaled = (255 * flat / np.maximum(peaks, 1e-12)[:, None]).round().astype(np.uint8)
    return json.dumps(
        {
            "src": draw.data_uri(image, 640),
            "crop": (np.array(found.crop) / np.array(inputs.size_of(image) * 2)).round(4).tolist(),
            "layers": list(found.layers),
            "heads": heads,
            "grid": [rows, columns],
            "maps": base64.b64encode(scaled.tobytes()).decode(),
            "peaks": peaks.astype(float).round(5).tolist(),
            "kept": found.kept.astype(float).round(4).tolist(),
            "mean": list(found.mean),
            "reader": list(found.reader) if found.reader else None,
            "ramp": draw.HEAT.tolist(),
            "at": layers - 1,
        }
    )


# --- the map ---------------------------------------------------------------------------------------------


def map_figure(
    made: Projection,
    names: Sequence[str],
    kinds: Sequence[str],
    thumbnails: Sequence[str | None],
    pairs: Sequence[tuple[int, int]],
    lang: str,
) -> Any:
    """Pictures and texts of one space as a plotly figure, in two dimensions or three.

    Args:
        made: M points.
        names: M texts.
        kinds: M of "asked" (the page's picture), "picture", "label" (the page's), "caption".
        thumbnails: for each point a data URI, or None.
        pairs: (picture, caption) of points that belong together: joined by a line.
        lang: "en" or "zh".
    """
    import plotly.graph_objects as go

    flat = made.points.shape[1] == 2
    titles = {
        "asked": pick(lang, "this picture", "当前图片"),
        "picture": pick(lang, "pictures", "图片"),
        "label": pick(lang, "your labels", "你的标签"),
        "caption": pick(lang, "captions", "描述"),
    }
    looks = {
        "asked": ("#D55E00", "diamond", 17),
        "picture": ("#0072B2", "circle", 10),
        "label": ("#E69F00", "square", 11),
        "caption": ("#009E73", "cross", 8),
    }
    plot = go.Figure()
    scatter = go.Scatter if flat else go.Scatter3d

    def places(index: Sequence[int]) -> dict[str, list[float]]:
        return {
            axis: made.points[list(index), k].tolist() for k, axis in enumerate("xyz"[: made.points.shape[1]])
        }

    for first, second in pairs:
        plot.add_trace(
            scatter(
                **places([first, second]),
                mode="lines",
                line={"color": "#8a8a8a", "width": 1.2 if flat else 2},
                hoverinfo="skip",
                showlegend=False,
            )
        )
    for kind, (colour, symbol, size) in looks.items():
        index = [i for i, one in enumerate(kinds) if one == kind]
        if not index:
            continue
        shown = [html.escape(names[i]) for i in index]
        # In space nothing is in the way of words; on a plane the pictures stand for themselves.
        written = kind in ("label", "caption") or not flat
        plot.add_trace(
            scatter(
                **places(index),
                mode="markers+text" if written else "markers",
                name=titles[kind],
                text=[_short(text) for text in shown] if written else None,
                hovertext=shown,
                hoverinfo="text+name",
                textposition=[PLACES[i % len(PLACES)] for i in range(len(index))] if flat else "top center",
                textfont={"size": 12, "color": "#8a8a8a"},
                marker={"color": colour, "symbol": symbol, "size": size if flat else max(4, size / 2)},
            )
        )
    if flat:
        span = np.ptp(made.points, axis=0).clip(1e-6)
        for i, source in enumerate(thumbnails):
            if source:
                share = 0.13 if kinds[i] == "asked" else 0.085
                plot.add_layout_image(
                    source=source, xref="x", yref="y", x=float(made.points[i, 0]), y=float(made.points[i, 1]),
                    sizex=float(share * span[0]), sizey=float(1.5 * share * span[1]), xanchor="center",
                    yanchor="middle", opacity=0.95, layer="below",
                )  # fmt: skip
    axes = [
        pick(lang, f"axis {k + 1}: {share:.0%}", f"轴 {k + 1}：{share:.0%}")
        for k, share in enumerate(made.explained)
    ]
    common = {
        "height": 560, "margin": {"l": 8, "r": 8, "t": 8, "b": 8}, "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)", "font": {"size": 13}, "showlegend": True,
        "legend": {"orientation": "h", "y": 1.08, "x": 0}, "hovermode": "closest",
    }  # fmt: skip
    line = {
        "showgrid": True,
        "gridcolor": "rgba(128,128,128,.25)",
        "zeroline": False,
        "showticklabels": False,
    }
    if flat:
        low, high = made.points.min(axis=0) - 0.14 * span, made.points.max(axis=0) + 0.14 * span
        ranges = [[float(a), float(b)] for a, b in zip(low, high, strict=True)]
        plot.update_layout(
            **common,
            xaxis={"title": axes[0], "range": ranges[0], **line},
            yaxis={"title": axes[1], "range": ranges[1], **line},
        )
    else:
        soft = {"showbackground": False, "color": "#8a8a8a", **line}
        plot.update_layout(
            **common,
            scene={f"{axis}axis": {"title": {"text": axes[k]}, **soft} for k, axis in enumerate("xyz")},
        )
    return plot


def _short(text: str, limit: int = 22) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def map_note(made: Projection, centred: bool, lang: str) -> str:
    """How much of the space the map shows, and the gap between pictures and texts."""
    shown = float(made.explained.sum())
    gap = pick(
        lang,
        f"The middle of the pictures and the middle of the texts lie {made.gap:.2f} apart, although all vectors have "
        f"length 1: each kind keeps to a cone of its own. ",
        f"所有向量长度都是 1，但图片的中心与文本的中心相距 {made.gap:.2f}：两类向量各占一个锥形区域。",
    )
    moved = pick(
        lang,
        "Here each kind was moved to the middle, so that neighbours of the other kind can be seen. ",
        "这里把两类各自移到了中心，好看出彼此的邻居。",
    )
    rest = pick(
        lang,
        f"The map shows {shown:.0%} of the differences; the rest lies in directions that it leaves out.",
        f"这张图显示了 {shown:.0%} 的差异，其余在没画出的方向上。",
    )
    return f'<p class="atlas-line">{gap}{moved if centred else ""}{rest}</p>'


def nearest_table(captions: Sequence[str], cosines: Sequence[float], pool: int, lang: str) -> str:
    """The captions nearest to the picture, best first, with their cosine as a bar from the farthest of the pool on."""
    low, high = min(0.0, *cosines), max(cosines)
    body = "".join(
        f'<tr{" class=best" if i == 0 else ""}><th scope="row">{html.escape(text)}</th>'
        f'<td class="bar"><span style="width:{100 * (value - low) / max(high - low, 1e-9):.1f}%"></span></td>'
        f"<td>{value:+.3f}</td></tr>"
        for i, (text, value) in enumerate(zip(captions, cosines, strict=True))
    )
    title = pick(lang, f"Nearest of {pool} texts", f"{pool} 条文本中最近的")
    head = pick(lang, "cosine", "余弦")
    return (
        f'<table class="atlas-bars"><thead><tr><th scope="col">{title}</th><td></td><th scope="col">{head}</th></tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


# --- tensors ---------------------------------------------------------------------------------------------


def stage_table(stages: Sequence[Stage], lang: str) -> str:
    """The way from the picture to the probabilities: name, shape, what it looks like, mean and deviation."""
    head = "".join(
        f'<th scope="col">{text}</th>'
        for text in (
            pick(lang, "tensor", "张量"),
            pick(lang, "shape, mean ± deviation", "形状，均值 ± 标准差"),
            pick(lang, "what it looks like", "看上去"),
        )
    )
    body = "".join(_stage_row(stage, lang) for stage in stages)
    note = pick(
        lang,
        "Maps and tokens: their first three principal components as red, green and blue; like colours are like features. "
        "Vectors and matrices: orange above zero, blue below.",
        "特征图与 token：前三个主成分当作红、绿、蓝；颜色相近就是特征相近。向量与矩阵：橙色为正，蓝色为负。",
    )
    return (
        f'<div class="atlas-scroll" tabindex="0"><table class="atlas-tensors"><thead><tr>{head}</tr></thead><tbody>{body}'
        f'</tbody></table></div><p class="atlas-line">{note}</p>'
    )


def _stage_row(stage: Stage, lang: str) -> str:
    known = words()["stages"]
    says = known[stage.name if stage.name in known else re.sub(r"\d+$", "", stage.name)][lang]
    shape = " × ".join(map(str, stage.shape))
    return (
        f'<tr class="{stage.kind}"><th scope="row"><code>{stage.name}</code><small>{says}</small></th>'
        f"<td><b>{shape}</b><small>{stage.mean:+.3f} ± {stage.deviation:.3f}</small></td>"
        f'<td><img alt="" src="{_pixels(stage.picture)}"></td></tr>'
    )


def _pixels(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
