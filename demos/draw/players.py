"""Clips on a page: players with their frames below, scores beside them, curves over time, histograms. Plain values to HTML.

A frame is a button that plays its clip from there (assets/js/players.js).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core.inputs.video import Video
from demos.draw import base as draw
from demos.draw.matrix import ink, rgb
from demos.kit import library
from demos.kit.files import served, to_data_uri
from demos.kit.html import Markup, grid, join, row, tag

say = partial(library.say, "draw")
CARRIED = 400_000  # bytes of a file that the page carries itself; a larger one is asked of the server
STRIP, POSTER = 96, 320  # pixels of the long side of a frame in the strip, and in the player
COLOURS = (draw.BLUE, draw.VERMILION, draw.GREEN, draw.PURPLE, draw.ORANGE, draw.SKY, draw.GREY, draw.YELLOW)
IMAGES = (".gif", ".webp", ".png", ".apng")
SOUNDS = {
    ".mp3": "audio/mpeg",
    ".wav": "audio/wav",
    ".ogg": "audio/ogg",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".webm": "video/webm",
    ".mp4": "video/mp4",
}


def source(path: str | Path, kind: str = "video/mp4") -> str:
    """The address from which a browser plays a file; `kind` is that of a file whose name does not tell."""
    file = Path(path)
    if file.stat().st_size > CARRIED:
        return served(file)
    suffix = file.suffix.lower()
    kind = f"image/{suffix[1:]}" if _is_image(file) else SOUNDS.get(suffix, kind)
    return to_data_uri(kind, file.read_bytes())


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGES


def player(path: str | Path, caption: str, frame: np.ndarray | None = None) -> Markup:
    """A clip with controls, silent until it is asked; an animated image has no controls.

    frame: [H, W, 3], shown until the clip plays; phones load no frame of a clip before.
    """
    if _is_image(Path(path)):
        return tag("img", src=source(path), alt=caption, class_="vid-moving")
    poster = None if frame is None else draw.data_uri(Image.fromarray(frame), POSTER, 80)
    return tag(
        "video", src=source(path), poster=poster, controls=True, muted=True, playsinline=True, preload="metadata",
        aria_label=caption,
    )  # fmt: skip


def audio(path: str | Path, caption: str) -> Markup:
    """A sound with controls."""
    return tag("audio", src=source(path, "audio/mpeg"), controls=True, preload="metadata", aria_label=caption)


def strip(
    pictures: Sequence[np.ndarray],
    times: Sequence[float],
    values: Sequence[float] | None,
    lang: str,
    form: str = "+.2f",
) -> Markup:
    """The frames of a clip, each a button with its number on a scale of the strip's own; no numbers where there are none.

    `form` says how a number is written.
    """
    colours: Any = [None] * len(pictures)
    if values is not None:
        low, high = min(values), max(values)
        colours = draw.heat_colors((np.asarray(values) - low) / max(high - low, 1e-9))
    buttons = []
    for at, picture in enumerate(pictures):
        image = draw.data_uri(Image.fromarray(picture), STRIP, 80)
        seconds = f"{times[at]:.2f}"
        number = ""
        if values is not None:
            style = f"background:{rgb(colours[at])};color:{ink(colours[at])}"
            number = tag("span", format(values[at], form), class_="heat", style=style)
        label = say("play_from", lang, at=times[at])
        buttons.append(
            tag("button", tag("img", src=image, alt=""), number, type="button", data_at=seconds, title=label, aria_label=label)
        )  # fmt: skip
    return tag("div", join(buttons), class_="vid-strip")


def card(head: str, body: Sequence[str], name: str, is_best: bool = False) -> Markup:
    """A clip with what is said of it."""
    classes = "vid-card best" if is_best else "vid-card"
    return tag("article", head, join(body), class_=classes, data_clip=name)


def shelf(cards: Sequence[str]) -> Markup:
    """Cards beside each other."""
    return tag("div", join(cards), class_="vid-shelf")


def score_bar(share: float) -> Markup:
    """A bar of 0 to 1 of its width."""
    return tag("div", tag("span", style=f"width:{100 * min(max(share, 0), 1):.1f}%"), class_="vid-bar")


def lines(times: np.ndarray, values: np.ndarray, names: Sequence[str], title: str, lang: str) -> Markup:
    """Probabilities over time: values [T, N] at times [T], one line a name, the first eight."""
    wide, high, left, base = 560, 220, 40, 180
    first, last = float(times[0]), max(float(times[-1]), float(times[0]) + 1e-6)
    shown = list(range(min(len(names), len(COLOURS))))

    def spot(at: float, value: float) -> str:
        across = left + (at - first) / (last - first) * (wide - left - 12)
        return f"{across:.1f},{base - value * (base - 20):.1f}"

    paths = join(
        tag(
            "polyline",
            points=" ".join(spot(t, v) for t, v in zip(times, values[:, k], strict=True)),
            stroke=COLOURS[k],
        )
        for k in shown
    )
    grid_lines = join(
        tag("line", x1=left, x2=wide - 12, y1=y, y2=y, stroke="currentColor", stroke_opacity="0.2")
        + tag("text", f"{share:.0%}", x=left - 6, y=y + 4, text_anchor="end")
        for share in (0.0, 0.5, 1.0)
        for y in [float(spot(first, share).split(",")[1])]
    )
    ticks = join(
        tag("text", f"{at:.1f} s", x=float(spot(at, 0).split(",")[0]), y=base + 18, text_anchor="middle")
        for at in np.linspace(first, last, 5)
    )
    key = tag(
        "div",
        join(tag("span", tag("i", style=f"background:{COLOURS[k]}"), names[k]) for k in shown),
        class_="vid-key",
    )
    svg = tag("svg", grid_lines, paths, ticks, viewBox=f"0 0 {wide} {high}", role="img", aria_label=title)
    return tag("figure", tag("figcaption", tag("b", title)), svg, key, class_="vid-lines")


def histogram(groups: Sequence[tuple[str, np.ndarray]], title: str, lang: str, bins: int = 24) -> Markup:
    """How often values occur, one group over the other; a group's bars are shares of the group."""
    wide, high, left, base = 560, 210, 12, 170
    every = np.concatenate([values for _, values in groups])
    low, top = float(every.min()), float(every.max()) + 1e-6
    counts = [np.histogram(values, bins, (low, top))[0] / max(len(values), 1) for _, values in groups]
    tallest = max(float(one.max()) for one in counts) or 1.0
    step = (wide - 2 * left) / bins
    bars = join(
        tag(
            "rect", x=f"{left + i * step + 0.5:.1f}", y=f"{base - share / tallest * (base - 16):.1f}",
            width=f"{step - 1:.1f}", height=f"{share / tallest * (base - 16):.1f}", fill=COLOURS[k], fill_opacity="0.6",
        )
        for k, one in enumerate(counts)
        for i, share in enumerate(one)
        if share > 0
    )  # fmt: skip
    ticks = join(
        tag(
            "text",
            f"{low + share * (top - low):+.2f}",
            x=left + share * (wide - 2 * left),
            y=base + 18,
            text_anchor="middle",
        )
        for share in (0.05, 0.5, 0.95)
    )
    key = tag(
        "div",
        join(
            tag("span", tag("i", style=f"background:{COLOURS[k]}"), f"{name} ({len(values)})")
            for k, (name, values) in enumerate(groups)
        ),
        class_="vid-key",
    )
    svg = tag("svg", bars, ticks, viewBox=f"0 0 {wide} {high}", role="img", aria_label=title)
    return tag("figure", tag("figcaption", tag("b", title)), svg, key, class_="vid-histogram")


def table(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    corner: str,
    good: np.ndarray | None = None,
) -> Markup:
    """Numbers [R, C] as a coloured table; the best of each row is marked, and the right ones where `good` [R, C] tells them."""
    low, high = float(values.min()), float(values.max())
    colours = draw.heat_colors((values - low) / max(high - low, 1e-9))
    body = []
    for i, name in enumerate(rows):
        best = int(values[i].argmax())
        cells = []
        for j in range(len(columns)):
            marks = "✓ " if j == best else ""
            border = (
                "outline:2px solid #009e73;outline-offset:-2px;" if good is not None and good[i, j] else ""
            )
            style = f"{border}background:{rgb(colours[i, j])};color:{ink(colours[i, j])}"
            cells.append(tag("td", f"{marks}{values[i, j]:+.2f}", style=style))
        body.append(row(name, *cells))
    return grid([corner, *columns], body)


def matrix(values: np.ndarray, names: Sequence[str], title: str, digits: int = 2) -> Markup:
    """A small square table [B, B] of shares, one row a clip."""
    colours = draw.heat_colors(values / max(float(values.max()), 1e-9))
    lines_ = []
    for i, name in enumerate(names):
        cells = [
            tag(
                "td",
                f"{values[i, j]:.{digits}f}".lstrip("0") or "0",
                style=f"background:{rgb(colours[i, j])};color:{ink(colours[i, j])}",
            )
            for j in range(values.shape[1])
        ]
        lines_.append(tag("tr", tag("th", name, scope="row"), *cells))
    return tag("figure", tag("figcaption", tag("b", title)), tag("table", tag("tbody", join(lines_))))


def seconds_of(video: Video) -> str:
    """A length as people read it."""
    return f"{video.duration:.1f} s"
