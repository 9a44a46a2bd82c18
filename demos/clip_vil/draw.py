"""Answers as HTML: a card for each encoder with its answers and where it looks, words over the grid, tables, curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from core import inputs
from demos.clip_vil.words import say, text
from demos.draw import base, charts
from demos.kit.html import Markup, grid, join, row, share, tag

if TYPE_CHECKING:
    from core.vqa.clip_vil.models import VisualAnswer

SIDE = 260
TOP = 3


def looked(image: Image.Image, attention: np.ndarray, caption: str) -> Markup:
    """The image under a map of attention; the brightest place is where the head looks most."""
    over = base.heat_overlay(image, attention, (0, 0, *inputs.size_of(image)), strength=0.55)
    return tag("img", src=base.data_uri(over, SIDE), alt=caption)


def card(name: str, image: Image.Image, found: VisualAnswer, lang: str, mark: str = "") -> Markup:
    """One encoder: its title, its best answers, the map."""
    lines = [
        row(
            found.answers[i],
            share(
                float(found.probabilities[i]), base.percent(float(found.probabilities[i])), best=place == 0
            ),
        )
        for place, i in enumerate(found.order[:TOP].tolist())
    ]
    title = text(f"encoder_{name}").get(lang)
    place = say("looks", lang, place=place_of(found.attention, lang), share=float(found.attention.max()))
    shown = looked(image, found.attention, place) if found.attention.size > 1 else Markup()
    words = tag("p", place, class_="atlas-line") if found.attention.size > 1 else Markup()
    table = tag("table", tag("tbody", *lines), class_="atlas-grid")
    return tag("figure", tag("figcaption", tag("b", f"{mark}{title}")), table, shown, words, class_="cv-card")


def cards(image: Image.Image, found: Mapping[str, VisualAnswer], lang: str) -> Markup:
    """All encoders side by side."""
    return tag("div", join(card(name, image, one, lang) for name, one in found.items()), class_="cv-cards")


def place_of(attention: np.ndarray, lang: str) -> str:
    """Where the largest share lies: "row 2, column 3"."""
    at, column = np.unravel_index(int(attention.argmax()), attention.shape)
    return say("place", lang, row=int(at) + 1, column=int(column) + 1)


def word_maps(image: Image.Image, found: VisualAnswer, lang: str) -> Markup:
    """For each word of the question how far every place reads it."""
    figures = []
    for at, word in enumerate(found.words):
        if word.startswith("<"):
            continue
        map_ = found.guided[..., at]
        name = word.replace("</w>", "").strip("▁ ") or word
        caption = say("word_share", lang, word=name, share=float(map_.mean()))
        figures.append(
            tag("figure", looked(image, map_, caption), tag("figcaption", caption), class_="cv-word")
        )
    return tag("div", join(figures), class_="cv-cards")


def truth_table(rows: Sequence[Mapping[str, Any]], encoders: Sequence[str], lang: str) -> Markup:
    """New scenes with their question, the true answer and those of the encoders."""
    body = [
        tag(
            "tr",
            tag("td", tag("img", src=base.png_uri(one["image"]), alt=one["question"], class_="cv-thumb")),
            tag("td", one["question"]),
            tag("td", tag("b", one["truth"])),
            *(
                tag(
                    "td",
                    f"{'✓' if one[name] == one['truth'] else '✗'} {one[name]}",
                    class_="best" if one[name] == one["truth"] else None,
                )
                for name in encoders
            ),
        )
        for one in rows
    ]
    head = ["", *(say(name, lang) for name in ("asked", "truth"))]
    return grid([*head, *(text(f"encoder_{name}").get(lang) for name in encoders)], body)


def share_table(
    head: str, rows: Mapping[str, Mapping[str, float]], columns: Sequence[str], lang: str
) -> Markup:
    """Shares of right answers: a row each, columns by encoder."""
    body = []
    for name, values in rows.items():
        best = max(values.values())
        cells = [
            share(values[column], f"{100 * values[column]:.0f}%", best=values[column] == best)
            if column in values
            else tag("td")
            for column in columns
        ]
        body.append(row(name, *cells))
    return grid([head, *(text(f"encoder_{name}").get(lang) for name in columns)], body)


def learning_curves(
    points: Mapping[str, Sequence[tuple[float, float]]], ticks: Sequence[tuple[float, str]], lang: str
) -> Markup:
    """Right answers by the share of the questions: each encoder frozen, dashed beside it tuned."""
    figures = []
    for name in ("random", "supervised", "clip"):
        ways = [
            (way, points[key])
            for way, key in (("frozen", name), ("tuned", f"{name} tuned"))
            if points.get(key)
        ]
        if ways:
            titles = [say(way, lang) for way, _ in ways]
            series = [line for _, line in ways]
            title = text(f"encoder_{name}").get(lang)
            figures.append(charts.curve(series, title, titles, say("share_axis", lang), ticks, top=1.0))
    return tag("div", *figures, class_="batch-curves")
