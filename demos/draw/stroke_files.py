"""Drawings as files: SVG, PNG, JSON, the run as an animated SVG, GIF and MP4; all as links that carry their data."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from core.drawing.strokes import Drawn, Strokes
from demos.draw.base import to_json
from demos.kit.language import both, pick

# Moments of an animated SVG and of a film, and how long they play.
MOMENTS, FILM_MOMENTS, SECONDS = 24, 40, 5.0
# Pixels of each column of a film by the number of columns.
FILM_SIDES = (448, 336, 224, 224)
PNG_SIDE = 1024


def moments(drawn: Drawn, most: int) -> list[Strokes]:
    """Up to `most` moments of a run, evenly; the last one is the drawing itself."""
    count = len(drawn.history)
    keep = np.unique(np.linspace(0, count - 1, min(count, most - 1)).round().astype(int))
    return [*(drawn.history[i] for i in keep), drawn.strokes]


def png(strokes: Strokes, side: int = PNG_SIDE) -> bytes:
    """The drawing in pixels."""
    buffer = io.BytesIO()
    Image.fromarray(strokes.image(side)).save(buffer, "PNG")
    return buffer.getvalue()


def pictures(drawn: Sequence[Drawn]) -> np.ndarray:
    """The run in pixels, columns side by side: uint8 [F, H, W, 3] of even sides."""
    from core.drawing import film

    side = FILM_SIDES[min(len(drawn), len(FILM_SIDES)) - 1]
    return np.concatenate([film.pixels(moments(one, FILM_MOMENTS), side) for one in drawn], axis=2)


def drawing_json(drawn: Drawn) -> dict[str, Any]:
    """A drawing for programs: control points in pixels of the 224 canvas, widths, colours, losses."""
    strokes = drawn.strokes
    return {
        "canvas": strokes.side,
        "background": [round(float(value), 4) for value in strokes.background],
        "points": strokes.points.astype(float).round(3).tolist(),
        "widths": strokes.widths.astype(float).round(3).tolist(),
        "colors": strokes.colors.astype(float).round(4).tolist(),
        "seed": drawn.seed,
        "loss": round(drawn.loss, 5),
        "losses": drawn.losses.astype(float).round(5).tolist(),
        "terms": {name: round(value, 5) for name, value in drawn.terms.items()},
    }


def link(title: str, name: str, mime: str, data: bytes) -> str:
    """One download that carries its data; the title is HTML."""
    address = f"data:{mime};base64,{base64.b64encode(data).decode()}"
    return f'<a class="atlas-chip" download="{html.escape(name)}" href="{address}">{title}</a>'


def links(name: str, drawn: Sequence[Drawn], answer: dict[str, Any]) -> str:
    """The downloads of a run: one row for each drawing, and its JSON.

    Args:
        name: of the files, without an ending.
        drawn: the columns.
        answer: what the JSON says of the run besides its drawings.
    """
    from core.drawing import film

    rows = []
    for one in drawn:
        count = len(one.strokes)
        stem = f"{name}-{count}"
        parts = [
            link("SVG", f"{stem}.svg", "image/svg+xml", one.strokes.svg().encode()),
            link(
                both("animated SVG", "动画 SVG"),
                f"{stem}-run.svg",
                "image/svg+xml",
                film.svg(moments(one, MOMENTS), SECONDS).encode(),
            ),
            link("PNG", f"{stem}.png", "image/png", png(one.strokes)),
        ]
        title = both(f"{count} strokes", f"{count} 笔") if len(drawn) > 1 else both("Download", "下载")
        rows.append(f'<p class="atlas-downloads">{title} {" ".join(parts)}</p>')
    data = to_json({**answer, "drawings": [drawing_json(one) for one in drawn]}).encode()
    rows.append(f'<p class="atlas-downloads">{link("JSON", f"{name}.json", "application/json", data)}</p>')
    if len(rows) == 2:
        # One drawing: all in one row.
        return rows[0].replace("</p>", " ") + rows[1].partition(">")[2]
    return "".join(rows)


def films(name: str, drawn: Sequence[Drawn], lang: str) -> str:
    """The run as a GIF and an MP4, to see and to download."""
    from core.drawing import film

    shown = pictures(drawn)
    kinds = (("gif", "image/gif", film.gif), ("mp4", "video/mp4", film.mp4))
    made = []
    for ending, mime, write in kinds:
        data = write(shown, SECONDS)
        size = f"{len(data) / 1024:.0f} KB"
        made.append((ending, link(f"{ending.upper()} · {size}", f"{name}.{ending}", mime, data), mime, data))
    address = f"data:{made[1][2]};base64,{base64.b64encode(made[1][3]).decode()}"
    title = pick(lang, "The run as a film", "绘制过程的影片")
    return (
        f'<p class="atlas-downloads">{both("Download", "下载")} {" ".join(text for _, text, _, _ in made)}</p>'
        f'<video class="sketch-film" aria-label="{title}" src="{address}" controls autoplay loop muted playsinline></video>'
    )
