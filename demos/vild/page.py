"""The ViLD page: an image, labels that come and go, and a box for each thing that they name."""

from __future__ import annotations

from dataclasses import dataclass

from demos.kit import batch, form, label_choices, page
from demos.kit.components import output, pick_box, stage
from demos.kit.layout import Layout
from demos.kit.walkthrough import Walkthrough
from demos.vild import answer, inside, lessons
from demos.vild.draw import VARIANTS
from demos.vild.words import PAPER, text


@dataclass(frozen=True)
class Question:
    """The inputs of the page: an image, labels, and how they are compared."""

    checkpoint: str = form.checkpoint(PAPER)
    image: str | None = form.image(height=280)
    labels: str = form.chips()
    variant: str = form.choice(
        {name: VARIANTS[name] for name in answer.variants_of("")},
        answer.variant_for(answer.VARIANT, ""),
        text("variant"),
    )
    threshold: float = form.slider(0, 1, 0.5, text("threshold"), text("threshold_info"), step=0.01)
    proposals: float = form.slider(
        1, answer.MOST_PROPOSALS, answer.PROPOSALS, text("proposals"), text("proposals_info")
    )
    across_labels: bool = form.switch(False, text("one_label"), text("one_label_info"))
    by_label: str = label_choices.by_label_field()
    negatives: str = label_choices.negatives_field()


def inspect_on_click(layout: Layout) -> None:
    """Shows the region of a box that is clicked."""
    clicked = pick_box("inspect")
    layout.update(clicked.change, layout.places[0], answer.inspect, [clicked])


PAGE = page.declare(
    PAPER,
    Question,
    try_it=page.Try(
        answer.detect,
        text("detect"),
        {"figure": stage, "region": output},
        answer.files,
        more=inspect_on_click,
    ),
    examples=page.labelled(PAPER, "toy_shelf"),
    reactions={"variant": answer.own_threshold, "checkpoint": answer.other_checkpoint},
    compare=[
        page.tab(
            PAPER,
            "variants",
            answer.compare,
            slots={"out": stage},
            inputs=lambda layout: [layout.form.example],
        ),
        page.tab(PAPER, "closed", answer.closed, slots={"out": stage}),
    ],
    inside=[
        page.Custom("regions", text("regions_title"), inside.proposals_tab),
        page.tensors_tab(inside.arrays, text("tensors_idea")),
        page.code_tab(inside.code),
    ],
    walk=Walkthrough(
        lessons.lessons, lessons.choices, lessons.card, lessons.outcome, text("walk_idea"), stage
    ),
    many=batch.Many(answer.many),
    prepare=answer.crops,
    opening=answer.own_threshold,
    settle=answer.settle,
    endpoints=[answer.vild_detect],
)
