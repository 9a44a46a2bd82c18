"""The *Walkthrough* tab of the GLIP page: the lecture's cases in steps that ask for a prediction first.

Questions are data (`glip.toml`); what is true is computed by the checkpoint that the page is on, held against the boxes
that are known of a drawn scene.
"""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from core import inputs
from demos.draw import base as draw
from demos.glip import answer as handlers
from demos.glip import draw as views
from demos.glip.examples import examples, words
from demos.glip.shared import Common, stage
from demos.kit import shell
from demos.kit import walkthrough as walk
from demos.kit.shell import pick

Step = dict[str, Any]
SAME_PLACE, SAME_BOX = 0.5, 0.98  # IoU of two boxes on one thing, and of two boxes that are one
SIDE = 320  # pixels of a step's picture
IDEA = (
    "Each step sets the picture and the sentence, **asks you first**, then runs and explains. What is true depends on the "
    "checkpoint above; only what takes training, a teacher against its student, is read from the report card.",
    "每一步都会设好图片和句子，**先问你**，再运行、解释。结果取决于上面选的权重；只有需要训练的“老师与学生”取自成绩单。",
)


def measured_pair(step: Step, lang: str) -> list[dict[str, Any]]:
    """The report card's rows of a "measured" step: the first and the second of its pair."""
    rows = {row["split"]: row for row in handlers.report_rows(lang) if row["measure"] == step["measure"]}
    return [rows[split] for split in step["pair"] if split in rows]


@cache
def lessons() -> dict[str, dict[str, Any]]:
    """The lessons by name; one that tells a measurement is there once it was measured."""
    return {
        row["name"]: row
        for row in words()["lessons"]
        if all("pair" not in step or len(measured_pair(step, "en")) == 2 for step in row["steps"])
    }


def choices_of(step: Step, lang: str) -> list[str]:
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
class Asked:
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
        return handlers.start_threshold(self.checkpoint)

    def ask(self, mode: str = "sentence") -> Any:
        """The answer to the step's sentence or labels."""
        language = handlers.language_of(self.checkpoint, self.lang)
        text = self.step["labels" if mode == "labels" else "caption"][language]
        return handlers.ask(self.image, handlers.prompt_of(mode, text), self.checkpoint).found

    def truth(self, thing: str = "") -> np.ndarray:
        """[K, 4] boxes of the things of the picture, of one name (English) where it is given."""
        rows = examples()[self.step["example"]]["objects"]
        boxes = [row["visible_box"] for row in rows if thing in ("", row["en"])]
        return np.array(boxes, np.float32).reshape(-1, 4)

    def figure(self, found: Any) -> str:
        """The answer as the page shows it."""
        return views.figure(self.image, found, self.threshold, self.lang)

    def hits(self, found: Any, truth: np.ndarray, phrase: int | None = None) -> np.ndarray:
        """[K] which known boxes have one of the shown boxes (of a phrase) on them."""
        shown = views.above(found, self.threshold)
        if phrase is not None:
            shown = shown & (found.phrase_indices == phrase)
        return np.any(views.overlaps(found.boxes[shown], truth) >= SAME_PLACE, axis=0)


def found(asked: Asked) -> walk.Outcome:
    """How many things of one name a phrase finds."""
    answer, step = asked.ask(), asked.step
    hits = asked.hits(answer, asked.truth(step["thing"]), step["phrase"])
    return walk.Outcome(0 if hits.all() else 1 if hits.any() else 2, asked.figure(answer))


def silent(asked: Asked) -> walk.Outcome:
    """Whether a thing that is not named gets a box."""
    answer = asked.ask()
    hits = asked.hits(answer, asked.truth(asked.step["thing"]))
    return walk.Outcome(0 if hits.any() else 1, asked.figure(answer))


def at(asked: Asked) -> walk.Outcome:
    """On which thing the best box of a phrase lies, the last choice for none."""
    answer, truth = asked.ask(), asked.truth()
    own = np.flatnonzero(
        views.above(answer, asked.threshold) & (answer.phrase_indices == asked.step["phrase"])
    )
    if not len(own):
        return walk.Outcome(len(truth), asked.figure(answer))
    best = own[answer.scores[own].argmax()]
    return walk.Outcome(int(views.overlaps(answer.boxes[[best]], truth)[0].argmax()), asked.figure(answer))


def same(asked: Asked) -> walk.Outcome:
    """Whether labels and a sentence give the same boxes."""
    both = [asked.ask("labels"), asked.ask("sentence")]
    kept = [one.boxes[views.above(one, asked.threshold)] for one in both]
    scores = [one.scores[views.above(one, asked.threshold)] for one in both]
    overlap = views.overlaps(*kept)
    twins = len(kept[0]) == len(kept[1]) and (
        len(kept[0]) == 0
        or bool(np.allclose(scores[0], scores[1], atol=0.005) and (overlap.max(1) >= SAME_BOX).all())
    )
    hits = [asked.hits(one, asked.truth()).tolist() for one in both]
    titles = (
        pick(asked.lang, "The list as the prompt", "把类别表当作提示"),
        pick(asked.lang, "The sentence", "句子"),
    )
    shown = "".join(
        f"<section><h4>{title}</h4>{asked.figure(one)}</section>"
        for title, one in zip(titles, both, strict=True)
    )
    return walk.Outcome(0 if twins else 1 if hits[0] == hits[1] else 2, f'<div class="gl-two">{shown}</div>')


def fusion(asked: Asked) -> walk.Outcome:
    """How many boxes agree best with a word of their own thing, before and after fusion."""
    answer = asked.ask()
    rows = np.flatnonzero(views.above(answer, asked.threshold))
    own = np.zeros((len(answer.phrases), len(answer.words)), bool)
    for i, phrase in enumerate(answer.phrases):
        own[i, list(phrase.words)] = True
    phrases = answer.phrase_indices[rows]
    # The phrase of the thing that a box lies on: phrases and things stand in the same order in these scenes.
    overlap = views.overlaps(answer.boxes[rows], asked.truth())
    on = (overlap.max(1) >= SAME_PLACE) if len(rows) else np.zeros(0, bool)
    right = np.where(on, overlap.argmax(1) if len(rows) else 0, phrases)
    counts = [
        int(own[right, values[rows].argmax(1)].sum()) if len(rows) else 0
        for values in (answer.alignment_before, answer.alignment)
    ]
    said = pick(
        asked.lang,
        f"Boxes that agree best with a word of their own thing: {counts[0]} of {len(rows)} before fusion, {counts[1]} after.",
        f"与自己那样东西的词最配的框：{len(rows)} 个里，融合之前 {counts[0]} 个，之后 {counts[1]} 个。",
    )
    body = f'<p class="atlas-line">{said}</p>' + views.alignment(
        asked.image, answer, asked.threshold, asked.lang
    )
    index = 0 if counts[1] > counts[0] else 1 if counts[1] == counts[0] else 2
    return walk.Outcome(index, body)


def measured(asked: Asked) -> walk.Outcome:
    """Which of two trained networks was better, from the report card: nothing is run for it."""
    first, second = measured_pair(asked.step, asked.lang)
    better = second["value"] - first["value"]
    body = views.comparison(first["said"], [first, second], asked.lang)
    return walk.Outcome(0 if better > 0 else 1 if better == 0 else 2, body)


KINDS: dict[str, Callable[[Asked], walk.Outcome]] = {
    "found": found,
    "silent": silent,
    "at": at,
    "same": same,
    "fusion": fusion,
    "measured": measured,
}


# --- handlers --------------------------------------------------------------------------------------------


def turn_to(where: str, lang: str) -> tuple[Any, ...]:
    """Where we are, the question, its choices, an empty answer, Next switched off; picture, mode, text, example."""
    step = walk.step_of(where, lessons())
    title, number = walk.heading(where, lessons(), lang)
    row = examples()[step["example"]]
    picture = draw.data_uri(inputs.image(row["path"]), SIDE)
    card = (
        f'<div class="gl-step"><img alt="{html.escape(row["caption"][lang])}" src="{picture}"><div class="atlas-step">'
        f"<p><b>{title}</b> <span>{number}</span></p><h3>{html.escape(step['ask'][lang])}</h3>"
        f"<p><q>{html.escape(step['caption'][lang])}</q></p></div></div>"
    )
    return (
        *walk.turned(where, lessons(), card, choices_of(step, lang)),
        row["path"],
        "sentence",
        step["caption"][lang],
        step["example"],
    )


def reveal(where: str, predicted: str | None, checkpoint: str, lang: str) -> tuple[Any, ...]:
    """What happened beside what was predicted, the explanation, and the way onwards."""
    step = walk.step_of(where, lessons())
    choices = choices_of(step, lang)
    guess = walk.prediction(predicted, choices)
    glip = handlers.model(checkpoint)
    start = time.perf_counter()
    outcome = KINDS[step["kind"]](Asked(step, glip.checkpoint, lang))
    line = shell.result_line(time.perf_counter() - start, glip.checkpoint, glip.device, lang)
    return walk.answered(outcome, guess, choices, step["why"][lang], line, lang)


def walk_tab(common: Common) -> None:
    """Lays the tab out and wires it."""
    filled = [common.picture, common.mode, common.text, common.example]
    walk.tab(common.page, IDEA, lessons(), turn_to, reveal, [common.checkpoint], filled, stage)
