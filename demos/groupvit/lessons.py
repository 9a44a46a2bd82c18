"""The lessons of the GroupViT page: how the outcome of a step is computed.

The questions are in data.toml; the checkpoint that is chosen on the page answers them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core import inputs
from demos.groupvit import draw, tabs
from demos.groupvit.answer import PAPER, Answer, examples, homes, model, start_threshold
from demos.kit import library, walkthrough
from demos.kit.html import Markup, tag
from demos.kit.language import pick
from demos.kit.menu import label_language
from demos.kit.walkthrough import Outcome, Step

if TYPE_CHECKING:
    from core.segmentation import GroupViT

CUTS = {"ground": (0.5, 0.9), "wrong": (0.005, 0.5), "parts": (0.125, 0.5), "renamed": (0.05, 0.3)}
SEEN = 0.002  # of the image: fewer pixels that change their label are noise


def lessons() -> dict[str, dict[str, Any]]:
    """The lessons by name."""
    return {row["name"]: row for row in library.data(PAPER)["lessons"]}


def choices(step: Step, lang: str) -> list[str]:
    """What may be predicted."""
    return list(library.data(PAPER)["choices"][step["kind"]]["zh" if lang == "zh" else "en"])


# --- how a step's outcome is read off ----------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A step's image, its labels in the language of the checkpoint, its exact mask, its threshold."""

    model: GroupViT
    step: Step
    lang: str

    @property
    def row(self) -> Step:
        """The step's example."""
        return examples()[self.step["example"]]

    @property
    def image(self) -> Any:
        """Its image."""
        return inputs.image(self.row["path"])

    @property
    def code(self) -> str:
        """The language of the labels."""
        return label_language(PAPER, self.model.checkpoint, self.lang)

    @property
    def threshold(self) -> float:
        """The step's threshold, else the checkpoint's own."""
        return float(self.step.get("threshold", start_threshold(self.model.checkpoint)))

    def labels(self, name: str = "labels") -> list[str]:
        """The step's labels, else its example's."""
        return inputs.labels((self.step.get(name) or self.row["labels"])[self.code])

    def ask(self, name: str = "labels") -> Answer:
        """The answer."""
        encoded = self.model.encode(self.image)
        return Answer(
            self.image, encoded.digest, self.model.segment(encoded, self.labels(name), self.threshold), 0.0
        )

    def truth(self) -> np.ndarray:
        """[H, W] place of each pixel's thing among the step's labels, -1 for background."""
        from core.classroom.world import labelled

        labels = self.labels()
        places = np.array([labels.index(name) for name in self.row["names"][self.code]] + [-1])
        return places[labelled.stored(self.row)]

    def figure(self, answer: Answer) -> Markup:
        """The mask of an answer and its chart."""
        return draw.overlay(answer.image, answer.grouping, self.lang) + draw.chart(answer.grouping, self.lang)


def cut(kind: str, value: float) -> int:
    """Between which of a kind's cuts a value lies."""
    return int(np.searchsorted(CUTS[kind], value, side="left"))


def ground(case: Case) -> Outcome:
    """How much is background."""
    answer = case.ask()
    return Outcome(cut("ground", float(answer.grouping.shares[-1])), case.figure(answer))


def wrong(case: Case) -> Outcome:
    """How much of the true background gets a label."""
    answer = case.ask()
    share = float((answer.grouping.mask[case.truth() < 0] >= 0).mean())
    return Outcome(cut("wrong", share), case.figure(answer))


def parts(case: Case) -> Outcome:
    """How many groups of the first stage own a pixel."""
    encoded = case.model.encode(case.image)
    groups, tokens = encoded.group_map(0), len(encoded.stages[0])
    used = len(np.unique(groups))
    line = pick(case.lang, f"{used} of {tokens} groups", f"{tokens} 个组里用了 {used} 个")
    body = tag("p", line, class_="gv-big") + draw.group_overlay(case.image, groups, case.lang)
    return Outcome(cut("parts", used / tokens), body)


def alone(case: Case) -> Outcome:
    """How many things have a group of their own."""
    answer = case.ask()
    groups = [*homes(answer, case.lang).values()]
    share = sum(groups.count(group) == 1 for group in groups) / len(groups)
    return Outcome(0 if share == 1 else 1 if share >= 0.5 else 2, Markup("").join(
        (draw.crowd(answer.grouping, homes(answer, case.lang), case.lang),
         draw.group_overlay(answer.image, answer.grouping.groups, case.lang))
    ))  # fmt: skip


def renamed(case: Case) -> Outcome:
    """How much true names add."""
    row = tabs.rename(case.model, np.asarray(case.image), case.truth(), case.labels(), case.threshold)
    body = draw.before_after([row], case.lang) + draw.renamed_table([row], case.lang)
    return Outcome(cut("renamed", row.right.right - row.right.own), body)


def absent(case: Case) -> Outcome:
    """Whether labels for nothing in the image take pixels."""
    few, more = case.ask("labels"), case.ask("more")
    taken = float((more.grouping.mask >= len(few.grouping.labels)).mean())
    return Outcome(0 if taken > SEEN else 1, case.figure(few) + case.figure(more))


KINDS: dict[str, Callable[[Case], Outcome]] = {
    "ground": ground,
    "wrong": wrong,
    "parts": parts,
    "alone": alone,
    "renamed": renamed,
    "absent": absent,
}


# --- what the walkthrough asks for -------------------------------------------------------------------------


def card(step: Step, lang: str) -> str:
    """The image of a step."""
    row = examples()[step["example"]]
    return walkthrough.picture(row["path"], row["caption"]["zh" if lang == "zh" else "en"])


def outcome(step: Step, checkpoint: str, lang: str) -> Outcome:
    """Which of a step's choices came true with a checkpoint."""
    return KINDS[step["kind"]](Case(model(checkpoint), step, lang))
