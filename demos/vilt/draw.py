"""ViLT's answers as HTML: probabilities, a score, a filled sentence; the words of a text over the patches of its image."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import gradio as gr

from demos.draw import base
from demos.kit import components
from demos.kit.html import Markup, grid, join, row, share, table, tag
from demos.vilt.words import say

if TYPE_CHECKING:
    from PIL import Image

    from core.vqa.vilt.costs import Cost
    from core.vqa.vilt.results import Answers, Filled, Match, Read

SIDE = 480  # pixels of the long side of what travels
LISTED = 6  # answers in a table


def stage(elem_id: str, value: str = "") -> gr.HTML:
    """A place for `words_over_patches`: pointing at a word shows its map, at a patch its words (assets/js/vilt.js)."""
    return components.stage(elem_id, value, ("vilt.js",))


def answer(result: Read, lang: str) -> Markup:
    """The answer of any of the three verbs."""
    from core.vqa.vilt.results import Answers, Match

    if isinstance(result, Answers):
        return bars(result, lang)
    if isinstance(result, Match):
        return score(result, lang)
    return filled(result, lang)  # type: ignore[arg-type]


def bars(result: Answers, lang: str) -> Markup:
    """The best answers with their probabilities."""
    lines = [
        row(
            result.names[i],
            base.bar(float(result.probabilities[i])),
            tag("td", base.percent(float(result.probabilities[i]))),
            kind="best" if at == 0 else None,
        )
        for at, i in enumerate(result.order[:LISTED].tolist())
    ]
    head = (say("an_answer", lang), "", say("probability", lang))
    of = tag("p", say("of_answers", lang, count=len(result.names)), class_="atlas-line")
    return table(head, lines, "atlas-bars") + of


def score(result: Match, lang: str) -> Markup:
    """Whether a text fits."""
    fits = say("fits" if result.score > 0 else "fits_not", lang)
    number = say("score", lang, score=f"{result.score:+.2f}")
    if result.probability is None:
        return tag("p", number, class_="vl-verdict") + tag("p", say("score_only", lang), class_="atlas-hint")
    told = say("fit_probability", lang, share=base.percent(result.probability))
    return tag("p", tag("b", fits), f" {told} {number}", class_="vl-verdict")


def filled(result: Filled, lang: str) -> Markup:
    """The sentence with its gaps filled in, and what else each could have been."""
    rows = [
        row(
            say("gap", lang, number=at + 1, turn=gap.turn + 1),
            *(
                share(float(value), f"{word} {base.percent(float(value))}", best=i == 0)
                for i, (word, value) in enumerate(zip(gap.words, gap.probabilities, strict=True))
            ),
        )
        for at, gap in enumerate(result.gaps)
    ]
    head = ["", *(str(at + 1) for at in range(len(result.gaps[0].words)))]
    return tag("p", tag("b", result.filled), class_="vl-verdict") + grid(head, rows)


def words_over_patches(image: Image.Image, result: Read, lang: str) -> Markup:
    """The image under a grid of its patches, and the words of the text as buttons."""
    aligned = result.aligned
    rows, columns = result.grid
    value = {
        "words": list(aligned.words),
        "share": aligned.share.round(5).tolist(),
        "heat": [aligned.heat(at).round(2).tolist() for at in range(len(aligned.words))],
        "even": round(1 / (rows * columns), 5),
    }
    cells = join(tag("i") for _ in range(rows * columns))
    pane = tag(
        "div",
        tag("img", src=base.data_uri(image, SIDE), alt=say("image_alt", lang)),
        tag("div", cells, class_="vl-cells", style=f"grid-template-columns:repeat({columns},1fr)"),
        class_="vl-pane",
        tabindex="0",
    )
    words = join(
        tag("button", word, type="button", data_word=at, aria_pressed="false")
        for at, word in enumerate(aligned.words)
    )
    return tag(
        "div",
        tag("p", say("words_idea", lang), class_="atlas-line"),
        tag("div", words, class_="vl-words"),
        pane,
        tag("p", say("tip", lang), class_="atlas-line", role="status"),
        class_="vl-stage",
        data_plan=json.dumps(value, ensure_ascii=False),
    )


def side_by_side(parts: Mapping[str, Markup]) -> Markup:
    """Answers beside each other, each under its title."""
    return tag(
        "div", *(tag("section", tag("h4", title), body) for title, body in parts.items()), class_="vl-beside"
    )


def cost_table(costs: Sequence[Cost], lang: str) -> Markup:
    """The three ways with their milliseconds, and how many times the last one's each takes."""
    longest, least = max(one.total for one in costs), costs[-1].total
    body = [
        row(
            say(f"cost_{one.kind}", lang),
            tag("td", f"{one.embedding:.0f} ms"),
            tag("td", f"{one.transformer:.0f} ms"),
            tag("td", str(one.tokens)),
            share(one.total / longest, f"{one.total:.0f} ms", tag("small", f" × {one.total / least:.1f}")),
        )
        for one in costs
    ]
    head = [say(name, lang) for name in ("way", "embedding", "layers", "tokens", "total")]
    return grid(head, body) + tag("p", say("cost_note", lang), class_="atlas-hint")


def price_table(rows: Sequence[tuple[str, int, float]], lang: str) -> Markup:
    """Passes and hours of each way of ranking."""
    body = [
        row(name, tag("td", f"{count:,}"), tag("td", duration(seconds, lang)))
        for name, count, seconds in rows
    ]
    return grid([say(name, lang) for name in ("way", "passes", "time")], body)


def duration(seconds: float, lang: str) -> str:
    """Seconds as people say them."""
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= size:
            return say(unit, lang, value=f"{seconds / size:,.1f}")
    return say("seconds", lang, value=f"{seconds:.1f}")
