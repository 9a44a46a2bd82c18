"""Results of the CLIFS page as HTML and files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
from PIL import Image

from core import inputs
from core.errors import Refusal
from demos.clifs.words import PAPER, data, line, say
from demos.draw import base, charts, players
from demos.kit.files import File
from demos.kit.html import Markup, grid, join, row, tag

if TYPE_CHECKING:
    from core.search.query import Found
    from core.search.ranking import Hit
    from demos.clifs.answer import Answer

SIDE = 256  # pixels of a hit's picture
LISTED = 40  # failures on the page
TEXT_CHARS = 160
DIMMED = 6  # hits below the level that are shown


@lru_cache(maxsize=512)
def picture(path: str, state: tuple[int, int], kind: str, start: float) -> str:
    """The image, or the frame at a time, small, as an address that carries it. `state` changes with the file."""
    if kind == "image":
        image: Image.Image = inputs.image(path, max_side=2 * SIDE)
    else:
        image = Image.fromarray(inputs.video(path).clip([start], side=SIDE).pixels[0])
    return base.data_uri(image, SIDE, 80)


def hits(answer: Answer, lang: str) -> Markup:
    """The hits, best first; those that chance explains are dimmed behind a sentence."""
    found = answer.found
    above = [hit for hit in found.hits if hit.is_above]
    below = [hit for hit in found.hits if not hit.is_above]
    if not found.hits:
        return line("empty", lang)
    parts = [line("count", lang, above=found.above, files=found.stats.files)]
    if above:
        parts.append(shelf(answer, above, lang))
    elif not found.above:
        parts.append(tag("p", tag("b", say("nothing", lang)), class_="fs-nothing"))
    if below:
        parts.append(line("dimmed", lang))
        parts.append(tag("div", shelf(answer, below[:DIMMED], lang), class_="fs-dim"))
    if found.is_more:
        parts.append(line("more", lang))
    return join(parts)


def shelf(answer: Answer, some: Sequence[Hit], lang: str) -> Markup:
    """Cards beside each other."""
    return players.shelf([card(answer, hit, lang) for hit in some])


def card(answer: Answer, hit: Hit, lang: str) -> Markup:
    """A hit: score, kind, picture with the square that won, time, what else has the same content."""
    one = hit.row
    name = Path(one.path).name
    head = tag(
        "header",
        tag("span", say(f"kind_{one.kind}", lang), class_="fs-kind"),
        tag("span", name, class_="vid-caption", title=one.path),
        tag("span", f"{hit.score:.2f}", class_="score", title=say("fit", lang, fit=hit.fit)),
    )
    try:
        body = [*media(answer.collection.file(one), hit, lang)]
    except Refusal as refusal:
        body = [tag("p", refusal.text(lang), class_="atlas-line")]
    if hit.copies:
        names = say("comma", lang).join(copy.path for copy in hit.copies[:3])
        body.append(line("copies", lang, count=len(hit.copies), names=names))
    address = f"?like={quote(one.id)}&lang={lang}"
    body.append(tag("a", say("like_this", lang), href=address, class_="atlas-chip"))
    return players.card(head, body, one.id)


def media(file: Path, hit: Hit, lang: str) -> list[Markup]:
    """What a hit shows, by its kind."""
    one = hit.row
    if one.kind == "text":
        text = one.text if len(one.text) <= TEXT_CHARS else one.text[:TEXT_CHARS] + "…"
        return [tag("blockquote", text)]
    parts: list[Markup] = []
    if not one.heard:
        state = file.stat()
        source = picture(str(file), (state.st_size, state.st_mtime_ns), one.kind, round(one.start, 3))
        parts.append(framed(tag("img", src=source, alt=say("alt", lang, name=Path(one.path).name)), one.box))
    if one.kind == "image":
        return parts
    if one.kind == "video":
        parts.append(players.player(file, Path(one.path).name))
    else:
        parts.append(players.audio(file, Path(one.path).name))
    moment = say("from_to", lang, start=clock(one.start), end=clock(one.end))
    at, title = f"{one.start:.2f}", say("play", lang)
    parts.append(tag("button", f"▶ {moment}", type="button", data_at=at, class_="atlas-chip", title=title))
    return parts


def framed(image: Markup, box: tuple[float, ...] | None) -> Markup:
    """A picture with the square that won."""
    if box is None:
        return tag("div", image, class_="fs-frame")
    left, top, right, bottom = (100 * side for side in box)
    style = f"left:{left:.1f}%;top:{top:.1f}%;width:{right - left:.1f}%;height:{bottom - top:.1f}%"
    return tag("div", image, tag("i", style=style), class_="fs-frame")


def clock(seconds: float) -> str:
    """Minutes and seconds: 1:02.5."""
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}"


def histogram(answer: Answer, lang: str) -> Markup:
    """How the question fits random files and the hits, and the level."""
    found = answer.found
    groups = [(say("random_files", lang), found.random_fits), (say("hits", lang), found.fits)]
    filled = [(name, values) for name, values in groups if len(values)]
    if not filled:
        return Markup()
    level = line("level", lang, level=found.levels[0])
    return players.histogram(filled, say("histogram", lang), lang) + level


def failures(some: Sequence[tuple[str, Refusal]], lang: str) -> Markup:
    """The files that could not be indexed, and why."""
    if not some:
        return Markup()
    lines = [
        row(path, tag("td", refusal.text(lang), class_="atlas-refused")) for path, refusal in some[:LISTED]
    ]
    return line("failed", lang, count=len(some)) + grid([say("file", lang), say("reason", lang)], lines)


def trade(lang: str, looked: int = 0) -> Markup:
    """Recall against time by the cells that are looked at, from a measurement in data.toml; the spot is at so many cells."""
    found = data()["traded"]
    points = {cells: (float(ms), float(recall)) for ms, recall, cells in found["points"]}
    curve, spot = list(points.values()), points.get(looked)
    ticks = [(0.0, "0"), *((ms, f"{ms:.1f}") for ms, _ in (curve[0], curve[-1]))]
    figure = charts.curve(
        [curve], say("trade", lang), [], say("trade_axis", lang), ticks, top=1.0, spot_at=spot
    )
    return figure + line("trade_told", lang, **{name: found[name] for name in ("count", "exact", "command")})


def files(answer: Answer) -> list[File]:
    """The hits as CSV and JSON."""
    rows = []
    for hit in answer.found.hits:
        numbers = f"{hit.row.start:.2f}", f"{hit.row.end:.2f}", f"{hit.score:.4f}", f"{hit.fit:.2f}"
        rows.append((hit.row.path, hit.row.kind, *numbers))
    table = base.csv_of(("path", "kind", "start", "end", "score", "fit"), rows).encode("utf-8-sig")
    return [
        (f"{PAPER}.csv", "text/csv", table),
        (f"{PAPER}.json", "application/json", base.to_json(answer.found.to_json()).encode()),
    ]


def hit_table(found: Found, lang: str, limit: int = 8) -> Markup:
    """Hits as lines: file, kind, time, cosine, fit."""
    lines = [
        row(
            hit.row.path,
            tag("td", say(f"kind_{hit.row.kind}", lang)),
            tag("td", clock(hit.row.start) if hit.row.end else ""),
            tag("td", f"{hit.score:+.3f}"),
            tag("td", f"{hit.fit:.1f}" + ("" if hit.is_above else " ?")),
        )
        for hit in found.hits[:limit]
    ]
    return grid([say(name, lang) for name in ("file", "kind", "time", "cosine", "fit_short")], lines)


def squares(image: Image.Image, boxes: Sequence[Any], values: np.ndarray, lang: str) -> Markup:
    """The squares of an image coloured by their cosines with the question: where a hit's score comes from."""
    cells, counts = np.zeros((2, 60, 60))
    for box, value in zip(boxes, values, strict=True):
        if box is not None:
            left, top, right, bottom = (round(60 * side) for side in box)
            cells[top:bottom, left:right] += value
            counts[top:bottom, left:right] += 1
    levels = cells / np.maximum(counts, 1)
    span = max(float(levels.max() - levels.min()), 1e-9)
    colours = Image.fromarray(base.heat_colors((levels - levels.min()) / span).astype(np.uint8))
    shown = Image.blend(image.convert("RGB"), colours.resize(image.size, Image.Resampling.BICUBIC), 0.45)
    return tag("div", tag("img", src=base.data_uri(shown, 420), alt=say("map_alt", lang)), class_="fs-map")
