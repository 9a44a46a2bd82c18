"""The LSeg page: labels that come and go and a mask that follows them, regularization blocks, lessons, live training."""

from __future__ import annotations

from dataclasses import dataclass

from demos.kit import batch, form, mask_training, page, walkthrough
from demos.kit.components import mask_stage
from demos.lseg import answer, blocks, inside, lessons
from demos.lseg.words import PAPER, text


@dataclass(frozen=True)
class Question:
    """What the page asks: an image and labels; `held` is the label that has each colour."""

    checkpoint: str = form.checkpoint(PAPER)
    way: str = form.choice({way: text(way) for way in answer.WAYS}, "lseg", text("model"), place="side")
    image: str | None = form.image(height=280)
    labels: str = form.chips()
    plain: str = form.menu(answer.plain_choices, "", text("plain"))
    held: tuple[str, ...] = form.memory(())


PAGE = page.declare(
    PAPER,
    Question,
    try_it=page.Try(answer.segment, text("segment"), {"mask": mask_stage}, files=answer.files),
    examples=answer.EXAMPLES,
    reactions={"way": answer.plain_menu},
    compare=[page.tab(PAPER, "blocks", blocks.compare)],
    inside=[
        page.tab(PAPER, "maps", inside.maps),
        page.tensors_tab(inside.arrays, text("tensors")),
        page.code_tab(inside.code),
    ],
    walk=walkthrough.of_page(
        PAPER, lessons.KINDS, choices=lessons.choices, card=lessons.card, slot=mask_stage
    ),
    train=[mask_training.tab(PAPER, text("live"), text("iou"))],
    many=batch.Many(answer.many),
    opening=answer.first_plain,
    endpoints=[answer.lseg_segment, blocks.lseg_regularize],
)
