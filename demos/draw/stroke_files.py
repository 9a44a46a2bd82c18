"""Drawings as files: SVG, PNG, JSON, the run as an animated SVG, GIF and MP4; all as links that carry their data."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from core.drawing.strokes import Drawn, Strokes
from demos.draw.base import to_json
from demos.kit.html import Markup, join, tag
from demos.kit.language import pick

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


def uri(mime: str, data: bytes) -> str:
    """Bytes as an address that carries them."""
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def link(title: str, name: str, mime: str, data: bytes) -> Markup:
    """One download."""
    return tag("a", title, class_="atlas-chip", download=name, href=uri(mime, data))


def row(title: str, links: Sequence[Markup]) -> Markup:
    """Downloads in one line behind their title."""
    return tag("p", title, " ", join(links, " "), class_="atlas-downloads")


def links(name: str, drawn: Sequence[Drawn], facts: Mapping[str, Any], lang: str) -> Markup:
    """The downloads of a run: one row for each drawing, and its JSON.

    Args:
        name: of the files, without an ending.
        drawn: the columns.
        facts: what the JSON says of the run besides its drawings.
        lang: "en" or "zh".
    """
    from core.drawing import film

    data = to_json({**facts, "drawings": [drawing_json(one) for one in drawn]}).encode()
    json_link = link("JSON", f"{name}.json", "application/json", data)
    rows = []
    for one in drawn:
        count = len(one.strokes)
        stem, svg = f"{name}-{count}", "image/svg+xml"
        replay = film.svg(moments(one, MOMENTS), SECONDS).encode()
        parts = [
            link("SVG", f"{stem}.svg", svg, one.strokes.svg().encode()),
            link(pick(lang, "animated SVG", "动画 SVG"), f"{stem}-run.svg", svg, replay),
            link("PNG", f"{stem}.png", "image/png", png(one.strokes)),
        ]
        rows.append(row(pick(lang, f"{count} strokes", f"{count} 笔"), parts))
    return join([*rows, row(pick(lang, "All together", "全部"), [json_link])])


def films(name: str, drawn: Sequence[Drawn], lang: str) -> Iterator[tuple[float, Markup]]:
    """The run as a GIF and an MP4, columns side by side.

    Yields:
        The share of the work that is done and, at the end, the film with its downloads as HTML.
    """
    from core.drawing import film

    side = FILM_SIDES[min(len(drawn), len(FILM_SIDES)) - 1]
    columns = []
    for i, one in enumerate(drawn):
        scenes, parts = moments(one, FILM_MOMENTS), []
        for part in film.parts(scenes, side):
            parts.append(part)
            yield (i + sum(map(len, parts)) / len(scenes)) / (len(drawn) + 1), Markup()
        columns.append(np.concatenate(parts))
    frames = np.concatenate(columns, axis=2)  # [F, H, W, 3] of even sides
    downloads, address = [], ""
    for ending, mime, write in (("gif", "image/gif", film.gif), ("mp4", "video/mp4", film.mp4)):
        data = write(frames, SECONDS)
        address = uri(mime, data)
        downloads.append(
            link(f"{ending.upper()} · {len(data) / 1024:.0f} KB", f"{name}.{ending}", mime, data)
        )
    title = pick(lang, "The run as a film", "绘制过程的影片")
    film_html = tag(
        "video",
        class_="sketch-film",
        aria_label=title,
        src=address,
        controls=True,
        autoplay=True,
        loop=True,
        muted=True,
        playsinline=True,
    )
    yield 1.0, row(title, downloads) + film_html
