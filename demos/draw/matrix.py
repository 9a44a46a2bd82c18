"""The n x n matrix of a batch, images in rows and captions in columns, and the loss on it.

Pure functions from plain values to plotly figures, HTML, PNG and CSV. An outline marks the cells of the pairs; it is dashed
where another caption wins, so that no meaning is in colour alone.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from demos.draw import base as draw
from demos.kit import library
from demos.kit.html import Markup, escape, join, scroll, table, tag

if TYPE_CHECKING:
    from core.clip.contrastive import Batch, Contrast, Line

say = partial(library.say, "draw")
VIEWS = library.options("draw", "views")
# Below 0 blue (pulled together), above 0 vermilion (pushed apart): Okabe and Ito's, through near-white.
DIVERGING = np.array(
    [[0, 82, 140], [120, 180, 220], [246, 244, 240], [236, 160, 110], [190, 70, 0]], np.float32
)
ROOMY = 8  # pairs up to which a matrix fits any screen; a larger one is scrolled on a phone


def values(made: Contrast, view: str) -> np.ndarray:
    """The numbers [n, n] that a view shows."""
    return {
        "rows": made.by_picture,
        "columns": made.by_caption,
        "logits": made.logits,
        "gradient": made.gradient,
        "sigmoid": made.sigmoid.probabilities,
    }[view]


def shares(made: Contrast, view: str) -> np.ndarray:
    """The same [n, n] in [0, 1], as the colours show it; a gradient's zero is in the middle."""
    shown = values(made, view)
    if view == "gradient":
        return 0.5 + 0.5 * shown / max(float(np.abs(shown).max()), 1e-9)
    if view == "logits":
        return (shown - shown.min()) / max(float(np.ptp(shown)), 1e-9)
    return shown


def paint(share: np.ndarray, view: str) -> np.ndarray:
    """Shares in [0, 1], any shape -> RGB uint8 [..., 3] on the view's scale."""
    if view != "gradient":
        return draw.heat_colors(share)
    places = np.clip(share, 0, 1) * (len(DIVERGING) - 1)
    channels = [np.interp(places, range(len(DIVERGING)), DIVERGING[:, c]) for c in range(3)]
    return np.stack(channels, -1).round().astype(np.uint8)


def cell_text(value: float, view: str) -> str:
    """A number short enough for its cell."""
    if view in ("rows", "columns", "sigmoid"):
        return f"{100 * value:.0f}%" if value >= 0.005 else "0"
    digits = 1 if view == "logits" else 3
    if abs(value) < 0.5 * 10**-digits:
        return "0"
    return f"{value:.1f}" if view == "logits" else f"{value:+.3f}"


def right(made: Contrast, view: str) -> np.ndarray:
    """[n] whether the pair on the diagonal wins: its row, or its column where captions choose."""
    n = len(made.logits)
    best = made.logits.argmax(0 if view == "columns" else 1)
    return made.targets[best, np.arange(n)] > 0 if view == "columns" else made.targets[np.arange(n), best] > 0


def short(text: str, width: int = 18, lines: int = 2) -> list[str]:
    """A caption in at most `lines` lines; Chinese characters count twice."""
    chinese = any(letter >= "\u2e80" for letter in text)
    return textwrap.wrap(text, width // 2 if chinese else width, max_lines=lines, placeholder="…") or [""]


def rgb(colour: np.ndarray) -> str:
    """A colour [3] as CSS says it."""
    return f"rgb({colour[0]},{colour[1]},{colour[2]})"


def ink(colour: np.ndarray) -> str:
    """Black or white, whichever has the higher contrast with this colour (WCAG 2, relative luminance)."""
    levels = np.asarray(colour, float)[:3] / 255
    linear = np.where(levels <= 0.03928, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    return "#000" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "#fff"


# --- the batch ----------------------------------------------------------------------------------------------


def figure(batch: Batch, thumbnails: Sequence[str], view: str, lang: str) -> Any:
    """The heat map with thumbnails for rows and captions for columns; hovering tells caption, cosine, probability."""
    import plotly.graph_objects as go

    made, n = batch.contrast, len(batch.captions)
    shown, share = values(made, view), shares(made, view)
    colour, steps = paint(share, view), np.linspace(0, 1, 11)
    hover = [
        [
            say(
                "hover",
                lang,
                i=i + 1,
                j=j + 1,
                caption=escape(batch.captions[j]),
                cosine=made.cosines[i, j],
                logit=made.logits[i, j],
                by_image=draw.percent(float(made.by_picture[i, j])),
                by_caption=draw.percent(float(made.by_caption[i, j])),
                gradient=made.gradient[i, j],
            )
            for j in range(n)
        ]
        for i in range(n)
    ]
    ramp = [[step, rgb(tone)] for step, tone in zip(steps, paint(steps, view), strict=True)]
    plot = go.Figure(
        go.Heatmap(
            z=share, zmin=0, zmax=1, colorscale=ramp, showscale=False, xgap=2, ygap=2,
            hovertext=hover, hovertemplate="%{hovertext}<extra></extra>",
        )
    )  # fmt: skip
    size = 15 if n <= ROOMY else 12
    # Given to the layout at once: `add_annotation` checks all earlier ones again, which takes seconds for 256.
    numbers_shown = [
        {"x": j, "y": i, "text": cell_text(float(value), view), "showarrow": False,
         "font": {"size": size, "color": ink(colour[i, j])}}
        for (i, j), value in np.ndenumerate(shown)
    ]  # fmt: skip
    outlines = [
        {"type": "rect", "x0": i - 0.47, "x1": i + 0.47, "y0": i - 0.47, "y1": i + 0.47,
         "line": {"color": "#E69F00", "width": 4, "dash": "solid" if wins else "dot"}}
        for i, wins in enumerate(right(made, view))
    ]  # fmt: skip
    images = [
        {"source": source, "xref": "x", "yref": "y", "x": -0.6, "y": i, "sizex": 0.92, "sizey": 0.92,
         "xanchor": "right", "yanchor": "middle"}
        for i, source in enumerate(thumbnails)
    ]  # fmt: skip
    ticks = ["<br>".join(map(escape, short(f"{j + 1} {text}"))) for j, text in enumerate(batch.captions)]
    plot.update_layout(
        annotations=numbers_shown,
        shapes=outlines,
        images=images,
        height=130 + (n + 1) * (66 if n <= ROOMY else 46),
        margin={"l": 4, "r": 4, "t": 4, "b": 4},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"size": 13},
        dragmode=False,
        xaxis={"range": [-1.6, n - 0.4], "tickvals": list(range(n)), "ticktext": ticks, "tickangle": -38,
               "automargin": True, "showgrid": False, "zeroline": False, "fixedrange": True},
        yaxis={"range": [n - 0.4, -0.6], "visible": False, "fixedrange": True},
    )  # fmt: skip
    return plot


def loss_card(batch: Batch, before: float | None, lang: str) -> Markup:
    """The loss, large, between perfect and guessing; what it was `before`; who finds whom; SigLIP's beside it."""
    made, n = batch.contrast, len(batch.captions)
    place = min(100 * made.loss / max(made.chance, 1e-9) / 2, 100)
    found_i, found_t = round(made.picture_accuracy * n), round(made.caption_accuracy * n)
    facts = (
        (say("images_count", lang, found=found_i, n=n), say("images_find", lang)),
        (say("images_count", lang, found=found_t, n=n), say("captions_find", lang)),
        (f"{made.loss_i:.3f}", say("loss_of_images", lang)),
        (f"{made.loss_t:.3f}", say("loss_of_captions", lang)),
        (f"{made.sigmoid.loss:.3f}", say("loss_of_sigmoid", lang, bias=made.sigmoid.bias)),
    )
    least = tag("p", say("least", lang, least=made.least)) if made.least > 1e-6 else ""
    guess = say("guessing_log", lang, n=n, chance=made.chance)
    is_new = before is not None and abs(before - made.loss) >= 0.0005
    was = tag("small", say("was", lang, before=before)) if is_new else ""
    number = (tag("span", say("loss", lang)), " ", tag("strong", f"{made.loss:.3f}"), was)
    scale = (tag("i", style=f"width:{place:.1f}%"), tag("span", f"{guess} ▲"))
    return tag(
        "div",
        tag("p", *number, class_="batch-number"),
        tag("div", *scale, class_="batch-scale"),
        tag("ul", *(tag("li", tag("b", value), " ", meaning) for value, meaning in facts)),
        least,
        class_=f"batch-loss{' many' if n > ROOMY else ''}",
    )


def note(view: str, lang: str) -> Markup:
    """How to read the view."""
    return tag("p", f"{say(f'note_{view}', lang)} {say('outline', lang)}", class_="atlas-line")


def code_table(lines: Sequence[Line], lang: str) -> Markup:
    """The pseudocode of the paper's figure 3, each line with the shape and the first numbers of what it made."""
    rows = (
        tag(
            "tr",
            tag("td", tag("code", line.code), tag("small", say(f"line_{line.name}", lang))),
            tag("td", tag("code", str(list(line.shape)) if line.shape else "–")),
            tag("td", tag("code", _preview(line.value))),
        )
        for line in lines
    )
    head = [say(name, lang) for name in ("code", "shape", "value")]
    return scroll(table(head, rows, "batch-code"))


def _preview(value: np.ndarray) -> Markup:
    if value.ndim == 0:
        return tag("b", f"{float(value):.4f}")
    if value.ndim == 1:
        return escape("[" + ", ".join(map(str, value[:8])) + (", …]" if len(value) > 8 else "]"))
    rows = [
        "[" + ", ".join(f"{x:+.2f}" for x in row[:4]) + (", …]" if len(row) > 4 else "]") for row in value[:2]
    ]
    return join([*rows, *(["…"] if len(value) > 2 else [])], tag("br"))


def to_csv(batch: Batch) -> str:
    """A row for each cell: image, caption, text, cosine, logit, both probabilities, gradient, SigLIP's answer."""
    made = batch.contrast
    columns = {
        "cosine": made.cosines,
        "logit": made.logits,
        "p_picture_chooses": made.by_picture,
        "p_caption_chooses": made.by_caption,
        "gradient": made.gradient,
        "p_sigmoid": made.sigmoid.probabilities,
    }
    cells = np.ndindex(made.cosines.shape)
    return draw.csv_of(
        ["picture", "caption", "text", *columns],
        (
            [i + 1, j + 1, batch.captions[j], *(float(column[i, j]) for column in columns.values())]
            for i, j in cells
        ),
    )


def to_png(batch: Batch, pictures: Sequence[Image.Image], view: str, title: str) -> bytes:
    """The matrix as an image for slides: thumbnails in front of the rows, numbered captions below."""
    made, n, cell = batch.contrast, len(batch.captions), 76
    text_font, number_font = draw.typeface(18), draw.typeface(20)
    canvas = Image.new("RGB", (max(30 + (n + 1) * cell, 620), 60 + n * cell + 40 + 28 * n), "white")
    pen = ImageDraw.Draw(canvas)
    pen.text((16, 14), title, fill="black", font=draw.typeface(22))
    shown, colour, wins = values(made, view), paint(shares(made, view), view), right(made, view)
    for i, picture in enumerate(pictures):
        small = picture.copy()
        small.thumbnail((cell - 8, cell - 8))
        canvas.paste(small, (16, 60 + i * cell + (cell - small.height) // 2))
    for (i, j), value in np.ndenumerate(shown):
        left, top = 16 + (j + 1) * cell, 60 + i * cell
        pen.rectangle((left, top, left + cell - 3, top + cell - 3), fill=tuple(colour[i, j].tolist()))
        middle = (left + cell / 2 - 1, top + cell / 2 - 1)
        pen.text(middle, cell_text(float(value), view), fill=ink(colour[i, j]), font=number_font, anchor="mm")
        if i == j:
            pen.rectangle(
                (left, top, left + cell - 3, top + cell - 3), outline="#E69F00", width=5 if wins[i] else 2
            )
    for j, text in enumerate(batch.captions):
        pen.text(
            (16 + (j + 1.5) * cell, 68 + n * cell), str(j + 1), fill="black", font=text_font, anchor="ma"
        )
        pen.text((16, 100 + n * cell + 28 * j), f"{j + 1}  {text[:60]}", fill="black", font=text_font)
    return draw.png(canvas)
