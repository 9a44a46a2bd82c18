"""The lessons of the LSeg page: how the outcome of a step is computed.

The questions are in data.toml; the checkpoint that is chosen on the page answers them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from core import inputs
from demos.kit import library, walkthrough
from demos.kit.html import tag
from demos.kit.language import pick
from demos.kit.menu import label_language
from demos.kit.walkthrough import Outcome, Step
from demos.lseg.answer import PAPER, Answer, ask, examples, overlay

SHARES = (0.005, 0.05)  # up to the first a label wins nothing, up to the second a little
SAME = 0.5  # IoU of two masks that are one place


def lessons() -> dict[str, dict[str, Any]]:
    """The lessons by name."""
    return {row["name"]: row for row in library.data(PAPER)["lessons"]}


def choices(step: Step, lang: str) -> list[str]:
    """What may be predicted."""
    if step["kind"] == "at":
        return inputs.labels(step["labels"][lang])
    if step["kind"] == "share":
        low, high = (f"{share:.1%}".replace(".0%", "%") for share in SHARES)
        english = f"nothing (under {low})", f"a little ({low} to {high})", f"a lot (over {high})"
        chinese = f"几乎没有（不到 {low}）", f"一点（{low} 到 {high}）", f"很多（超过 {high}）"
        return list(chinese if lang == "zh" else english)
    return [
        pick(lang, "yes, the same place", "会，是同一处"),
        pick(lang, "no, another place", "不会，是别处"),
    ]


# --- how a step's outcome is read off --------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A step with the checkpoint that answers it."""

    step: Step
    checkpoint: str
    lang: str

    def ask(self, name: str = "labels") -> Answer:
        """The answer to the step's labels, in a language that the checkpoint reads."""
        image = inputs.image(examples()[self.step["example"]]["path"])
        labels = self.step[name][label_language(PAPER, self.checkpoint, self.lang)]
        return ask(image, inputs.labels(labels), self.checkpoint or None)

    def figure(self, answer: Answer) -> str:
        """The answer as the page shows it."""
        return overlay(answer, (), self.lang)

    def place(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Where an "at" step looks, in pixels: its box, or the inner half of what it names."""
        width, height = size
        if "box" in self.step:
            left, top, right, bottom = self.step["box"]
            return round(left * width), round(top * height), round(right * width), round(bottom * height)
        objects = examples()[self.step["example"]]["objects"]
        left, top, right, bottom = next(
            one["visible_box"] for one in objects if one["en"] == self.step["thing"]
        )
        across, down = (right - left) // 4, (bottom - top) // 4
        return left + across, top + down, right - across, bottom - down


def at(case: Case) -> Outcome:
    """Which label wins a place."""
    answer = case.ask()
    left, top, right, bottom = case.place(answer.result.size)
    inside = answer.result.mask[top:bottom, left:right]
    return Outcome(int(np.bincount(inside.ravel()).argmax()), case.figure(answer))


def share(case: Case) -> Outcome:
    """How much of the image a label wins."""
    answer = case.ask()
    index = int(np.searchsorted(SHARES, answer.result.shares[case.step["label"]]))
    return Outcome(index, case.figure(answer))


def same(case: Case) -> Outcome:
    """Whether two words win the same place."""
    first, second = case.ask("labels"), case.ask("other")
    a, b = first.result.mask == case.step["label"], second.result.mask == case.step["other_label"]
    overlap = float((a & b).sum() / max((a | b).sum(), 1))
    sentence = pick(
        case.lang, f"Overlap of the two places (IoU): {overlap:.2f}", f"两处的重合度（IoU）：{overlap:.2f}"
    )
    pair = f'<div class="atlas-seg-two">{case.figure(first)}{case.figure(second)}</div>'
    return Outcome(0 if overlap >= SAME else 1, pair + tag("p", sentence, class_="atlas-line"))


KINDS: dict[str, Callable[[Case], Outcome]] = {"at": at, "share": share, "same": same}


# --- what the walkthrough asks for -----------------------------------------------------------------------


def card(step: Step, lang: str) -> str:
    """The image and the labels of a step."""
    row = examples()[step["example"]]
    labels = pick(lang, "Labels: ", "标签：") + step["labels"][lang]
    return walkthrough.picture(row["path"], row["caption"][lang], tag("p", labels, class_="atlas-line"))


def outcome(step: Step, checkpoint: str, lang: str) -> Outcome:
    """Which of a step's choices came true with a checkpoint."""
    return KINDS[step["kind"]](Case(step, checkpoint, lang))
