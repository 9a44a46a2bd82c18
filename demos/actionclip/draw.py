"""Results of the ActionCLIP page as HTML and files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from demos.actionclip.words import PAPER, say
from demos.draw import base, players
from demos.kit.files import File
from demos.kit.html import Markup, tag

if TYPE_CHECKING:
    from demos.actionclip.answer import Answer


def rows(found: Any) -> list[dict[str, Any]]:
    """Labels with probability and cosine, best first."""
    return list(found.to_json()["results"])


def bars(answer: Answer, lang: str) -> Markup:
    """The probabilities as bars."""
    return base.probability_bars(rows(answer.recognition), lang)


def clip(answer: Answer, lang: str) -> Markup:
    """The player, and the frames with the probability of the best action."""
    found, encoded = answer.recognition, answer.encoded
    best = int(found.order[0])
    numbers = found.frame_probabilities[:, best].tolist()
    shown = list(encoded.pictures)
    numbers = numbers if len(numbers) == len(shown) else None
    head = tag(
        "header",
        tag("b", found.labels[best]),
        tag("span", base.percent(float(found.probabilities[best])), class_="score"),
    )
    body = [
        players.player(answer.path, found.labels[best], shown[0]),
        players.strip(shown, list(encoded.times), numbers, lang, ".0%"),
    ]
    tip = tag("p", say("tip", lang, label=found.labels[best]), class_="atlas-line")
    return players.card(head, body, "clip") + tip


def over_time(answer: Answer, lang: str) -> Markup:
    """The probabilities frame by frame, the likeliest actions first."""
    found = answer.recognition
    order = found.order[: len(players.COLOURS)]
    values = found.frame_probabilities[:, order]
    if len(values) < 2:
        return tag("p", say("one_feature", lang), class_="atlas-line")
    names = [found.labels[i] for i in order]
    return players.lines(found.times[: len(values)], values, names, say("over_time", lang), lang)


def files(answer: Answer) -> list[File]:
    """The probabilities as CSV and JSON, and those of each frame as CSV."""
    found = answer.recognition
    made = rows(found)
    times = [f"{at:.3f}" for at in found.times[: len(found.frame_probabilities)]]
    per_frame = base.csv_of(
        ("label", *times),
        ([label, *found.frame_probabilities[:, i].tolist()] for i, label in enumerate(found.labels)),
    )
    return [
        (f"{PAPER}.csv", "text/csv", base.to_csv(made).encode("utf-8-sig")),
        (f"{PAPER}-frames.csv", "text/csv", per_frame.encode("utf-8-sig"), say("frames_csv", "en")),
        (f"{PAPER}.json", "application/json", base.to_json(found.to_json()).encode()),
    ]


def targets(labels: list[str], hot: np.ndarray, soft: np.ndarray, guess: np.ndarray, lang: str) -> Markup:
    """Three tables of a batch: the one-hot target, the soft one, the prediction."""
    tables = (
        players.matrix(hot, labels, say("one_hot", lang), 1),
        players.matrix(soft, labels, say("soft", lang)),
        players.matrix(guess, labels, say("prediction", lang)),
    )
    return tag("div", *tables, class_="vid-matrices")
