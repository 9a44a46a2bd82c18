"""The ViLT page: answers, matching, masked words; words over patches; the prior, the cost and the price of retrieval."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from demos.kit import batch, form, library, numbers, page, walkthrough
from demos.kit.components import output
from demos.vilt import answer, compare, draw, inside, lessons
from demos.vilt.words import PAPER, text


@dataclass(frozen=True)
class Question:
    """What the page asks: an image, what is wanted, and a question or a sentence."""

    checkpoint: str = form.checkpoint(PAPER)
    image: str | None = form.image(height=280)
    task: str = form.choice(library.options(PAPER, "task"), "answer", text("task"))
    text: str = form.words(text("text"), text("text_info"), longest=300)


PAGE = page.declare(
    PAPER,
    Question,
    try_it=page.Try(
        answer.run_task,
        text("ask"),
        {"answer": output, "map": draw.stage},
        files=answer.files,
        more=answer.suggestions,
    ),
    examples=page.Examples(answer.rows, answer.OPENING, answer.fill),
    compare=[
        page.tab(PAPER, "prior", compare.prior),
        page.tab(PAPER, "cost", compare.cost),
        page.tab(PAPER, "retrieval", compare.retrieval, inputs=compare.Collection),
    ],
    inside=page.traced(PAPER, inside.values),
    walk=walkthrough.of_page(PAPER, lessons.KINDS),
    train=[page.Html("numbers", text("numbers"), partial(numbers.of_page, PAPER))],
    many=batch.Many(answer.many),
    endpoints=[answer.vilt_answer, answer.vilt_match, answer.vilt_fill],
)
