"""The lessons of the ViLD page: how the outcome of a step is computed.

The questions are in data.toml. The chosen checkpoint answers them, or the miniature where that one lacks a variant of the
paper; its boxes are compared with the known boxes of a drawn scene.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from core import checkpoints, inputs
from core.runtime import Cancel
from demos.draw import base, boxes
from demos.kit import library, walkthrough
from demos.kit.html import row, tag
from demos.kit.jobs import Progress
from demos.kit.walkthrough import Case, Outcome, Step
from demos.vild import answer as answers
from demos.vild import draw
from demos.vild.answer import Answer
from demos.vild.words import PAPER, say

RATIOS = (2.0, 10.0)  # borders between the choices of the step about speed
SPEED_PROPOSALS = answers.MOST_PROPOSALS
HEADS = ("text", "image")

lessons = partial(library.lessons, PAPER)


def choices(step: Step, lang: str) -> list[str]:
    """The choices of a prediction."""
    case = Case(PAPER, step, "", lang)
    if step["kind"] == "where":
        return [*(thing[lang] for thing in case.things), say("on_none", lang)]
    thing = case.thing[lang] if "thing" in step else ""
    texts = walkthrough.choices_of(PAPER, step, lang)
    return [text.format(thing=thing, low=RATIOS[0], high=RATIOS[1]) for text in texts]


# --- outcomes --------------------------------------------------------------------------------------------


def ask(case: Case, variant: str = "") -> Answer:
    """The answer of the step's variant, or of another one, at the step's threshold or the recommended one."""
    from demos.vild.page import Question

    name = variant or case.step["variant"]
    threshold = case.step.get("threshold", answers.threshold_for(name, case.checkpoint))
    labels = case.step["labels"][case.lang]
    return answers.ask(Question(case.checkpoint, case.example["path"], labels, name, threshold))


def proposal(case: Case, answer: Answer) -> int:
    """The candidate box that fits the step's thing best."""
    return int(draw.overlap(case.thing["visible_box"], answer.detection.proposals).argmax())


def name_given(detection: Any, thing: dict[str, Any]) -> int:
    """The choice that an answer makes of a thing: 0 no box is on it, 1 its best box has another name, 2 its own."""
    on_it = draw.overlap(thing["visible_box"], detection.boxes) >= draw.SAME_PLACE
    if not on_it.any():
        return 0
    name = detection.labels[int(detection.label_indices[on_it.argmax()])]  # boxes come best first
    return 2 if name.lower() in (thing["en"].lower(), thing["zh"]) else 1


def closed_list(case: Case) -> Outcome:
    """The name that a fixed list of categories gives a thing."""
    answer = ask(case)
    fixed = answer.model.closed(answer.encoded, language=case.lang)
    body = draw.closed_and_open(answer.image, fixed, answer.detection, case.lang)
    return Outcome(name_given(fixed, case.thing), body)


def find(case: Case) -> Outcome:
    """The name that the labels give a thing."""
    answer = ask(case)
    title = tag("h4", say("best_fit", case.lang, thing=case.thing[case.lang]))
    table = draw.score_table(answer.detection, proposal(case, answer), case.lang)
    body = draw.figure(answer.image, answer.detection, case.lang) + title + table
    return Outcome(name_given(answer.detection, case.thing), body)


def where(case: Case) -> Outcome:
    """On which thing the best box of a label lies; the last choice for none."""
    answer = ask(case)
    own = np.flatnonzero(answer.detection.label_indices == case.step["label"])
    truth = np.array([thing["visible_box"] for thing in case.things])
    overlaps = boxes.overlaps(answer.detection.boxes[own[:1]], truth)  # boxes come best first
    is_on_one = (overlaps >= draw.SAME_PLACE).any()
    index = int(overlaps.argmax()) if is_on_one else len(case.things)
    return Outcome(index, draw.figure(answer.image, answer.detection, case.lang))


def heads(case: Case) -> Outcome:
    """Which head of the ensemble gives a thing's own name the higher probability."""
    answer = ask(case)
    at = proposal(case, answer)
    name = case.thing[case.lang].lower()
    label = [one.lower() for one in answer.detection.labels].index(name)
    probabilities = [float(answer.detection.parts[head][at, label]) for head in HEADS]
    return Outcome(int(np.argmax(probabilities)), draw.region(answer.image, answer.detection, at, case.lang))


def mistakes(case: Case) -> Outcome:
    """Which of two heads has more boxes that lie on no thing of their name."""
    pair = [ask(case, name) for name in HEADS]
    counts = [int((~draw.correct(one.detection, case.things)).sum()) for one in pair]
    titles = [
        say("head_mistakes", case.lang, head=name, count=count, total=len(one.detection.boxes))
        for name, one, count in zip(HEADS, pair, counts, strict=True)
    ]
    index = 2 if counts[0] == counts[1] else int(np.argmax(counts))
    return Outcome(index, draw.pair(titles, pair[0].image, [one.detection for one in pair], case.lang))


KINDS = {kind.__name__: kind for kind in (closed_list, find, where, heads, mistakes)}


# --- speed -------------------------------------------------------------------------------------------------


def speed(case: Case, cancel: Cancel) -> Generator[Progress, None, Outcome]:
    """How many times as long CLIP on crops takes as one pass of ViLD.

    A pixel of the image is changed, so that nothing is cached.
    """
    image = inputs.image(case.example["path"])
    vild = answers.model(case.checkpoint)
    for _ in answers.encode_crops(vild, image, 1, case.lang, cancel):  # loads what is not loaded yet
        pass
    image.putpixel((0, 0), tuple(random.randbytes(3)))
    start = time.perf_counter()
    encoded = vild.encode(image)
    encoded_at = time.perf_counter()
    yield from answers.encode_crops(vild, encoded, SPEED_PROPOSALS, case.lang, cancel)
    fast, slow = encoded_at - start, time.perf_counter() - encoded_at
    ratio = slow / max(fast, 1e-9)
    crops = say("many_crops", case.lang, crops=2 * SPEED_PROPOSALS, proposals=SPEED_PROPOSALS)
    rows = (
        row(name, base.bar(spent / max(fast, slow)), tag("td", say("seconds", case.lang, seconds=spent)))
        for name, spent in ((say("one_pass", case.lang), fast), (crops, slow))
    )
    result = tag("p", tag("strong", say("times_as_long", case.lang, ratio=ratio)))
    bars = tag("table", tag("tbody", *rows), class_="atlas-bars")
    return Outcome(int(np.searchsorted(RATIOS, ratio)), bars + result)


# --- for the walkthrough -----------------------------------------------------------------------------------


def able(checkpoint: str) -> str:
    """The row where it has all variants of the paper, else the first row that has."""
    rows = [checkpoint] if checkpoint else []
    rows += [one.name for one in checkpoints.rows(PAPER)]
    return next(name for name in rows if answers.VARIANT in answers.variants_of(name))


def card(step: Step, lang: str) -> str:
    """The image, the labels and the variant of a step."""
    lines = tag("p", say("labels_of_step", lang, labels=step["labels"][lang]))
    if step["kind"] in ("find", "where", "heads"):
        lines += tag("p", draw.VARIANTS[step["variant"]].get(lang), class_="atlas-line")
    return walkthrough.card_of(PAPER, step, lang, lines)


def outcome(step: Step, checkpoint: str, lang: str, cancel: Cancel) -> Iterator[Any]:
    """A job: the choice that came true."""
    case = Case(PAPER, step, able(checkpoint), lang)
    result = (yield from speed(case, cancel)) if step["kind"] == "speed" else KINDS[step["kind"]](case)
    yield replace(result, checkpoint=case.checkpoint)
