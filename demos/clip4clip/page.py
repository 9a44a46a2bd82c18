"""The CLIP4Clip page: a sentence ranks a shelf of clips; four ways to make one of many frames."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from demos.clip4clip import answer, compare, inside, lessons, training
from demos.clip4clip.words import PAPER, text
from demos.kit import batch, form, library, numbers, page, train
from demos.kit.components import output, stage
from demos.kit.places import folded


def shelf(elem_id: str) -> object:
    """The place of the ranked clips, whose frames play them."""
    return stage(elem_id, scripts=("players.js",))


@dataclass(frozen=True)
class Question:
    """The inputs of the page: a shelf of clips and a sentence."""

    checkpoint: str = form.checkpoint(PAPER)
    clips: str = form.choice(library.options(PAPER, "clips"), "drawn", text("clips"), place="side")
    own: tuple[str, ...] | None = form.videos(text("own"), height=130)
    query: str = form.words(text("query"), text("query_info"), longest=300)
    head: str = form.choice(library.options(PAPER, "heads"), answer.OPENING_HEAD, text("head"))
    order: str = form.choice(
        library.options(PAPER, "orders"), "ordinary", text("order"), text("order_info"), place="settings"
    )


PAGE = page.declare(
    PAPER,
    Question,
    try_it=page.Try(
        answer.rank,
        text("rank"),
        {"shelf": shelf, "table": folded(text("all_scores"))},
        files=answer.files,
    ),
    examples=page.Examples(answer.examples, answer.OPENING, answer.fill),
    reactions={"checkpoint": answer.own_head},
    settle=answer.own_head,
    compare=[page.tab(PAPER, "heads", compare.heads), page.tab(PAPER, "clip", compare.untrained)],
    inside=[
        page.tab(PAPER, "table", inside.table, slots={"out": output, "histogram": output}),
        page.tab(PAPER, "neighbours", inside.neighbours),
        *page.traced(PAPER, inside.values),
    ],
    walk=lessons.walkthrough(shelf),
    train=[train.tab(training.LIVE), page.Html("numbers", text("numbers"), partial(numbers.of_page, PAPER))],
    many=batch.Many(answer.many, batch.CLIPS),
    endpoints=[answer.clip4clip_rank],
)
