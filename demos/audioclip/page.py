"""The AudioCLIP page: a sound finds words and images; three similarity matrices; filters that learned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from demos.audioclip import answer, compare, inside, lessons, training
from demos.audioclip.words import PAPER, text
from demos.kit import batch, form, library, numbers, page, train
from demos.kit.components import output, stage
from demos.kit.places import folded


def player(elem_id: str) -> object:
    """The place of a sound whose curve plays it."""
    return stage(elem_id, scripts=("players.js",))


@dataclass(frozen=True)
class Question:
    """The inputs of the page: a sound, images, labels."""

    checkpoint: str = form.checkpoint(PAPER)
    sound: str | None = form.sound(text("sound"))
    images: str = form.choice(library.options(PAPER, "images"), "drawn", text("images"), place="side")
    own: tuple[str, ...] | None = form.upload(text("own"), place="side", height=110)
    labels: str = form.chips()


PAGE = page.declare(
    PAPER,
    Question,
    try_it=page.Try(
        answer.listen,
        text("listen"),
        {"bars": output, "player": player, "images": output, "matrices": folded(text("matrices"))},
        files=answer.files,
    ),
    examples=page.Examples(answer.examples, answer.OPENING, answer.fill),
    compare=[page.tab(PAPER, "clap", compare.rows), page.tab(PAPER, "ways", compare.ways)],
    inside=[
        page.tab(PAPER, "filters", inside.filters),
        page.tab(PAPER, "bands", inside.bands),
        *page.traced(PAPER, inside.values, text("no_tower")),
    ],
    walk=lessons.walkthrough(player),
    many=batch.Many(answer.many, batch.SOUNDS),
    train=[train.tab(training.LIVE), page.Html("numbers", text("numbers"), partial(numbers.of_page, PAPER))],
    endpoints=[answer.audioclip_compare],
)
