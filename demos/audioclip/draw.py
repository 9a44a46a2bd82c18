"""Results of the AudioCLIP page as HTML and files."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from core import inputs
from demos.audioclip.words import PAPER, say
from demos.draw import base, players
from demos.kit.files import File
from demos.kit.html import Markup, join, tag

if TYPE_CHECKING:
    from demos.audioclip.answer import Answer

WIDE, HIGH = 480, 56  # of a waveform
IMAGES = 8  # that are shown, best first
SIDE = 96


def waveform(sound: inputs.Sound, lang: str) -> Markup:
    """The peaks of a sound over time."""
    parts = np.array_split(sound.envelope, min(WIDE // 2, len(sound.envelope)))
    peaks = [float(part.max()) for part in parts]
    top = max(peaks) or 1.0
    step = WIDE / len(peaks)
    path = "".join(
        f"M{i * step:.1f} {HIGH / 2 - peak / top * HIGH / 2:.1f}v{max(0.5, peak / top * HIGH):.1f}"
        for i, peak in enumerate(peaks)
    )
    line = tag("path", d=path, stroke="currentColor", stroke_width=f"{step * 0.7:.2f}")
    return tag(
        "svg", line, viewBox=f"0 0 {WIDE} {HIGH}", preserveAspectRatio="none", role="img",
        aria_label=say("waveform", lang),
    )  # fmt: skip


def coloured(levels: np.ndarray) -> Image.Image:
    """A picture of levels [rows, columns], 0 to 1, in the hub's heat colours."""
    return Image.fromarray(base.heat_colors(levels).astype(np.uint8))


@lru_cache(maxsize=16)
def _spectrum(path: str) -> str:
    from core.audio.audioclip import spectrum

    return base.png_uri(coloured(spectrum(inputs.sound(path)) / 255))


def curve(answer: Answer, lang: str) -> Markup:
    """Where the answer changes: a bar for each window, as high as its likeliest label is likely; a press plays it from there."""
    found = answer.comparison
    encoded, values = found.sounds[0], found.over_time[0]
    shown = list(found.order()[: len(players.COLOURS)])
    bars = []
    for start, row in zip(encoded.starts, values, strict=True):
        best = int(row.argmax())
        colour = players.COLOURS[shown.index(best)] if best in shown else base.GREY
        told = say(
            "window", lang, at=float(start), label=found.labels[best], share=base.percent(float(row[best]))
        )
        bars.append(
            tag(
                "button", tag("i", style=f"height:{100 * float(row[best]):.0f}%;background:{colour}"), type="button",
                data_at=f"{float(start):.2f}", title=told, aria_label=told,
            )
        )  # fmt: skip
    bests = {int(row.argmax()) for row in values}
    key = [
        tag("span", tag("i", style=f"background:{players.COLOURS[at]}"), found.labels[index])
        for at, index in enumerate(shown)
        if index in bests
    ]
    return tag("div", join(bars), class_="aud-curve") + tag("div", join(key), class_="vid-key")


def sound(answer: Answer, lang: str) -> Markup:
    """The player, the waveform over the spectrum, and the curve of the answer."""
    found = answer.comparison
    best = int(found.order()[0])
    head = tag(
        "header",
        tag("b", found.labels[best]),
        tag("span", base.percent(float(found.probabilities()[best])), class_="score"),
    )
    picture = tag("img", src=_spectrum(answer.path), alt=say("spectrum", lang), class_="aud-spectrum")
    body = [
        players.audio(answer.path, found.labels[best]),
        tag("div", waveform(answer.sound, lang), picture, class_="aud-sound"),
        curve(answer, lang),
    ]
    return players.card(head, body, "sound") + tag("p", say("tip", lang), class_="atlas-line")


def bars(answer: Answer, lang: str) -> Markup:
    """The probabilities of the labels as bars."""
    return base.probability_bars(answer.comparison.to_json()["sounds"][0]["results"], lang)


def images(answer: Answer, lang: str) -> Markup:
    """The images that fit the sound, best first."""
    found = answer.comparison
    if not found.image_features.size:
        return Markup()
    shares = found.image_probabilities()
    cards = []
    for i in np.argsort(-shares, kind="stable")[:IMAGES]:
        shown = answer.images[int(i)]
        picture = tag("img", src=base.data_uri(shown.image, SIDE), alt=shown.caption)
        told = tag(
            "figcaption", shown.caption, " ", tag("span", base.percent(float(shares[i])), class_="score")
        )
        cards.append(tag("figure", picture, told))
    return tag("div", join(cards), class_="aud-images")


def matrices(answer: Answer, lang: str) -> Markup:
    """The three matrices of the paper, and which of the sounds each label means."""
    found = answer.comparison
    names, labels = list(answer.names), list(found.labels)
    parts = [
        tag("p", tag("b", say("sound_text", lang))),
        players.table(found.sound_text, names, labels, say("corner_text", lang)),
    ]
    if found.image_features.size:
        captions = [one.caption for one in answer.images]
        parts += [
            tag("p", tag("b", say("sound_image", lang))),
            players.table(found.sound_image, names, captions, say("corner_image", lang)),
            tag("p", tag("b", say("image_text", lang))),
            players.table(found.image_text, captions, labels, say("corner_both", lang)),
        ]
    parts += [
        tag("p", tag("b", say("text_sound", lang))),
        players.table(found.sound_probabilities.T, labels, names, say("corner_back", lang)),
    ]
    return join(parts)


def files(answer: Answer) -> list[File]:
    """The three matrices and the curve as CSV, all as JSON."""
    found = answer.comparison
    captions = [one.caption for one in answer.images][: found.sound_image.shape[1]]
    tables = {
        "sound-text": (answer.names, found.labels, found.sound_text),
        "sound-image": (answer.names, captions, found.sound_image),
        "image-text": (captions, found.labels, found.image_text),
        "time": (found.labels, [f"{at:.3f}" for at in found.sounds[0].middles], found.over_time[0].T),
    }
    made: list[File] = []
    for name, (rows, columns, values) in tables.items():
        lines = ([row, *line] for row, line in zip(rows, values.tolist(), strict=True))
        text = base.csv_of(("label" if name == "time" else "", *columns), lines)
        title = say("time_csv", "en") if name == "time" else name
        if len(columns):
            made.append((f"{PAPER}-{name}.csv", "text/csv", text.encode("utf-8-sig"), title))
    made.append((f"{PAPER}.json", "application/json", base.to_json(found.to_json()).encode()))
    return made


# --- filters -----------------------------------------------------------------------------------------------


def filters(values: np.ndarray, start: np.ndarray, lang: str) -> Markup:
    """Three charts over the filters: how far the frequency moved, the width, the order, before (dashed) and after."""
    steps = np.arange(len(values), dtype=float)
    figures = []
    for column, name in ((0, "moved"), (1, "width"), (2, "order")):
        after = values[:, column] - (start[:, 0] if column == 0 else 0)
        before = start[:, column] * (column > 0)
        figures.append(_chart(steps, after, before, say(name, lang), say("filter_axis", lang)))
    return tag("div", join(figures), class_="vid-one")


def _chart(x: np.ndarray, after: np.ndarray, before: np.ndarray, title: str, axis: str) -> Markup:
    wide, high, left, low = 360, 170, 52, 132
    bottom, top = float(min(after.min(), before.min())), float(max(after.max(), before.max()))
    span = max(top - bottom, 1e-6)

    def points(values: np.ndarray) -> str:
        return " ".join(
            f"{left + a / max(x[-1], 1) * (wide - left - 8):.1f},{low - (v - bottom) / span * (low - 14):.1f}"
            for a, v in zip(x, values, strict=True)
        )

    ticks = join(
        tag("text", f"{value:.3g}", x=left - 6, y=y, text_anchor="end")
        for value, y in ((top, 18), (bottom, low + 4))
    )
    svg = tag(
        "svg",
        tag("polyline", points=points(before), stroke="currentColor", stroke_dasharray="4 4", opacity="0.5"),
        tag("polyline", points=points(after), stroke=players.COLOURS[0]),
        ticks,
        tag("text", axis, x=(wide + left) / 2, y=high - 8, text_anchor="middle"),
        viewBox=f"0 0 {wide} {high}", role="img", aria_label=title,
    )  # fmt: skip
    return tag("figure", tag("figcaption", tag("b", title)), svg, class_="vid-lines")


def maps(pictures: list[tuple[str, np.ndarray]]) -> Markup:
    """Pictures [rows, columns] of levels 0 to 1 with their titles, low frequencies at the bottom."""
    figures = []
    for title, levels in pictures:
        picture = coloured(np.flip(levels, 0)).resize((240, 120), Image.Resampling.NEAREST)
        figures.append(
            tag("figure", tag("img", src=base.png_uri(picture), alt=title), tag("figcaption", title))
        )
    return tag("div", join(figures), class_="aud-maps")


def unit(levels: np.ndarray, quantile: float = 0.0) -> np.ndarray:
    """Levels stretched to 0..1, where a `quantile` of them is 0."""
    low, high = float(np.quantile(levels, quantile)), float(levels.max())
    return np.asarray(np.clip((levels - low) / max(high - low, 1e-9), 0, 1))
