"""The lessons of the GLIP page: how the outcome of a step is computed.

The questions are in data.toml. The checkpoint that is chosen on the page answers them, and its boxes are compared with
the boxes that are known of a drawn scene.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from core import inputs
from demos.glip import answer as answers
from demos.glip import draw, inside
from demos.glip.answer import examples
from demos.kit import library, walkthrough
from demos.kit.language import pick
from demos.kit.walkthrough import Outcome, Step

SAME_PLACE, SAME_BOX = 0.5, 0.98  # IoU of two boxes on one thing, and of two boxes that are one


def measured_pair(step: Step, lang: str) -> list[dict[str, Any]]:
    """The report card's rows of a "measured" step: the first and the second of its pair."""
    rows = {row["split"]: row for row in inside.report_rows(lang) if row["measure"] == step["measure"]}
    return [rows[split] for split in step["pair"] if split in rows]


@cache
def lessons() -> dict[str, dict[str, Any]]:
    """The lessons by name; one that tells a measurement is there once it was measured."""
    return {
        row["name"]: row
        for row in library.data("glip")["lessons"]
        if all("pair" not in step or len(measured_pair(step, "en")) == 2 for step in row["steps"])
    }


def choices(step: Step, lang: str) -> list[str]:
    """What may be predicted."""
    if step["kind"] == "at":
        things = [thing[lang] for thing in examples()[step["example"]]["objects"]]
        return [*things, pick(lang, "nowhere: no box reaches the threshold", "哪里都不在：没有框达到阈值")]
    texts = {
        "found": (("all of them", "some of them", "none"), ("全部", "一部分", "一个也没有")),
        "silent": (("yes", "no"), ("会", "不会")),
        "same": (
            ("the very same boxes", "the same things, with other edges or scores", "other things"),
            ("完全相同的框", "还是那些东西，边缘或得分不同", "别的东西"),
        ),
        "measured": (("the student", "both the same", "the teacher"), ("学生", "一样多", "老师")),
        "fusion": (
            ("more after fusion", "as many", "more before"),
            ("融合之后更多", "一样多", "融合之前更多"),
        ),
    }
    return list(pick(lang, *texts[step["kind"]]))  # type: ignore[arg-type]


# --- how a step's outcome is read off --------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A step's picture with what is known of it, and answers of the page's checkpoint."""

    step: Step
    checkpoint: str
    lang: str

    @cached_property
    def image(self) -> Any:
        """The step's picture."""
        return inputs.image(examples()[self.step["example"]]["path"])

    @property
    def threshold(self) -> float:
        """Where the checkpoint's slider stands at first."""
        return answers.start_threshold(self.checkpoint)

    def ask(self, mode: str = "sentence") -> Any:
        """The answer to the step's sentence or labels."""
        language = answers.language_of(self.checkpoint, self.lang)
        text = self.step["labels" if mode == "labels" else "caption"][language]
        return answers.ask(self.image, answers.prompt_of(mode, text), self.checkpoint).grounding

    def truth(self, thing: str = "") -> np.ndarray:
        """[K, 4] boxes of the things of the picture, of one name (English) where it is given."""
        rows = examples()[self.step["example"]]["objects"]
        boxes = [row["visible_box"] for row in rows if thing in ("", row["en"])]
        return np.array(boxes, np.float32).reshape(-1, 4)

    def figure(self, found: Any) -> str:
        """The answer as the page shows it."""
        return draw.figure(self.image, found, self.threshold, self.lang)

    def hits(self, found: Any, truth: np.ndarray, phrase: int | None = None) -> np.ndarray:
        """[K] which known boxes have one of the shown boxes (of a phrase) on them."""
        shown = draw.above(found, self.threshold)
        if phrase is not None:
            shown = shown & (found.phrase_indices == phrase)
        return np.any(draw.overlaps(found.boxes[shown], truth) >= SAME_PLACE, axis=0)


def found(case: Case) -> Outcome:
    """How many things of one name a phrase finds."""
    answer, step = case.ask(), case.step
    hits = case.hits(answer, case.truth(step["thing"]), step["phrase"])
    return Outcome(0 if hits.all() else 1 if hits.any() else 2, case.figure(answer))


def silent(case: Case) -> Outcome:
    """Whether a thing that is not named gets a box."""
    answer = case.ask()
    hits = case.hits(answer, case.truth(case.step["thing"]))
    return Outcome(0 if hits.any() else 1, case.figure(answer))


def at(case: Case) -> Outcome:
    """On which thing the best box of a phrase lies, the last choice for none."""
    answer, truth = case.ask(), case.truth()
    own = np.flatnonzero(draw.above(answer, case.threshold) & (answer.phrase_indices == case.step["phrase"]))
    if not len(own):
        return Outcome(len(truth), case.figure(answer))
    best = own[answer.scores[own].argmax()]
    return Outcome(int(draw.overlaps(answer.boxes[[best]], truth)[0].argmax()), case.figure(answer))


def same(case: Case) -> Outcome:
    """Whether labels and a sentence give the same boxes."""
    both = [case.ask("labels"), case.ask("sentence")]
    kept = [one.boxes[draw.above(one, case.threshold)] for one in both]
    scores = [one.scores[draw.above(one, case.threshold)] for one in both]
    overlap = draw.overlaps(*kept)
    twins = len(kept[0]) == len(kept[1]) and (
        len(kept[0]) == 0
        or bool(np.allclose(scores[0], scores[1], atol=0.005) and (overlap.max(1) >= SAME_BOX).all())
    )
    hits = [case.hits(one, case.truth()).tolist() for one in both]
    titles = (
        pick(case.lang, "The list as the prompt", "把类别表当作提示"),
        pick(case.lang, "The sentence", "句子"),
    )
    shown = "".join(
        f"<section><h4>{title}</h4>{case.figure(one)}</section>"
        for title, one in zip(titles, both, strict=True)
    )
    return Outcome(0 if twins else 1 if hits[0] == hits[1] else 2, f'<div class="gl-two">{shown}</div>')


def fusion(case: Case) -> Outcome:
    """How many boxes agree best with a word of their own thing, before and after fusion."""
    answer = case.ask()
    rows = np.flatnonzero(draw.above(answer, case.threshold))
    own = np.zeros((len(answer.phrases), len(answer.words)), bool)
    for i, phrase in enumerate(answer.phrases):
        own[i, list(phrase.words)] = True
    phrases = answer.phrase_indices[rows]
    # The phrase of the thing that a box lies on: phrases and things stand in the same order in these scenes.
    overlap = draw.overlaps(answer.boxes[rows], case.truth())
    on = (overlap.max(1) >= SAME_PLACE) if len(rows) else np.zeros(0, bool)
    right = np.where(on, overlap.argmax(1) if len(rows) else 0, phrases)
    counts = [
        int(own[right, values[rows].argmax(1)].sum()) if len(rows) else 0
        for values in (answer.alignment_before, answer.alignment)
    ]
    said = pick(
        case.lang,
        f"Boxes that agree best with a word of their own thing: {counts[0]} of {len(rows)} before fusion, {counts[1]} after.",
        f"与自己那样东西的词最配的框：{len(rows)} 个里，融合之前 {counts[0]} 个，之后 {counts[1]} 个。",
    )
    body = f'<p class="atlas-line">{said}</p>' + draw.alignment(case.image, answer, case.threshold, case.lang)
    index = 0 if counts[1] > counts[0] else 1 if counts[1] == counts[0] else 2
    return Outcome(index, body)


def measured(case: Case) -> Outcome:
    """Which of two trained networks was better, from the report card: nothing is run for it."""
    first, second = measured_pair(case.step, case.lang)
    better = second["value"] - first["value"]
    body = draw.comparison(first["title"], [first, second], case.lang)
    return Outcome(0 if better > 0 else 1 if better == 0 else 2, body)


KINDS: dict[str, Callable[[Case], Outcome]] = {
    "found": found,
    "silent": silent,
    "at": at,
    "same": same,
    "fusion": fusion,
    "measured": measured,
}


# --- what the walkthrough asks for --------------------------------------------------------------------------


def card(step: Step, lang: str) -> str:
    """The image and the sentence of a step."""
    row = examples()[step["example"]]
    return walkthrough.picture(row["path"], row["caption"][lang], walkthrough.prompt(step["caption"][lang]))


def outcome(step: Step, checkpoint: str, lang: str) -> Outcome:
    """Which of a step's choices came true with a checkpoint."""
    return KINDS[step["kind"]](Case(step, answers.model(checkpoint).checkpoint, lang))
