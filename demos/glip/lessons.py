"""The lessons of the GLIP page: how the outcome of a step is computed.

The questions are in data.toml. The checkpoint that is chosen on the page answers them, and its boxes are compared with
the known boxes of a drawn scene.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from core import inputs
from demos.draw import boxes
from demos.glip import answer as answers
from demos.glip import draw
from demos.glip.answer import PAPER, examples
from demos.kit import library, numbers, walkthrough
from demos.kit.html import Markup, tag
from demos.kit.language import Text, pick
from demos.kit.menu import label_language
from demos.kit.walkthrough import Outcome, Step

if TYPE_CHECKING:
    from core.detection.result import Grounding

SAME_PLACE, SAME_BOX = 0.5, 0.98  # IoU of two boxes on one thing, and of two equal boxes
SAME_SCORE = 0.005
NOWHERE = Text("nowhere: no box reaches the minimum score", "没有：没有框达到最低得分")
CHOICES = {
    "count": (
        Text("all of them", "全部"),
        Text("some of them", "一部分"),
        Text("none of them", "一个也没有"),
    ),
    "unnamed": (Text("yes", "会"), Text("no", "不会")),
    "same": (
        Text("exactly the same boxes", "完全相同"),
        Text("the same things, with other scores or sides", "物体相同，得分或边界不同"),
        Text("other things", "框住了别的物体"),
    ),
    "measured": (
        Text("the student", "学生模型"),
        Text("both find the same number", "一样多"),
        Text("the teacher", "教师模型"),
    ),
    "fusion": (
        Text("after fusion", "融合之后"),
        Text("equally many", "一样多"),
        Text("before fusion", "融合之前"),
    ),
}


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
        row["name"]: row
        for row in library.data(PAPER)["lessons"]
        if all("pair" not in step or len(measured_pair(step, "en")) == 2 for step in row["steps"])
    }


def choices(step: Step, lang: str) -> list[str]:
    """The choices of a prediction."""
    if step["kind"] == "where":
        things = [thing[lang] for thing in examples()[step["example"]]["objects"]]
        return [*things, NOWHERE.get(lang)]
    return [text.get(lang) for text in CHOICES[step["kind"]]]


# --- outcomes --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """The image of a step with its known boxes, and the answers of a checkpoint."""

    step: Step
    checkpoint: str
    lang: str

    @cached_property
    def image(self) -> Any:
        """The image of the step."""
        return inputs.image(examples()[self.step["example"]]["path"])

    @property
    def threshold(self) -> float:
        """The threshold that the checkpoint recommends."""
        return answers.start_threshold(self.checkpoint)

    def ask(self, mode: str = "sentence") -> Grounding:
        """The answer to the step's sentence or labels."""
        language = label_language(PAPER, self.checkpoint, self.lang)
        text = self.step["labels" if mode == "labels" else "caption"][language]
        return answers.ask(self.image, answers.prompt_of(mode, text), self.checkpoint).grounding

    def truth(self, thing: str = "") -> np.ndarray:
        """[K, 4] boxes of the things in the image; of those with one English name where it is given."""
        rows = examples()[self.step["example"]]["objects"]
        known = [row["visible_box"] for row in rows if thing in ("", row["en"])]
        return np.array(known, np.float32).reshape(-1, 4)

    def figure(self, grounding: Grounding) -> Markup:
        """The answer as on the first tab."""
        return draw.figure(self.image, grounding, self.threshold, self.lang)

    def visible(self, grounding: Grounding, phrase: int | None = None) -> np.ndarray:
        """[R] which boxes (of a phrase) reach the threshold."""
        above = draw.above(grounding, self.threshold)
        return above if phrase is None else above & (grounding.phrase_indices == phrase)

    def hits(self, grounding: Grounding, truth: np.ndarray, phrase: int | None = None) -> np.ndarray:
        """[K] which known boxes are covered by one of the visible boxes (of a phrase)."""
        visible = grounding.boxes[self.visible(grounding, phrase)]
        return np.any(boxes.overlaps(visible, truth) >= SAME_PLACE, axis=0)


def count(case: Case) -> Outcome:
    """How many things of one name get a box of a phrase."""
    grounding, step = case.ask(), case.step
    hits = case.hits(grounding, case.truth(step["thing"]), step["phrase"])
    return Outcome(0 if hits.all() else 1 if hits.any() else 2, case.figure(grounding))


def unnamed(case: Case) -> Outcome:
    """Whether a thing that the prompt does not name gets a box."""
    grounding = case.ask()
    hits = case.hits(grounding, case.truth(case.step["thing"]))
    return Outcome(0 if hits.any() else 1, case.figure(grounding))


def where(case: Case) -> Outcome:
    """On which thing the best box of a phrase lies; the last choice where no box of it is visible."""
    grounding, truth = case.ask(), case.truth()
    own = np.flatnonzero(case.visible(grounding, case.step["phrase"]))
    if not len(own):
        return Outcome(len(truth), case.figure(grounding))
    best = own[grounding.scores[own].argmax()]
    overlap = boxes.overlaps(grounding.boxes[[best]], truth)[0]
    return Outcome(int(overlap.argmax()), case.figure(grounding))


def same(case: Case) -> Outcome:
    """Whether labels and a sentence give the same boxes."""
    pair = [case.ask("labels"), case.ask("sentence")]
    kept = [one.boxes[case.visible(one)] for one in pair]
    scores = [one.scores[case.visible(one)] for one in pair]
    is_equal = len(kept[0]) == len(kept[1]) and (
        len(kept[0]) == 0
        or bool(
            np.allclose(scores[0], scores[1], atol=SAME_SCORE)
            and (boxes.overlaps(*kept).max(1) >= SAME_BOX).all()
        )
    )
    hits = [case.hits(one, case.truth()).tolist() for one in pair]
    titles = (
        pick(case.lang, "The labels as the prompt", "以一组标签为提示"),
        pick(case.lang, "The sentence", "以句子为提示"),
    )
    figures = [
        tag("section", tag("h4", title), case.figure(one)) for title, one in zip(titles, pair, strict=True)
    ]
    index = 0 if is_equal else 1 if hits[0] == hits[1] else 2
    return Outcome(index, tag("div", *figures, class_="gl-two"))


def fusion(case: Case) -> Outcome:
    """How many boxes match a word of their own thing best, before and after fusion."""
    grounding = case.ask()
    rows = np.flatnonzero(case.visible(grounding))
    own = np.zeros((len(grounding.phrases), len(grounding.words)), bool)
    for i, phrase in enumerate(grounding.phrases):
        own[i, list(phrase.words)] = True
    truth = grounding.phrase_indices[rows]
    if len(rows):
        # The phrase of the thing under a box: phrases and things stand in the same order in these scenes.
        overlap = boxes.overlaps(grounding.boxes[rows], case.truth())
        truth = np.where(overlap.max(1) >= SAME_PLACE, overlap.argmax(1), truth)
    counts = [
        int(own[truth, values[rows].argmax(1)].sum()) if len(rows) else 0
        for values in (grounding.alignment_before, grounding.alignment)
    ]
    sentence = pick(
        case.lang,
        f"Boxes that match a word of their own thing best: {counts[0]} of {len(rows)} before fusion, {counts[1]} after it.",
        f"与自己所在物体的词最匹配的框：共 {len(rows)} 个框，融合之前 {counts[0]} 个，融合之后 {counts[1]} 个。",
    )
    matrices = draw.alignment(case.image, grounding, case.threshold, case.lang)
    index = 0 if counts[1] > counts[0] else 1 if counts[1] == counts[0] else 2
    return Outcome(index, tag("p", sentence, class_="atlas-line") + matrices)


def measured(case: Case) -> Outcome:
    """Which of two trained networks is better, read from the report card."""
    first, second = measured_pair(case.step, case.lang)
    gain = second["value"] - first["value"]
    body = draw.comparison(first["title"], [first, second], case.lang)
    return Outcome(0 if gain > 0 else 1 if gain == 0 else 2, body)


KINDS: dict[str, Callable[[Case], Outcome]] = {
    "count": count,
    "unnamed": unnamed,
    "where": where,
    "same": same,
    "fusion": fusion,
    "measured": measured,
}


# --- for the walkthrough -----------------------------------------------------------------------------------


def card(step: Step, lang: str) -> str:
    """The image and the sentence of a step."""
    row = examples()[step["example"]]
    return walkthrough.picture(row["path"], row["caption"][lang], walkthrough.prompt(step["caption"][lang]))


def outcome(step: Step, checkpoint: str, lang: str) -> Outcome:
    """The choice that came true with a checkpoint."""
    return KINDS[step["kind"]](Case(step, answers.model(checkpoint).checkpoint, lang))
