"""The ActionCLIP page: actions typed freely get probabilities over time; prompts of labels and of the network; the KL target."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from demos.actionclip import answer, compare, inside, lessons
from demos.actionclip.words import PAPER, text
from demos.kit import batch, form, library, numbers, page
from demos.kit.components import output, stage


def player(elem_id: str) -> object:
    """The place of a clip whose frames play it."""
    return stage(elem_id, scripts=("players.js",))


@dataclass(frozen=True)
class Question:
    """The inputs of the page: a clip, actions, sentences and prompts."""

    checkpoint: str = form.checkpoint(PAPER)
    video: str | None = form.video(text("video"), camera=True, height=110)
    labels: str = form.chips()
    sentences: str = form.choice(
        library.options(PAPER, "sentences"), "all", text("sentences"), place="settings"
    )
    prompts: tuple[str, ...] = form.several(
        library.options(PAPER, "prompts"), answer.ALL, text("prompts"), place="settings"
    )


PAGE = page.declare(
    PAPER,
    Question,
    try_it=page.Try(
        answer.classify,
        text("classify"),
        {"bars": output, "clip": player, "time": output},
        files=answer.files,
    ),
    examples=page.Examples(answer.examples, answer.OPENING, answer.fill),
    compare=[page.tab(PAPER, "templates", compare.templates), page.tab(PAPER, "switched", compare.switched)],
    inside=[
        page.tab(PAPER, "timeline", inside.timeline),
        page.tab(PAPER, "target", inside.target),
        *page.traced(PAPER, inside.values),
    ],
    walk=lessons.walkthrough(player),
    train=[page.Html("numbers", text("numbers"), partial(numbers.of_page, PAPER))],
    many=batch.Many(answer.many, batch.CLIPS),
    endpoints=[answer.actionclip_classify],
)
