"""*Look inside* and the tables of the CLIP-ViL page."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

from demos.clip_vil import draw
from demos.clip_vil.answer import run
from demos.clip_vil.words import data, say
from demos.kit import numbers
from demos.kit.html import Markup, tag

if TYPE_CHECKING:
    from demos.clip_vil.page import Question

SLUG = "clip-vil"
SHARES = {"1 %": 0.01, "10 %": 0.1, "100 %": 1.0}
ENCODERS = ("random", "supervised", "clip")


def words(question: Question, lang: str) -> dict[str, Any]:
    """Which places read which word in the last layer."""
    answer = run(question)
    found = answer.main
    if not found.guided.size:
        return {"out": tag("p", say("no_grid", lang), class_="atlas-line"), "line": answer.line(lang)}
    return {"out": draw.word_maps(answer.image, found, lang), "line": answer.line(lang)}


def values(question: Question, lang: str) -> tuple[dict[str, Any], str]:
    """What the templates of shapes in data.toml ask for, and the line; nothing for a row without a grid."""
    answer = run(question)
    found = answer.main
    if not found.guided.size:
        return {}, answer.line(lang)
    channels, rows, columns = found.grid_features.shape
    return {
        "height": found.seen[0],
        "width": found.seen[1],
        "channels": channels,
        "rows": rows,
        "columns": columns,
        "places": rows * columns,
        "words": len(found.words),
        "answers": len(found.answers),
        "best": found.best,
        "share": float(found.probabilities.max()),
        "peak": float(found.attention.max()),
        "place": draw.place_of(found.attention, lang),
    }, answer.line(lang)


@cache
def measured() -> dict[tuple[str, str], float]:
    """The table of the report card: (measure, encoder) -> share of right answers."""
    return {(one["measure"], one["split"]): one["value"] for one in numbers.report_rows(SLUG, "en")}


def curve_points() -> dict[str, list[tuple[float, float]]]:
    """By encoder, and by encoder with " tuned", right answers by the logarithm of the share of the questions."""
    found: dict[str, list[tuple[float, float]]] = {}
    for name in ENCODERS:
        for way, key in (("frozen", name), ("tuned", f"{name} tuned")):
            found[key] = [
                (math.log10(share), measured()[f"{way}, {title} of the questions", name])
                for title, share in SHARES.items()
                if (f"{way}, {title} of the questions", name) in measured()
            ]
    return found


def table(lang: str) -> Markup:
    """Three encoders, frozen and tuned, on three shares of the questions, with the spread of seeds."""
    points = curve_points()
    rows = {}
    for way in ("frozen", "tuned"):
        for title in SHARES:
            values_ = {
                name: measured()[measure, name]
                for name in ENCODERS
                if ((measure := f"{way}, {title} of the questions"), name) in measured()
            }
            if values_:
                rows[f"{say(way, lang)}, {title}"] = values_
    spreads = [value for (measure, _), value in measured().items() if "spread" in measure]
    note = say("spread", lang, spread=100 * max(spreads)) if spreads else ""
    ticks = [(math.log10(share), title) for title, share in SHARES.items()]
    return (
        draw.learning_curves(points, ticks, lang)
        + draw.share_table(say("trained_on", lang), rows, ENCODERS, lang)
        + tag("p", note, class_="atlas-line")
    )


def published(lang: str) -> Markup:
    """The published numbers, and the miniature's own where the report card has them."""
    return numbers.number_table(data()["published"], numbers.report_rows(SLUG, lang), lang)
