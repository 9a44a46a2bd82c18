"""Drawings of strokes as the pages show them: messages to `assets/js/strokes.js`, maps, tables.

A message is one JSON text: a run's name, its step, and one column for each drawing with path data, widths and colours.
Rounded to a tenth of a pixel, sixteen strokes are less than a kilobyte, so that many frames a second can travel.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from core.drawing.strokes import CANVAS, Drawn, Frame, Start, Strokes
from core.errors import Refusal
from demos.draw import base as draw
from demos.kit.language import both, pick

if TYPE_CHECKING:
    from core.clip import Classification

SCRIPT = Path(__file__).resolve().parents[2] / "assets" / "js" / "strokes.js"
# Moments of a run that a replay has, the strokes in all of them together, and the labels beside a drawing.
REPLAY, REPLAY_STROKES, LABELS = 60, 1200, 3
MAX_EDIT = 200_000  # characters of what the surface sends back


def surface(elem_id: str) -> gr.HTML:
    """The component that shows drawings."""
    title = both("Replay", "重放")
    template = (
        '<div class="sketch" hidden><div class="sketch-board">'
        '<div class="sketch-columns" data-columns></div>'
        '<div class="sketch-aside" data-aside><figure class="sketch-curve" data-curve hidden></figure></div></div>'
        '<p class="atlas-verdict some" data-worth role="status" hidden></p>'
        '<div class="sketch-tools" data-tools hidden>'
        f'<button type="button" class="atlas-chip" data-play aria-pressed="false">▶ {title}</button>'
        f'<label><span class="atlas-only-read">{both("Moment of the run", "运行的时刻")}</span>'
        '<input type="range" min="0" step="any" value="0" data-replay></label><span data-moment></span>'
        f'<button type="button" class="atlas-chip" data-edit aria-pressed="false" hidden>'
        f"{both('Edit strokes', '编辑笔画')}</button>"
        "</div></div>"
    )
    return gr.HTML(
        value="",
        html_template=template,
        js_on_load=SCRIPT.read_text(encoding="utf-8"),
        elem_id=elem_id,
        padding=False,
        apply_default_css=False,
    )


# --- messages --------------------------------------------------------------------------------------------------


def hexadecimal(color: Sequence[float]) -> str:
    """A colour of three or four parts in 0..1 as "#rrggbb" or "#rrggbbaa"."""
    return "#" + "".join(f"{round(255 * min(max(float(value), 0), 1)):02x}" for value in color)


def column(strokes: Strokes, title: str = "") -> dict[str, Any]:
    """One drawing of a message; what all strokes share is said once."""
    widths = np.round(strokes.widths.astype(float), 2).tolist()
    black = np.array_equal(strokes.colors, np.broadcast_to([0, 0, 0, 1], strokes.colors.shape))
    found: dict[str, Any] = {
        "d": strokes.paths(),
        "w": widths[0] if len(set(widths)) == 1 else widths,
    }
    if title:
        found["title"] = title
    if not black:
        found["c"] = [hexadecimal(color if color[3] < 1 else color[:3]) for color in strokes.colors]
    if tuple(strokes.background) != (1.0, 1.0, 1.0):
        found["paper"] = hexadecimal(strokes.background)
    return found


def message(
    run: str, frame: Frame, titles: Sequence[str], labels: Sequence[Classification] = (), picture: str = ""
) -> str:
    """A moment of a run."""
    value: dict[str, Any] = {
        "run": run,
        "step": frame.step,
        "steps": frame.steps,
        "columns": [column(strokes, title) for strokes, title in zip(frame.strokes, titles, strict=True)],
        "losses": frame.losses.astype(float).round(5).tolist(),
    }
    return _text(value, labels, picture)


def finished(
    run: str,
    drawn: Sequence[Drawn],
    steps: int,
    titles: Sequence[str],
    labels: Sequence[Classification] = (),
    picture: str = "",
    *,
    edit: bool = False,
) -> str:
    """The end of a run: every drawing at its best, the moments of a replay and whole curves."""
    moments = max(8, min(REPLAY, REPLAY_STROKES // sum(len(one.strokes) for one in drawn)))
    keep = spread(len(drawn[0].history), moments)
    history = [
        {
            "step": int(drawn[0].history_steps[i]),
            "columns": [{"d": one.history[i].paths(), **_moving(one.history[i])} for one in drawn],
        }
        for i in keep
    ]
    columns = [column(one.strokes, title) for one, title in zip(drawn, titles, strict=True)]
    # The last moment is the drawing itself, which may be of an earlier step than the last.
    history.append({"step": steps, "columns": columns})
    value: dict[str, Any] = {
        "run": run,
        "final": True,
        "edit": edit,
        "step": steps,
        "steps": max(steps, 1),
        "columns": columns,
        "history": history,
        "curves": curves([one.curves for one in drawn]),
    }
    return _text(value, labels, picture)


def valued(run: str, strokes: Strokes, whole: float, worth: np.ndarray) -> str:
    """A drawing whose strokes can be pressed to learn their worth.

    Args:
        whole: plain loss of the drawing.
        worth: [S] by how much it grows without each stroke.
    """
    value = {
        "run": run,
        "columns": [column(strokes)],
        "worth": worth.astype(float).round(6).tolist(),
        "whole": round(float(whole), 6),
    }
    return _text(value, (), "")


def _moving(strokes: Strokes) -> dict[str, Any]:
    """Widths and colours of a moment, where they are not those of every moment."""
    found = column(strokes)
    return {key: found[key] for key in ("w", "c") if isinstance(found.get(key), list)}


def _text(value: dict[str, Any], labels: Sequence[Classification], picture: str) -> str:
    if labels:
        value["labels"] = [top(result) for result in labels]
    if picture:
        value["picture"] = picture
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def top(result: Classification) -> list[list[Any]]:
    """The first labels of a drawing with their share."""
    order = result.order[:LABELS].tolist()
    return [[result.labels[i], round(float(result.probabilities[i]), 3)] for i in order]


def spread(count: int, most: int) -> list[int]:
    """Up to `most` indices out of `count`, evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def curves(values: Sequence[np.ndarray]) -> list[Any]:
    """Losses of the columns, each [N, T], as [[step, [[loss of each seed] of each column]], ...]; None for no number."""
    steps = max(array.shape[1] for array in values)
    return [
        [
            step,
            [
                [
                    None if np.isnan(loss) else round(float(loss), 5)
                    for loss in array[:, min(step, array.shape[1] - 1)]
                ]
                for array in values
            ],
        ]
        for step in spread(steps, 4 * REPLAY)
    ]


# --- what comes back --------------------------------------------------------------------------------------------


def edited(value: str | None, strokes: Strokes) -> Strokes | None:
    """The strokes as a person left them; None where nothing was edited.

    Args:
        value: of the surface.
        strokes: that it showed, S of them.

    Raises:
        Refusal: "bad_drawing" for anything that the surface does not send.
    """
    if not value or not isinstance(value, str) or '"edited"' not in value[:20]:
        return None
    if len(value) > MAX_EDIT:
        raise Refusal("bad_drawing")
    try:
        found = json.loads(value)["edited"]
        kept = np.array(found["kept"], np.int64)
        points = np.array(found["points"], np.float32).reshape(len(kept), *strokes.points.shape[1:])
    except (ValueError, KeyError, TypeError):
        raise Refusal("bad_drawing") from None
    known = kept.ndim == 1 and 0 < len(kept) <= len(strokes) and kept.min() >= 0 and kept.max() < len(strokes)
    if not known or not np.isfinite(points).all() or np.abs(points).max() > 10 * CANVAS:
        raise Refusal("bad_drawing")
    return Strokes(points, strokes.widths[kept], strokes.colors[kept], strokes.background)


# --- pictures ---------------------------------------------------------------------------------------------------


def png_uri(picture: np.ndarray | Image.Image) -> str:
    """A picture, uint8 [H, W, 3] or an Image, as a PNG data URI."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def figures(pictures: Sequence[tuple[str, str, str]]) -> str:
    """Pictures side by side: (data URI, title, caption), the texts plain."""
    return (
        '<div class="sketch-figures">'
        + "".join(
            f'<figure><img alt="{html.escape(title)}" src="{uri}">'
            f"<figcaption><b>{html.escape(title)}</b> {html.escape(caption)}</figcaption></figure>"
            for uri, title, caption in pictures
        )
        + "</div>"
    )


def start_maps(start: Start, lang: str) -> str:
    """What a sketch knew before its first step: attention, edges, their product, and where strokes began."""
    heat = Image.fromarray(draw.heat_colors(start.saliency))
    edge = np.repeat(np.where(start.edges, 0, 255).astype(np.uint8)[..., None], 3, 2)
    strength = start.probability / max(float(start.probability.max()), 1e-12)
    product = draw.heat_colors(strength)
    pictures = [
        (
            draw.data_uri(Image.blend(Image.fromarray(start.picture), heat, 0.65)),
            pick(lang, "1 · Attention", "1 · 注意力"),
            pick(
                lang, "where CLIP looks, averaged over heads and layers", "CLIP 在看哪里，对所有头和层取平均"
            ),
        ),
        (
            png_uri(edge),
            pick(lang, "2 · Edges", "2 · 边缘"),
            pick(lang, "the dark side of every contour (XDoG)", "每条轮廓的暗侧（XDoG）"),
        ),
        (
            png_uri(product),
            pick(lang, "3 · Product", "3 · 乘积"),
            pick(lang, "the chance of a stroke to begin there", "一笔从这里开始的概率"),
        ),
        (
            png_uri(with_points(start)),
            pick(lang, "4 · Start points", "4 · 起点"),
            pick(lang, f"{len(start.points[0][0])} drawn from it", f"从中抽出 {len(start.points[0][0])} 个"),
        ),
    ]
    return figures(pictures)


def with_points(start: Start) -> np.ndarray:
    """The picture, pale, with the start points of the first seed: uint8 [2 * CANVAS, 2 * CANVAS, 3]."""
    from PIL import ImageDraw

    pale = Image.blend(Image.fromarray(start.picture), Image.new("RGB", (CANVAS, CANVAS), "white"), 0.5)
    pale = pale.resize((2 * CANVAS, 2 * CANVAS))
    pen = ImageDraw.Draw(pale)
    for x, y in (2 * start.points[0][0]).tolist():
        pen.ellipse((x - 6, y - 6, x + 6, y + 6), fill=draw.VERMILION, outline="white", width=2)
    return np.asarray(pale)


def rows_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A small table of plain texts; the first cell of a row names it."""
    body = "".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    titles = "".join(f'<th scope="col">{html.escape(title)}</th>' for title in head)
    return (
        f'<div class="atlas-scroll"><table class="atlas-grid"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def ink_caption(share: float, loss: float, name: Mapping[str, Any] | None, lang: str) -> str:
    """What is said under a drawing of a comparison: its ink, its loss, its best label."""
    label = f" · {name['label']} {draw.percent(name['probability'])}" if name else ""
    return pick(lang, f"ink {share:.1%} · loss {loss:.3f}", f"墨量 {share:.1%} · 损失 {loss:.3f}") + label
