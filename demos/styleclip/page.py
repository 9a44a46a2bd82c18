"""The StyleCLIP page: a sentence edits an image; six ways side by side, a look inside, lessons, a mapper that learns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from demos.draw import frames
from demos.kit import form, library, numbers, page, runs, train, walkthrough
from demos.kit.components import output
from demos.styleclip import answer, compare, inside, lessons, training
from demos.styleclip.words import PAPER, examples, text

STAGE = {"out": frames.stage}


@dataclass(frozen=True)
class Question:
    """What the page asks: a start, what it shows, what it is to show, and how it is edited."""

    checkpoint: str = form.checkpoint(PAPER)
    image: str | None = form.image(height=240)
    start: str = form.choice(library.options(PAPER, "start"), "image", text("what_is_edited"), place="side")
    neutral: str = form.words(text("neutral"), longest=300)
    target: str = form.words(text("target"), longest=300)
    method: str = form.choice(library.options(PAPER, "method"), answer.DIRECTION, text("method"))
    alpha: float = form.slider(-6, 10, 4.0, text("alpha"), text("alpha_info"), step=0.5, followed=True)
    beta: float = form.slider(0, 0.4, 0.08, text("beta"), text("beta_info"), step=0.01, followed=True)
    steps: int = form.slider(0, 300, 0, text("steps_field"), text("own_value"))
    strength: float = form.slider(0, 1, 0.0, text("strength"), text("strength_info"), step=0.05)
    distance: float = form.slider(0, 0.05, 0.0, text("distance_field"), text("distance_info"), step=0.001)
    seed: int = form.number(0, text("seed"))


PAGE = page.declare(
    PAPER,
    Question,
    try_it=page.Try(
        answer.edit,
        text("edit"),
        {"view": frames.stage, "film": output, "made": runs.kept},
        more=answer.more,
    ),
    examples=page.Examples(examples, answer.OPENING, answer.fill),
    reactions={"checkpoint": answer.own_fields},
    settle=answer.own_fields,
    compare=[
        page.tab(PAPER, "methods", compare.methods, in_turn=True),
        page.tab(PAPER, "grid", compare.plane),
        page.tab(PAPER, "between", compare.between, slots=STAGE, inputs=compare.Other),
    ],
    inside=[
        page.tab(PAPER, "channels", inside.channels),
        page.tab(PAPER, "channel", inside.channel, slots=STAGE, inputs=inside.Place),
        page.tab(PAPER, "layers", inside.layers, inputs=compare.Other),
        page.tab(PAPER, "noise", inside.noise, slots=STAGE),
        *page.traced(PAPER, inside.values, text("no_generator")),
    ],
    walk=walkthrough.of_page(PAPER, lessons.KINDS, slot=frames.stage),
    train=[train.tab(training.LIVE), page.Html("numbers", text("numbers"), partial(numbers.of_page, PAPER))],
    endpoints=[answer.styleclip_edit, answer.styleclip_generate],
)
