"""Results of the CLIP4Clip page as HTML and files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from demos.clip4clip.words import PAPER, say, text
from demos.draw import base, players
from demos.kit.files import File
from demos.kit.html import Markup, grid, row, tag

if TYPE_CHECKING:
    from demos.clip4clip.answer import Answer


def shares(scores: np.ndarray) -> np.ndarray:
    """Scores on a scale of their own, 0 for the lowest and 1 for the highest."""
    low, high = float(scores.min()), float(scores.max())
    return (scores - low) / (high - low) if high > low else np.ones_like(scores)


def shelf(answer: Answer, lang: str, limit: int | None = None) -> Markup:
    """The clips, best first: player, score, frames with their cosines."""
    ranking, share = answer.ranking, shares(answer.ranking.scores)
    cards = []
    for place, i in enumerate(ranking.order.tolist()[:limit]):
        clip, encoded = answer.clips[i], answer.encoded[i]
        caption = clip.caption or clip.name
        head = tag(
            "header",
            tag("b", f"{place + 1}"),
            tag("span", caption, class_="vid-caption"),
            tag("span", f"{ranking.scores[i]:+.3f}", class_="score"),
        )
        body = [
            players.score_bar(float(share[i])),
            players.player(clip.path, caption, encoded.pictures[0]),
            players.strip(list(encoded.pictures), list(encoded.times), ranking.frames[i].tolist(), lang),
        ]
        cards.append(players.card(head, body, clip.name, place == 0))
    tip = tag("p", say("tight_tip" if ranking.head == "tightTransf" else "tip", lang), class_="atlas-line")
    return tip + players.shelf(cards)


def score_table(answer: Answer, lang: str) -> Markup:
    """Every clip with its score, its best frame and the time of it."""
    ranking = answer.ranking
    lines = []
    for i in ranking.order.tolist():
        best = int(ranking.frames[i].argmax())
        cells = (
            f"{ranking.scores[i]:+.4f}", f"{ranking.frames[i][best]:+.3f}", f"{ranking.times[i][best]:.2f} s",
            f"{answer.clips[i].video.duration:.1f} s",
        )  # fmt: skip
        name = answer.clips[i].caption or answer.clips[i].name
        lines.append(row(name, *(tag("td", cell) for cell in cells)))
    head = [
        text(name).get(lang)
        for name in ("column_clip", "column_score", "column_frame", "column_time", "column_length")
    ]
    return grid(head, lines)


def score_files(answer: Answer) -> list[File]:
    """The scores as CSV and JSON."""
    ranking = answer.ranking
    rows = [
        (answer.clips[i].name, float(ranking.scores[i]), float(ranking.times[i][ranking.frames[i].argmax()]))
        for i in ranking.order.tolist()
    ]
    table = base.csv_of(("clip", "score", "best_time"), rows).encode("utf-8-sig")
    return [
        (f"{PAPER}.csv", "text/csv", table),
        (f"{PAPER}.json", "application/json", base.to_json(ranking.to_json()).encode()),
    ]
