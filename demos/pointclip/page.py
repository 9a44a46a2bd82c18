"""The PointCLIP page: a cloud and its depth images, labels, view weights, both projections, few shots."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from demos.kit import batch, form, library, numbers, page
from demos.kit.components import output
from demos.kit.walkthrough import Walkthrough
from demos.pointclip import answer, draw, inside, lessons, shots
from demos.pointclip.words import PAPER, examples, text


def weight(number: int) -> float:
    """The slider of a view's weight."""
    title = text("weight")
    label = type(title)(title.en.format(number=number), title.zh.format(number=number))
    return form.slider(0, 1, 1.0, label, step=0.05)


@dataclass(frozen=True)
class Question:
    """What the page asks: a cloud, labels, how it is projected, and what each view counts."""

    checkpoint: str = form.checkpoint("clip")
    cloud: str | None = answer.cloud_field()
    labels: str = form.chips()
    projection: str = form.choice(library.options(PAPER, "projection"), "v1", text("projection"))
    template: str = form.words(text("template"), text("template_info"), place="settings", longest=300)
    up: str = form.choice(library.options(PAPER, "up"), "auto", text("up"), place="settings")
    weight_1: float = weight(1)
    weight_2: float = weight(2)
    weight_3: float = weight(3)
    weight_4: float = weight(4)
    weight_5: float = weight(5)
    weight_6: float = weight(6)
    weight_7: float = weight(7)
    weight_8: float = weight(8)
    weight_9: float = weight(9)
    weight_10: float = weight(10)


PAGE = page.declare(
    PAPER,
    Question,
    try_it=page.Try(
        answer.classify,
        text("classify"),
        {"bars": output, "turning": draw.viewer, "views": output},
        files=answer.files,
        more=answer.weights_note,
    ),
    examples=page.Examples(examples, answer.OPENING, answer.fill),
    compare=[page.tab(PAPER, "projections", inside.both)],
    inside=page.traced(PAPER, inside.values),
    walk=Walkthrough(partial(library.lessons, PAPER), lessons.choices, lessons.card, lessons.outcome),
    train=[
        page.tab(PAPER, "shots", shots.curve, slots={"curve": output, "table": output}, in_turn=True),
        page.Html("numbers", text("numbers"), partial(numbers.of_page, PAPER)),
    ],
    many=batch.Many(answer.many, batch.CLOUDS),
    endpoints=[answer.pointclip_classify],
)
