"""The lessons of the LSeg page: how the outcome of a step is computed.

The questions are in data.toml; the checkpoint that is chosen on the page answers them.
"""

from __future__ import annotations

import numpy as np

from core import inputs
from core.errors import Refusal
from demos.kit import walkthrough
from demos.kit.html import Markup, tag
from demos.kit.walkthrough import Case, Outcome, Step
from demos.lseg.answer import Answer, overlay
from demos.lseg.answer import ask as ask_row
from demos.lseg.words import PAPER, say

SHARES = (0.005, 0.05)  # up to the first a label wins nothing, up to the second a little
SAME = 0.5  # IoU of two masks that are one place


def choices(step: Step, lang: str) -> list[str]:
    """What may be predicted."""
    if step["kind"] == "at":
        return inputs.labels(step["labels"][lang])
    low, high = (f"{share:.1%}".replace(".0%", "%") for share in SHARES)
    return [text.format(low=low, high=high) for text in walkthrough.choices_of(PAPER, step, lang)]


def card(step: Step, lang: str) -> str:
    """The image and the labels of a step."""
    labels = tag("p", say("labels_of_step", lang, labels=step["labels"][lang]), class_="atlas-line")
    return walkthrough.card_of(PAPER, step, lang, labels)


# --- how a step's outcome is read off --------------------------------------------------------------------


def ask(case: Case, name: str = "labels") -> Answer:
    """The answer to the step's labels, in a language that the checkpoint reads."""
    return ask_row(case.image, case.labels(name), case.checkpoint or None)


def figure(answer: Answer, lang: str) -> Markup:
    """The answer as the page shows it."""
    return overlay(answer, (), lang)


def place(case: Case, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where an "at" step looks, in pixels: its box, or the inner half of what it names."""
    width, height = size
    if "box" in case.step:
        left, top, right, bottom = case.step["box"]
        return round(left * width), round(top * height), round(right * width), round(bottom * height)
    left, top, right, bottom = case.thing["visible_box"]
    across, down = (right - left) // 4, (bottom - top) // 4
    return left + across, top + down, right - across, bottom - down


def at(case: Case) -> Outcome:
    """Which label wins a place."""
    answer = ask(case)
    left, top, right, bottom = place(case, answer.result.size)
    inside = answer.result.mask[top:bottom, left:right]
    winner = int(np.bincount(inside.ravel()).argmax())
    if winner == len(answer.result.labels):
        raise Refusal("no_label_fits", checkpoint=answer.result.checkpoint)
    return Outcome(winner, figure(answer, case.lang))


def share(case: Case) -> Outcome:
    """How much of the image a label wins."""
    answer = ask(case)
    index = int(np.searchsorted(SHARES, answer.result.shares[case.step["label"]]))
    return Outcome(index, figure(answer, case.lang))


def same(case: Case) -> Outcome:
    """Whether two words win the same place."""
    first, second = ask(case, "labels"), ask(case, "other")
    a, b = first.result.mask == case.step["label"], second.result.mask == case.step["other_label"]
    overlap = float((a & b).sum() / max((a | b).sum(), 1))
    pair = tag("div", figure(first, case.lang), figure(second, case.lang), class_="atlas-seg-two")
    sentence = tag("p", say("overlap", case.lang, overlap=overlap), class_="atlas-line")
    return Outcome(0 if overlap >= SAME else 1, pair + sentence)


KINDS = {kind.__name__: kind for kind in (at, share, same)}
