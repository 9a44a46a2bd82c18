"""Curves of the lessons on the loss, and the matrix that turns diagonal while a model learns: plain values -> SVG.

Everything is drawn from zero up, with what guessing would give as a dashed line beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from demos.draw.matrix import ink, paint, rgb, say
from demos.kit.html import Markup, escape, tag

if TYPE_CHECKING:
    from core.clip.contrastive import Batch, Difficulty


MAX_MARKS = 12  # on a pair of histograms


def curve(
    series: Sequence[Sequence[tuple[float, float]]],
    title: str,
    names: Sequence[str],
    axis: str,
    ticks: Sequence[tuple[float, str]],
    top: float | None = None,
    spot_at: tuple[float, float] | None = None,
) -> Markup:
    """One or two curves from zero up: the first drawn through, the second (what guessing would be) dashed.

    Args:
        series: points (x, y) of each. ticks: (x, text); the first and the last one bound the axis. top: of the axis.
        spot_at: where the first curve's spot is; at its end when left out.
    """
    wide, high, left, base = 420, 230, 46, 190
    low_x, high_x = ticks[0][0], max(ticks[-1][0], ticks[0][0] + 1e-9)
    top = top or 1.08 * max([y for points in series for _, y in points], default=1.0) or 1.0

    def spot(x: float, y: float) -> str:
        across = left + (x - low_x) / (high_x - low_x) * (wide - left - 14)
        return f"{across:.1f},{base - min(max(y / top, 0), 1) * (base - 34):.1f}"

    lines = "".join(
        f'<polyline class="{"main" if k == 0 else "guess"}" points="{" ".join(spot(x, y) for x, y in points)}"/>'
        for k, points in enumerate(series)
        if points
    )
    last = spot_at or (series[0][-1] if series[0] else None)
    dot = ""
    if last:
        x, y = spot(*last).split(",")
        dot = f'<circle class="main" cx="{x}" cy="{y}" r="4.5"/>'
    marks = "".join(
        f'<text x="{spot(x, 0).split(",")[0]}" y="{base + 17}" text-anchor="middle">{escape(text)}</text>'
        for x, text in ticks
    )
    heights = "".join(
        f'<line class="grid" x1="{left}" x2="{wide - 14}" y1="{(y := spot(low_x, share * top).split(",")[1])}" y2="{y}"/>'
        f'<text x="{left - 6}" y="{float(y) + 4:.1f}" text-anchor="end">{_height(share * top, top)}</text>'
        for share in (0, 0.5, 1)
    )
    key = " ".join(
        f'<span class="{"main" if k == 0 else "guess"}">{escape(name)}</span>' for k, name in enumerate(names)
    )
    now = "" if last is None else f" {_height(last[1], top)}"
    return Markup(
        f'<figure class="batch-curve"><figcaption><b>{escape(title)}</b>{key}</figcaption>'
        f'<svg viewBox="0 0 {wide} {high}" role="img" aria-label="{escape(title)}{now}">{heights}{lines}{dot}{marks}'
        f'<text x="{(left + wide) / 2}" y="{high - 4}" text-anchor="middle">{escape(axis)}</text></svg></figure>'
    )


def histograms(
    edges: np.ndarray,
    counts: Sequence[np.ndarray],
    names: Sequence[str],
    title: str,
    axis: str,
    line: float,
    marks: Sequence[float],
) -> Markup:
    """Two histograms on one axis, one up and one down, each drawn to its own height; a line and numbered marks across both.

    Args:
        edges: [bins + 1] evenly spaced.
        counts: [bins] of each.
        names: of each.
        title: above the figure.
        axis: what is counted.
        line: where the two are told apart.
        marks: places on the axis, numbered from 1 in their order.
    """
    used = np.flatnonzero(counts[0] + counts[1])
    low = min(float(edges[used[0]]), line, *marks) - 0.02
    high = max(float(edges[used[-1] + 1]), line, *marks) + 0.02
    wide, middle, tall, left = 640, 120, 92, 14

    def across(value: float) -> float:
        return left + (value - low) / (high - low) * (wide - 2 * left)

    bars = []
    for k, of in enumerate(counts):
        heights = of / of.max() * tall
        width = across(float(edges[1])) - across(float(edges[0]))
        for at in np.flatnonzero(of).tolist():
            top = middle - heights[at] if k == 0 else middle
            bars.append(
                f'<rect class="{"own" if k == 0 else "other"}" x="{across(float(edges[at])):.1f}" y="{top:.1f}" '
                f'width="{max(width - 0.5, 0.5):.1f}" height="{heights[at]:.1f}"/>'
            )
    x = across(line)
    between = f'<line class="between" x1="{x:.1f}" x2="{x:.1f}" y1="14" y2="226"/>'
    between += f'<text x="{x + 5:.1f}" y="24">{line:.2f}</text>'
    spots = "".join(
        f'<line class="spot" x1="{across(mark):.1f}" x2="{across(mark):.1f}" y1="{middle - 9}" y2="{middle + 9}"/>'
        f'<text class="spot" x="{across(mark):.1f}" y="{middle - 13 - 15 * (k % 3)}" text-anchor="middle">{k + 1}</text>'
        for k, mark in enumerate(marks)
    )
    ticks = np.arange(np.ceil(low * 10), np.floor(high * 10) + 1) / 10
    scale = "".join(
        f'<text x="{across(tick):.1f}" y="242" text-anchor="middle">{tick:.1f}</text>'
        for tick in ticks.tolist()
    )
    key = "".join(
        f'<span class="{"own" if k == 0 else "other"}">{escape(name)}</span>' for k, name in enumerate(names)
    )
    ground = f'<line class="grid" x1="{left}" x2="{wide - left}" y1="{middle}" y2="{middle}"/>'
    return Markup(
        f'<figure class="clip-histogram"><figcaption><b>{escape(title)}</b>{key}</figcaption>'
        f'<svg viewBox="0 0 {wide} 262" role="img" aria-label="{escape(title)}">{"".join(bars)}{ground}{between}{spots}{scale}'
        f'<text x="{wide / 2}" y="258" text-anchor="middle">{escape(axis)}</text></svg></figure>'
    )


def _height(value: float, top: float) -> str:
    """A number of the upright axis: shares as percent."""
    return f"{100 * value:.0f}%" if top == 1.0 else f"{value:.2f}"


def difficulty_figure(found: Difficulty, lang: str) -> Markup:
    """Loss and accuracy by batch size, with guessing beside them."""
    sizes = np.log2(found.sizes).tolist()
    ticks = [(x, str(n)) for x, n in zip(sizes, found.sizes.tolist(), strict=True)]

    def figure(name: str, values: np.ndarray, chance: np.ndarray, top: float | None = None) -> Markup:
        points = [list(zip(sizes, one.tolist(), strict=True)) for one in (values, chance)]
        names = say("checkpoint", lang), say(f"guess_{name}", lang)
        return curve(points, say(f"{name}_title", lang), names, say("size", lang), ticks, top)

    loss = figure("loss", found.losses, found.chance)
    accuracy = figure("accuracy", found.accuracies, 1 / found.sizes, top=1.0)
    return tag("div", loss, accuracy, class_="batch-curves")


def temperature_figure(batch: Batch, lang: str) -> str:
    """The loss of the batch at every logit scale, with a spot where the slider is."""
    from core.clip.contrastive import losses_by_scale

    made = batch.contrast
    scales = np.geomspace(1, 200, 60)
    where = np.log10(scales)
    here = (float(np.log10(min(max(made.logit_scale, 1), 200))), made.loss)
    ticks = [(float(np.log10(scale)), str(scale)) for scale in (1, 3, 10, 30, 100, 200)]
    points = list(zip(where.tolist(), losses_by_scale(made, scales).tolist(), strict=True))
    return curve(
        [points, [(0.0, made.chance), (points[-1][0], made.chance)]],
        say("temperature", lang),
        (say("batch", lang), say("guess_batch", lang, n=len(batch.captions))),
        "logit scale",
        ticks,
        # A swapped pair costs ever more as the scale grows: what is far above guessing is cut off.
        top=1.08 * max(made.chance, made.loss, min(max(y for _, y in points), 3 * made.chance)) or 1.0,
        spot_at=here,
    )


def live_matrix(probabilities: np.ndarray, pictures: Sequence[str], names: Sequence[str], lang: str) -> str:
    """The matrix of a fixed batch while its model learns: rows are images (data URIs), the diagonal the truth."""
    n, cell = len(probabilities), 40
    colour = paint(probabilities, "rows")
    cells = "".join(
        f'<rect x="{(j + 1) * cell}" y="{i * cell}" width="{cell - 2}" height="{cell - 2}" fill="{rgb(colour[i, j])}"/>'
        for i, j in np.ndindex(n, n)
    )
    numbers = "".join(
        f'<text x="{(j + 1.48) * cell}" y="{(i + 0.58) * cell}" text-anchor="middle" fill="{ink(colour[i, j])}">'
        f"{100 * probabilities[i, j]:.0f}</text>"
        for i, j in zip(*np.nonzero(probabilities >= 0.1), strict=True)
    )
    wins = probabilities.argmax(1) == np.arange(n)
    marks = "".join(
        f'<rect class="pair{"" if won else " lost"}" x="{(i + 1) * cell + 1}" y="{i * cell + 1}" width="{cell - 4}" '
        f'height="{cell - 4}"/>'
        for i, won in enumerate(wins.tolist())
    )
    images = "".join(
        f'<image href="{source}" x="0" y="{i * cell + 1}" width="{cell - 4}" height="{cell - 4}"/>'
        for i, source in enumerate(pictures)
    )
    below = n * cell + 8
    words = "".join(
        f'<text transform="translate({(j + 1.6) * cell} {below}) rotate(-45)" text-anchor="end" class="name">'
        f"{escape(name)}</text>"
        for j, name in enumerate(names)
    )
    label = say("live", lang, n=n, won=int(wins.sum()))
    side = (n + 1) * cell
    return Markup(
        f'<figure class="live-matrix"><figcaption>{label}</figcaption><svg viewBox="-40 0 {side + 44} {side + 60}" '
        f'role="img" aria-label="{label}">{images}{cells}{marks}{numbers}{words}</svg></figure>'
    )
