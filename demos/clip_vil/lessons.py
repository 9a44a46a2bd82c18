"""The lessons of the CLIP-ViL page: how the outcome of a step is computed by the chosen checkpoint."""

from __future__ import annotations

import numpy as np
from PIL import Image

from demos.clip_vil import draw, inside
from demos.clip_vil.answer import put
from demos.clip_vil.compare import GREY
from demos.clip_vil.words import PAPER, say
from demos.kit import walkthrough as walk
from demos.kit.html import Markup, tag
from demos.kit.walkthrough import Case, Outcome, Step

SURE = 0.3  # a probability that would pass for an answer


def card(step: Step, lang: str) -> str:
    """The image and the question of a step."""
    if "question" not in step:
        return Markup()
    return walk.card_of(PAPER, step, lang, walk.prompt(step["question"][lang]))


def right(case: Case) -> Outcome:
    """How many encoders answer rightly."""
    answer = put(case.image, case.step["question"][case.language], case.checkpoint)
    truth = case.step["answer"][case.language]
    count = sum(one.best == truth for one in answer.found.values())
    shown = draw.cards(answer.image, answer.found, case.lang)
    return Outcome(count, tag("p", say("true_answer", case.lang, answer=truth)) + shown)


def blind(case: Case) -> Outcome:
    """Whether an answer is likely although the image is empty."""
    empty = put(Image.new("RGB", (160, 160), GREY), case.step["question"][case.language], case.checkpoint)
    likely = float(empty.main.probabilities.max())
    return Outcome(int(likely < SURE), draw.cards(empty.image, {"clip": empty.main}, case.lang))


def inside_box(case: Case) -> Outcome:
    """Whether the place that the head looks at most lies in the thing's box."""
    answer = put(case.image, case.step["question"][case.language], case.checkpoint)
    attention = answer.main.attention
    at, column = np.unravel_index(int(attention.argmax()), attention.shape)
    x, y = ((place + 0.5) / size for place, size in zip((column, at), attention.shape[::-1], strict=True))
    left, top, to_right, bottom = (
        value / case.image.size[i % 2] for i, value in enumerate(case.thing["visible_box"])
    )
    hit = left <= x <= to_right and top <= y <= bottom
    return Outcome(int(not hit), draw.cards(answer.image, {"clip": answer.main}, case.lang))


def gap(case: Case) -> Outcome:
    """Where CLIP's lead over the supervised encoder is larger: with 1 % of the questions, or with all of them."""
    points = inside.curve_points()
    lead = [one - other for (_, one), (_, other) in zip(points["clip"], points["supervised"], strict=True)]
    return Outcome(0 if lead[0] > lead[-1] else 1, inside.table(case.lang), "")


KINDS = {kind.__name__: kind for kind in (right, blind, inside_box, gap)}
