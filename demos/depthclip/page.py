"""The DepthCLIP page: a depth map from words, the words at each place, edited bins, truth, learned bins."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from demos.depthclip import answer, draw, inside, lessons, truth
from demos.depthclip.words import PAPER, text
from demos.kit import batch, form, numbers, page, walkthrough
from demos.kit.components import output


@dataclass(frozen=True)
class Question:
    """What the page asks: an image, words with their metres, the sentence around them, the temperature."""

    checkpoint: str = form.checkpoint("clip")
    image: str | None = form.image(height=280)
    words: str = form.words(text("words"), text("words_info"), lines=6)
    template: str = form.words(text("template"), text("template_info"), place="settings", longest=300)
    thing: str = form.words(text("thing"), place="settings", longest=100)
    temperature: float = form.slider(
        0.05, 20.0, 5.0, text("temperature"), text("temperature_info"), step=0.05, place="settings"
    )


PAGE = page.declare(
    PAPER,
    Question,
    try_it=page.Try(
        answer.estimate,
        text("estimate"),
        {"map": draw.stage, "table": output},
        files=answer.files,
    ),
    examples=page.Examples(answer.rows, answer.OPENING, answer.fill),
    reactions={"checkpoint": answer.own_words},
    opening=answer.own_words,
    compare=[
        page.tab(PAPER, "truth", truth.scenes),
        page.tab(PAPER, "own", truth.own, inputs=truth.Own),
        page.tab(PAPER, "supervised", truth.supervised),
    ],
    inside=page.traced(PAPER, inside.values),
    walk=walkthrough.of_page(PAPER, lessons.KINDS),
    train=[
        page.tab(PAPER, "bins", truth.learn, slots={"bins": output, "errors": output}),
        page.Html("numbers", text("numbers"), partial(numbers.of_page, PAPER)),
    ],
    many=batch.Many(answer.many),
    endpoints=[answer.depthclip_estimate],
)
