"""Drawings of strokes as the pages show them: messages to `assets/js/strokes.js`, maps, tables, files.

A message is one JSON text: a run's name, its step, and one column for each drawing with path data, widths and colours.
Rounded to a tenth of a pixel, sixteen strokes are less than a kilobyte, so that many frames a second can travel.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from core.drawing.strokes import CANVAS, Drawn, Frame, Start, Strokes
from core.errors import Refusal
from demos.draw import base as draw
from demos.kit import components, library
from demos.kit.files import File, downloads, to_data_uri
from demos.kit.html import Markup, grid, join, row, tag
from demos.kit.language import pick

if TYPE_CHECKING:
    from core.clip import Classification

    Opinions = Mapping[str, Classification]  # by the title of the model, "" for the only one

# Moments of an animated SVG and of a film, and how long they play.
MOMENTS, FILM_MOMENTS, SECONDS = 24, 40, 5.0
FILM_SIDES = (448, 336, 224, 224)  # pixels of each column of a film by the number of columns
PNG_SIDE = 1024
# Moments of a run that a replay has, the strokes in all of them together, and the labels beside a drawing.
REPLAY, REPLAY_STROKES, LABELS = 60, 1200, 3
MAX_EDIT = 200_000  # characters of what the surface sends back


def surface(elem_id: str) -> gr.HTML:
    """The component that shows drawings."""
    return components.surface(elem_id, "strokes.js", components.markup("strokes"))


# --- messages --------------------------------------------------------------------------------------------------


def hexadecimal(color: Sequence[float]) -> str:
    """A colour of three or four parts in 0..1 as "#rrggbb" or "#rrggbbaa"."""
    return "#" + "".join(f"{round(255 * min(max(float(value), 0), 1)):02x}" for value in color)


def column(strokes: Strokes, title: str = "") -> dict[str, Any]:
    """One drawing of a message; what all strokes share is said once."""
    widths = np.round(strokes.widths.astype(float), 2).tolist()
    black = np.array_equal(strokes.colors, np.broadcast_to([0, 0, 0, 1], strokes.colors.shape))
    value: dict[str, Any] = {
        "d": strokes.paths(),
        "w": widths[0] if len(set(widths)) == 1 else widths,
    }
    if title:
        value["title"] = title
    if not black:
        value["c"] = [hexadecimal(color if color[3] < 1 else color[:3]) for color in strokes.colors]
    if tuple(strokes.background) != (1.0, 1.0, 1.0):
        value["paper"] = hexadecimal(strokes.background)
    return value


def still(value: Mapping[str, Any], title: str) -> Markup:
    """One drawing of a message as an image that does not move."""
    count = len(value["d"])
    widths, colors = (
        given if isinstance(given, list) else [given] * count
        for given in (value["w"], value.get("c", "#000"))
    )
    paths = (
        tag("path", d=d, stroke_width=width, stroke=color)
        for d, width, color in zip(value["d"], widths, colors, strict=True)
    )
    return tag(
        "svg",
        tag("rect", width=CANVAS, height=CANVAS, fill=value.get("paper", "#fff"), stroke="none"),
        *paths,
        viewBox=f"0 0 {CANVAS} {CANVAS}",
        fill="none",
        stroke_linecap="round",
        role="img",
        aria_label=title,
    )


def message(
    run: str, frame: Frame, titles: Sequence[str], labels: Sequence[Opinions] = (), image: str = ""
) -> str:
    """A moment of a run; `labels` are the opinions on each column, `image` the address of what is drawn after."""
    value: dict[str, Any] = {
        "run": run,
        "step": frame.step,
        "steps": frame.steps,
        "columns": [column(strokes, title) for strokes, title in zip(frame.strokes, titles, strict=True)],
        "losses": frame.losses.astype(float).round(5).tolist(),
    }
    return _text(value, labels, image)


def finished(
    run: str,
    drawn: Sequence[Drawn],
    steps: int,
    titles: Sequence[str],
    labels: Sequence[Opinions] = (),
    image: str = "",
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
    return _text(value, labels, image)


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
    value = column(strokes)
    return {key: value[key] for key in ("w", "c") if isinstance(value.get(key), list)}


def _text(value: dict[str, Any], labels: Sequence[Opinions], image: str) -> str:
    if labels:
        value["labels"] = [opinions({by: top(one) for by, one in some.items()}) for some in labels]
    if image:
        value["picture"] = image
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def opinions(shares: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """What models read in one drawing, as a message has it: the best labels with their shares by the title of the model."""
    return [{"by": by, "top": list(rows)} for by, rows in shares.items()]


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
        sent = json.loads(value)["edited"]
        kept = np.array(sent["kept"], np.int64)
        points = np.array(sent["points"], np.float32).reshape(len(kept), *strokes.points.shape[1:])
    except (ValueError, KeyError, TypeError):
        raise Refusal("bad_drawing") from None
    known = kept.ndim == 1 and 0 < len(kept) <= len(strokes) and kept.min() >= 0 and kept.max() < len(strokes)
    if not known or not np.isfinite(points).all() or np.abs(points).max() > 10 * CANVAS:
        raise Refusal("bad_drawing")
    return Strokes(points, strokes.widths[kept], strokes.colors[kept], strokes.background)


# --- images -----------------------------------------------------------------------------------------------------


def figures(images: Sequence[tuple[str, str, str]]) -> Markup:
    """Images side by side: (data URI, title, caption)."""
    return tag(
        "div",
        *(
            tag("figure", tag("img", alt=title, src=src), tag("figcaption", tag("b", title), " ", caption))
            for src, title, caption in images
        ),
        class_="sketch-figures",
    )


def start_maps(start: Start, lang: str) -> Markup:
    """What a sketch knew before its first step: attention, edges, their product, and where strokes began."""
    heat = Image.fromarray(draw.heat_colors(start.saliency))
    edge = np.repeat(np.where(start.edges, 0, 255).astype(np.uint8)[..., None], 3, 2)
    strength = start.probability / max(float(start.probability.max()), 1e-12)
    images = {
        "attention": draw.data_uri(Image.blend(Image.fromarray(start.picture), heat, 0.65)),
        "edges": draw.png_uri(edge),
        "product": draw.png_uri(draw.heat_colors(strength)),
        "points": draw.png_uri(with_points(start)),
    }
    count, say = len(start.points[0][0]), partial(library.say, "draw")
    return figures(
        [
            (source, say(f"map_{name}", lang), say(f"map_{name}_is", lang, count=count))
            for name, source in images.items()
        ]
    )


def with_points(start: Start) -> np.ndarray:
    """The image, pale, with the start points of the first seed: uint8 [2 * CANVAS, 2 * CANVAS, 3]."""
    from PIL import ImageDraw

    pale = Image.blend(Image.fromarray(start.picture), Image.new("RGB", (CANVAS, CANVAS), "white"), 0.5)
    pale = pale.resize((2 * CANVAS, 2 * CANVAS))
    pen = ImageDraw.Draw(pale)
    for x, y in (2 * start.points[0][0]).tolist():
        pen.ellipse((x - 6, y - 6, x + 6, y + 6), fill=draw.VERMILION, outline="white", width=2)
    return np.asarray(pale)


def rows_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """A table of plain texts; the first cell of a row names it."""
    return grid(head, (row(first, *(tag("td", cell) for cell in cells)) for first, *cells in rows))


def caption(share: float | None, loss: float, best: Mapping[str, Any] | None, lang: str) -> str:
    """The caption of a drawing among others: its best label, its ink, its loss."""
    parts = [f"{best['label']} {draw.percent(best['probability'])}"] if best else []
    if share is not None:
        parts.append(pick(lang, f"ink {share:.1%}", f"墨量 {share:.1%}"))
    return " · ".join([*parts, pick(lang, f"loss {loss:.3f}", f"损失 {loss:.3f}")])


# --- files ------------------------------------------------------------------------------------------------------


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


def run_of(drawn: Drawn, most: int) -> list[Strokes]:
    """Up to `most` moments of a run, evenly; the last one is the drawing itself."""
    return [*(drawn.history[i] for i in spread(len(drawn.history), most - 1)), drawn.strokes]


def links(name: str, drawn: Sequence[Drawn], facts: Mapping[str, Any], lang: str) -> Markup:
    """The downloads of a run: SVG, animated SVG and PNG in one row for each drawing, and the JSON of all.

    Args:
        name: of the files, without an ending.
        drawn: the columns.
        facts: what the JSON says of the run besides its drawings.
        lang: "en" or "zh".
    """
    from core.drawing import film

    rows = []
    for one in drawn:
        count, svg = len(one.strokes), "image/svg+xml"
        replay = film.svg(run_of(one, MOMENTS), SECONDS).encode()
        made: list[File] = [
            (f"{name}-{count}.svg", svg, one.strokes.svg().encode()),
            (f"{name}-{count}-run.svg", svg, replay, pick(lang, "animated SVG", "动画 SVG")),
            (f"{name}-{count}.png", "image/png", draw.png(one.strokes.image(PNG_SIDE))),
        ]
        rows.append(downloads(made, pick(lang, f"{count} strokes", f"{count} 笔")))
    data = draw.to_json({**facts, "drawings": [drawing_json(one) for one in drawn]}).encode()
    together = downloads([(f"{name}.json", "application/json", data)], pick(lang, "All together", "全部"))
    return join([*rows, together])


def films(name: str, drawn: Sequence[Drawn], lang: str) -> Iterator[tuple[float, Markup]]:
    """The run as a GIF and an MP4, columns side by side.

    Yields:
        The share of the work that is done and, at the end, the film with its downloads as HTML.
    """
    from core.drawing import film

    side = FILM_SIDES[min(len(drawn), len(FILM_SIDES)) - 1]
    columns = []
    for i, one in enumerate(drawn):
        scenes, parts = run_of(one, FILM_MOMENTS), []
        for part in film.parts(scenes, side):
            parts.append(part)
            yield (i + sum(map(len, parts)) / len(scenes)) / (len(drawn) + 1), Markup()
        columns.append(np.concatenate(parts))
    frames = np.concatenate(columns, axis=2)  # [F, H, W, 3] of even sides
    made = []
    for ending, mime, write in (("gif", "image/gif", film.gif), ("mp4", "video/mp4", film.mp4)):
        data = write(frames, SECONDS)
        made.append((f"{name}.{ending}", mime, data, f"{ending.upper()} · {len(data) / 1024:.0f} KB"))
    title = pick(lang, "The run as a film", "绘制过程的影片")
    source = to_data_uri(*made[-1][1:3])
    plays: dict[str, Any] = dict.fromkeys(("controls", "autoplay", "loop", "muted", "playsinline"), True)
    video = tag("video", class_="sketch-film", aria_label=title, src=source, **plays)
    yield 1.0, downloads(made, title) + video
