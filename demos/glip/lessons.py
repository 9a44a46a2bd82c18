"""The lessons of the GLIP page: how the outcome of a step is computed.

The questions are in data.toml. The checkpoint that is chosen on the page answers them, and its boxes are compared with
the known boxes of a drawn scene.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from demos.draw import boxes
from demos.glip import answer as answers
from demos.glip import draw
from demos.glip.words import PAPER, examples, say
from demos.kit import library, numbers, walkthrough
from demos.kit.html import Markup, tag
from demos.kit.walkthrough import Case, Outcome, Step

if TYPE_CHECKING:
    from core.detection.result import Grounding

SAME_PLACE, SAME_BOX = 0.5, 0.98  # IoU of two boxes on one thing, and of two equal boxes
SAME_SCORE = 0.005


def measured_pair(step: Step, lang: str) -> list[dict[str, Any]]:
    """The rows of the report card of a "measured" step: the first and the second of its pair."""
    rows = {
        row["split"]: row for row in numbers.report_rows(PAPER, lang) if row["measure"] == step["measure"]
    }
    return [rows[split] for split in step["pair"] if split in rows]


@cache
def lessons() -> dict[str, dict[str, Any]]:
    """The lessons by name; a lesson about a measurement is left out until it was measured."""
    return {
        name: row
        for name, row in library.lessons(PAPER).items()
        if all("pair" not in step or len(measured_pair(step, "en")) == 2 for step in row["steps"])
    }


def choices(step: Step, lang: str) -> list[str]:
    """The choices of a prediction."""
    if step["kind"] == "where":
        things = [thing[lang] for thing in examples()[step["example"]]["objects"]]
        return [*things, say("nowhere", lang)]
    return walkthrough.choices_of(PAPER, step, lang)


def card(step: Step, lang: str) -> str:
    """The image and the sentence of a step."""
    return walkthrough.card_of(PAPER, step, lang, walkthrough.prompt(step["caption"][lang]))


# --- a step ------------------------------------------------------------------------------------------------


def threshold_of(case: Case) -> float:
    """The threshold that the checkpoint recommends."""
    return answers.start_threshold(case.checkpoint)


def ask(case: Case, mode: str = "sentence") -> Grounding:
    """The answer to the step's sentence or labels."""
    text = case.step["labels" if mode == "labels" else "caption"][case.language]
    return answers.ask(case.image, answers.prompt_of(mode, text), case.checkpoint).grounding


def truth_of(case: Case, thing: str = "") -> np.ndarray:
    """[K, 4] boxes of the things in the image; of those with one English name where it is given."""
    known = [row["visible_box"] for row in case.things if thing in ("", row["en"])]
    return np.array(known, np.float32).reshape(-1, 4)


def figure(case: Case, grounding: Grounding) -> Markup:
    """The answer as on the first tab."""
    return draw.figure(case.image, grounding, threshold_of(case), case.lang)


def visible(case: Case, grounding: Grounding, phrase: int | None = None) -> np.ndarray:
    """[R] which boxes (of a phrase) reach the threshold."""
    above = draw.above(grounding, threshold_of(case))
    return above if phrase is None else above & (grounding.phrase_indices == phrase)


def hits(case: Case, grounding: Grounding, truth: np.ndarray, phrase: int | None = None) -> np.ndarray:
    """[K] which known boxes are covered by one of the visible boxes (of a phrase)."""
    corners = grounding.boxes[visible(case, grounding, phrase)]
    return np.any(boxes.overlaps(corners, truth) >= SAME_PLACE, axis=0)


# --- outcomes --------------------------------------------------------------------------------------------


def count(case: Case) -> Outcome:
    """How many things of one name get a box of a phrase."""
    grounding, step = ask(case), case.step
    covered = hits(case, grounding, truth_of(case, step["thing"]), step["phrase"])
    return Outcome(0 if covered.all() else 1 if covered.any() else 2, figure(case, grounding))


def unnamed(case: Case) -> Outcome:
    """Whether a thing that the prompt does not name gets a box."""
    grounding = ask(case)
    covered = hits(case, grounding, truth_of(case, case.step["thing"]))
    return Outcome(0 if covered.any() else 1, figure(case, grounding))


def where(case: Case) -> Outcome:
    """On which thing the best box of a phrase lies; the last choice where no box of it is visible."""
    grounding, truth = ask(case), truth_of(case)
    own = np.flatnonzero(visible(case, grounding, case.step["phrase"]))
    if not len(own):
        return Outcome(len(truth), figure(case, grounding))
    best = own[grounding.scores[own].argmax()]
    overlap = boxes.overlaps(grounding.boxes[[best]], truth)[0]
    return Outcome(int(overlap.argmax()), figure(case, grounding))


def same(case: Case) -> Outcome:
    """Whether labels and a sentence give the same boxes."""
    pair = {"labels_as_prompt": ask(case, "labels"), "sentence_as_prompt": ask(case, "sentence")}
    kept = [one.boxes[visible(case, one)] for one in pair.values()]
    scores = [one.scores[visible(case, one)] for one in pair.values()]
    is_equal = len(kept[0]) == len(kept[1]) and (
        len(kept[0]) == 0
        or bool(
            np.allclose(scores[0], scores[1], atol=SAME_SCORE)
            and (boxes.overlaps(*kept).max(1) >= SAME_BOX).all()
        )
    )
    first, second = (hits(case, one, truth_of(case)).tolist() for one in pair.values())
    figures = [
        tag("section", tag("h4", say(title, case.lang)), figure(case, one)) for title, one in pair.items()
    ]
    return Outcome(0 if is_equal else 1 if first == second else 2, tag("div", *figures, class_="gl-two"))


def fusion(case: Case) -> Outcome:
    """How many boxes match a word of their own thing best, before and after fusion."""
    grounding = ask(case)
    rows = np.flatnonzero(visible(case, grounding))
    own = np.zeros((len(grounding.phrases), len(grounding.words)), bool)
    for i, phrase in enumerate(grounding.phrases):
        own[i, list(phrase.words)] = True
    truth = grounding.phrase_indices[rows]
    if len(rows):
        # The phrase of the thing under a box: phrases and things stand in the same order in these scenes.
        overlap = boxes.overlaps(grounding.boxes[rows], truth_of(case))
        truth = np.where(overlap.max(1) >= SAME_PLACE, overlap.argmax(1), truth)
    before, after = (
        int(own[truth, values[rows].argmax(1)].sum()) if len(rows) else 0
        for values in (grounding.alignment_before, grounding.alignment)
    )
    sentence = say("fusion", case.lang, before=before, after=after, count=len(rows))
    matrices = draw.alignment(case.image, grounding, threshold_of(case), case.lang)
    index = 0 if after > before else 1 if after == before else 2
    return Outcome(index, tag("p", sentence, class_="atlas-line") + matrices)


def measured(case: Case) -> Outcome:
    """Which of two trained networks is better, read from the report card."""
    first, second = measured_pair(case.step, case.lang)
    gain = second["value"] - first["value"]
    body = draw.comparison(first["title"], [first, second], case.lang)
    return Outcome(0 if gain > 0 else 1 if gain == 0 else 2, body)


KINDS = {kind.__name__: kind for kind in (count, unnamed, where, same, fusion, measured)}
