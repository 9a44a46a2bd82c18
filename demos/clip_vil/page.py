"""The CLIP-ViL page: one question, three encoders side by side, where each looks; learning curves; a head that learns live."""

from __future__ import annotations

from dataclasses import dataclass

from demos.clip_vil import answer, compare, inside, lessons, training
from demos.clip_vil.words import PAPER, text
from demos.kit import batch, form, page, train, walkthrough
from demos.kit.components import output


@dataclass(frozen=True)
class Question:
    """What the page asks: an image and a question about it."""

    checkpoint: str = form.checkpoint(PAPER)
    image: str | None = form.image(height=280)
    question: str = form.words(text("question"), text("question_info"), longest=300)


PAGE = page.declare(
    "clip-vil",
    Question,
    try_it=page.Try(answer.ask, text("ask"), {"answers": output}, files=answer.files),
    examples=page.Examples(answer.rows, answer.OPENING, answer.fill),
    compare=[
        page.tab(PAPER, "scenes", compare.scenes),
        page.tab(PAPER, "blind", compare.blind),
        page.tab(PAPER, "descendant", compare.descendant),
    ],
    inside=[page.tab(PAPER, "words", inside.words), *page.traced(PAPER, inside.values, text("no_grid"))],
    walk=walkthrough.of_page(PAPER, lessons.KINDS, card=lessons.card),
    train=[
        train.tab(training.LIVE),
        page.Html("table", text("table"), inside.table, text("table_idea")),
        page.Html("numbers", text("numbers"), inside.published),
    ],
    many=batch.Many(answer.many),
    endpoints=[answer.clip_vil_answer],
)
