"""Edits as HTML: the opinions of two CLIPs, tables of methods, of strengths, of channels, of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from demos.draw import base
from demos.draw.frames import cell, pair
from demos.draw.strokes import rows_table
from demos.kit import runs
from demos.kit.html import Markup, grid, row, share, tag
from demos.styleclip.words import data, line, say

if TYPE_CHECKING:
    import numpy as np

    from core.editing.model import Grid, StyleLayer, TextDirection
    from core.editing.result import Edit

LISTED = 12  # channels of a table
CONVINCED = 0.5  # probability of the target against the neutral text


def method_title(name: str, lang: str) -> str:
    """The name of a method."""
    return str(data()["options"]["method"].get(name, {}).get(lang, name[:40]))


# --- what the CLIPs say ------------------------------------------------------------------------------------


def view(edit: Edit, lang: str) -> Markup:
    """Start and result under one slider, and what the CLIPs say of them."""
    parts = (tag("div", pair(edit.start, edit.image, lang)), tag("div", opinions(edit, lang)))
    return tag("div", *parts, class_="fr-beside")


def opinions(edit: Edit, lang: str) -> Markup:
    """What the CLIP that guided and the one that did not say of start and result, and what that means."""
    seen = [(name, one) for name, one in (("guide", edit.guide), ("other", edit.other)) if one is not None]
    body = []
    for name, one in seen:
        head = say(f"judge_{name}", lang, title=runs.title(one.clip, lang))
        if one.share_before is None or one.share_after is None:
            cells = [tag("td", f"{value:+.3f}") for value in (one.before, one.after)]
        else:
            cells = [share(value, base.percent(value)) for value in (one.share_before, one.share_after)]
        body.append(row(head, *cells))
    kind = mood(edit)
    colour = "some" if kind == "both" else "none"
    verdict = tag("p", say(f"convinced_{kind}", lang), class_=f"atlas-verdict {colour}") if kind else Markup()
    table = grid([say(name, lang) for name in ("judges", "start", "result")], body)
    note = "" if edit.other is not None else line("no_other", lang)
    far = "" if edit.moved is None else line("moved", lang, value=f"{edit.moved:.2f}")
    return verdict + table + note + line("changed", lang, value=f"{edit.changed:.4f}") + far


def mood(edit: Edit) -> str:
    """What is said of the result: "blocked", or who finds the target the better text; "" where it is not known."""
    if edit.blocked:
        return "blocked"
    shares = [one.share_after for one in (edit.guide, edit.other) if one and one.share_after is not None]
    if len(shares) < 2:
        return ""
    first, second = (value >= CONVINCED for value in shares)
    return "both" if first and second else "guide" if first else "other" if second else "none"


def methods_table(edits: Sequence[tuple[str, Edit]], start: np.ndarray, lang: str) -> Markup:
    """A row for each method: its image, seconds, distance, and what both CLIPs say."""

    def opinion(one: object) -> Markup:
        value = getattr(one, "share_after", None)
        return tag("td", "–") if value is None else share(value, base.percent(value))

    body = [row(say("start", lang), tag("td", cell(start, say("start", lang))))]
    body += [
        row(
            name,
            tag("td", cell(one.image, name)),
            tag("td", say("seconds", lang, value=f"{one.seconds:.1f}")),
            tag("td", f"{one.changed:.4f}"),
            tag("td", "–" if one.moved is None else f"{one.moved:.1f}"),
            opinion(one.guide),
            opinion(one.other),
        )
        for name, one in edits
    ]
    names = ("method", "image", "time", "pixels", "distance", "guide_says", "other_says")
    return grid([say(name, lang) for name in names], body)


def grid_table(made: Grid, alphas: Sequence[float], betas: Sequence[float], lang: str) -> Markup:
    """Images by strength (across) and disentanglement (down), with the cosine of each in the other CLIP."""
    body = []
    for i, beta in enumerate(betas):
        count = tag("small", say("count", lang, count=int(made.counts[i])))
        cells = (
            tag(
                "td",
                cell(made.images[i, j], f"α {alpha:g}, β {beta:g}"),
                tag("small", "" if made.other is None else f"{made.other[i, j]:+.2f}"),
            )
            for j, alpha in enumerate(alphas)
        )
        body.append(row(f"β = {beta:g} " + count, *cells))
    return grid(["", *(f"α = {alpha:g}" for alpha in alphas)], body)


def channel_table(way: TextDirection, names: Sequence[str], lang: str) -> Markup:
    """The channels that a text moves most, strongest first."""
    most = max((abs(one.score) for one in way.channels), default=1.0)
    body = [
        row(
            f"{names[one.layer]} · {one.channel}",
            tag("td", f"{one.side} px"),
            tag("td", say(one.level, lang)),
            share(abs(one.score) / most, f"{one.score:+.3f}"),
        )
        for one in way.channels[:LISTED]
    ]
    return grid([say(name, lang) for name in ("channel", "map", "level", "score")], body)


def layer_table(layers: Sequence[StyleLayer], lang: str) -> Markup:
    """Every vector of StyleSpace: its map, its channels, its level."""
    colours = " · " + say("colours", lang)
    rows = [
        (one.name, f"{one.side} px", str(one.channels), say(one.level, lang) + colours * one.to_rgb)
        for one in layers
    ]
    return rows_table([say(name, lang) for name in ("layer", "map", "channels", "level")], rows)
