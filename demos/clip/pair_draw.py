"""Two answers to the same labels side by side: bars above each other, what changed, and a sentence that says it.

Every text that a user typed is escaped here.
"""

from __future__ import annotations

import csv
import html
import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from demos.draw import base as draw
from demos.kit.language import pick

if TYPE_CHECKING:
    from core.clip.edit import Pair

SHOWN = 16  # labels
LEAST = 0.005  # a smaller change of a probability is none


def columns(sides: tuple[tuple[str, Image.Image], ...], lang: str) -> str:
    """What is compared, large and beside each other: letter, title, picture.

    Args:
        sides: (title, picture) of A and B.
        lang: "en" or "zh".
    """
    figures = "".join(
        f'<figure><img alt="" src="{draw.data_uri(image, 460)}"><figcaption><b class="side-{letter}">{letter}</b> '
        f"{html.escape(title)}</figcaption></figure>"
        for letter, (title, image) in zip("AB", sides, strict=True)
    )
    return f'<div class="atlas-pair-sides">{figures}</div>'


def table(pair: Pair, lang: str) -> str:
    """A row for each label: both probabilities as bars, and how far it moved; A's order."""
    order = np.argsort(-np.maximum(pair.first.probabilities, pair.second.probabilities), kind="stable")[
        :SHOWN
    ]
    best = [int(one.order[0]) for one in (pair.first, pair.second)]
    rows = []
    for i in order.tolist():
        bars = "".join(
            f'<span class="side-{letter}{" won" if best[k] == i else ""}"><i style="width:{100 * share:.2f}%"></i>'
            f"<em>{letter} {'✓ ' if best[k] == i else ''}{draw.percent(share)}</em></span>"
            for k, (letter, share) in enumerate(
                zip("AB", (float(one.probabilities[i]) for one in (pair.first, pair.second)), strict=True)
            )
        )
        moved = float(pair.moved[i])
        change = "=" if abs(moved) < LEAST else f"{'▲' if moved > 0 else '▼'} {100 * abs(moved):.1f}"
        kind = "" if abs(moved) < LEAST else " up" if moved > 0 else " down"
        rows.append(
            f'<tr><th scope="row">{html.escape(pair.first.labels[i])}</th><td>{bars}</td>'
            f'<td class="moved{kind}">{change}</td></tr>'
        )
    heads = (
        pick(lang, "label", "标签"),
        pick(lang, "A and B", "A 与 B"),
        pick(lang, "moved, points", "变化（百分点）"),
    )
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    return f'<table class="atlas-pair"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def verdict(pair: Pair, lang: str) -> str:
    """One sentence: whether the answer is another one now, and how alike the two pictures are to the model."""
    first, second = (one.labels[int(one.order[0])] for one in (pair.first, pair.second))
    shares = [draw.percent(float(one.probabilities.max())) for one in (pair.first, pair.second)]
    if first == second:
        text = pick(
            lang,
            f"Both say “{first}”: {shares[0]} and {shares[1]}.",
            f"两边都说“{first}”：{shares[0]} 与 {shares[1]}。",
        )
    else:
        text = pick(
            lang,
            f"The answer is another one: “{first}” ({shares[0]}) became “{second}” ({shares[1]}).",
            f"答案变了：从“{first}”（{shares[0]}）变成“{second}”（{shares[1]}）。",
        )
    if pair.similarity is not None:
        text += pick(
            lang,
            f" Cosine of the two pictures: {pair.similarity:+.3f}.",
            f"两张图片的余弦：{pair.similarity:+.3f}。",
        )
    else:
        text += pick(
            lang,
            " Cosines of two checkpoints have no common scale: only their orders and probabilities compare.",
            "两组权重的余弦没有共同的尺度，只能比较排序与概率。",
        )
    return f'<p class="atlas-verdict {"some" if first == second else "none"}">{html.escape(text)}</p>'


def to_csv(pair: Pair) -> str:
    """label, probability and cosine of A, of B, and the change of the probability."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["label", "probability_a", "cosine_a", "probability_b", "cosine_b", "moved"])
    writer.writerows(
        [draw.plain_cell(label), *(f"{value:.6f}" for value in values)]
        for label, *values in zip(
            pair.first.labels,
            pair.first.probabilities.tolist(),
            pair.first.cosines.tolist(),
            pair.second.probabilities.tolist(),
            pair.second.cosines.tolist(),
            pair.moved.tolist(),
            strict=True,
        )
    )
    return buffer.getvalue()
