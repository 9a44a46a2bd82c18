"""The lessons of the GroupViT page: how the outcome of a step is computed.

The questions are in data.toml; the checkpoint that is chosen on the page answers them.
"""

from __future__ import annotations

import numpy as np

from demos.groupvit import draw, tabs
from demos.groupvit.answer import Answer, homes, model, start_threshold
from demos.groupvit.words import say
from demos.kit.html import Markup, tag
from demos.kit.walkthrough import Case, Outcome

CUTS = {"ground": (0.5, 0.9), "wrong": (0.005, 0.5), "parts": (0.125, 0.5), "renamed": (0.05, 0.3)}
SEEN = 0.002  # of the image: fewer pixels that change their label are noise


# --- a step ------------------------------------------------------------------------------------------------


def threshold_of(case: Case) -> float:
    """The step's threshold, else the checkpoint's own."""
    return float(case.step.get("threshold", start_threshold(case.checkpoint)))


def ask(case: Case, name: str = "labels") -> Answer:
    """The answer to the step's labels."""
    segmenter = model(case.checkpoint)
    encoded = segmenter.encode(case.image)
    grouping = segmenter.segment(encoded, case.labels(name), threshold_of(case))
    return Answer(case.image, encoded.digest, grouping, 0.0)


def truth_of(case: Case) -> np.ndarray:
    """[H, W] place of each pixel's thing among the step's labels, -1 for background."""
    from core.classroom.world import labelled

    labels = case.labels()
    places = np.array([labels.index(name) for name in case.example["names"][case.language]] + [-1])
    return places[labelled.stored(case.example)]


def figure(answer: Answer, lang: str) -> Markup:
    """The mask of an answer and its chart."""
    return draw.overlay(answer.image, answer.grouping, lang) + draw.chart(answer.grouping, lang)


def cut(kind: str, value: float) -> int:
    """Between which of a kind's cuts a value lies."""
    return int(np.searchsorted(CUTS[kind], value, side="left"))


# --- how a step's outcome is read off ----------------------------------------------------------------------


def ground(case: Case) -> Outcome:
    """How much is background."""
    answer = ask(case)
    return Outcome(cut("ground", float(answer.grouping.shares[-1])), figure(answer, case.lang))


def wrong(case: Case) -> Outcome:
    """How much of the true background gets a label."""
    answer = ask(case)
    share = float((answer.grouping.mask[truth_of(case) < 0] >= 0).mean())
    return Outcome(cut("wrong", share), figure(answer, case.lang))


def parts(case: Case) -> Outcome:
    """How many groups of the first stage own a pixel."""
    encoded = model(case.checkpoint).encode(case.image)
    groups, tokens = encoded.group_map(0), len(encoded.stages[0])
    used = len(np.unique(groups))
    line = tag("p", say("used_groups", case.lang, used=used, tokens=tokens), class_="gv-big")
    return Outcome(cut("parts", used / tokens), line + draw.group_overlay(case.image, groups, case.lang))


def alone(case: Case) -> Outcome:
    """How many things have a group of their own."""
    answer = ask(case)
    things = homes(answer, case.lang)
    groups = list(things.values())
    share = sum(groups.count(group) == 1 for group in groups) / len(groups)
    body = draw.crowd(answer.grouping, things, case.lang)
    body += draw.group_overlay(answer.image, answer.grouping.groups, case.lang)
    return Outcome(0 if share == 1 else 1 if share >= 0.5 else 2, body)


def renamed(case: Case) -> Outcome:
    """How much true names add."""
    segmenter, image = model(case.checkpoint), np.asarray(case.image)
    row = tabs.rename(segmenter, image, truth_of(case), case.labels(), threshold_of(case))
    body = draw.before_after([row], case.lang) + draw.renamed_table([row], case.lang)
    return Outcome(cut("renamed", row.right.right - row.right.own), body)


def absent(case: Case) -> Outcome:
    """Whether labels for nothing in the image take pixels."""
    few, more = ask(case, "labels"), ask(case, "more")
    taken = float((more.grouping.mask >= len(few.grouping.labels)).mean())
    return Outcome(0 if taken > SEEN else 1, figure(few, case.lang) + figure(more, case.lang))


KINDS = {kind.__name__: kind for kind in (ground, wrong, parts, alone, renamed, absent)}
