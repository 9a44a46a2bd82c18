"""The GroupViT page: groups that take a label or none, the threshold, true names, groups across images, live training."""

from __future__ import annotations

from dataclasses import dataclass

from demos.groupvit import answer, inside, lessons, tabs
from demos.groupvit.words import PAPER, text
from demos.kit import batch, form, mask_training, page, walkthrough
from demos.kit.components import mask_stage, output
from demos.kit.places import folded


@dataclass(frozen=True)
class Question:
    """What the page asks: an image, labels, and the score below which a group is background."""

    checkpoint: str = form.checkpoint(PAPER)
    image: str | None = form.image(height=280)
    labels: str = form.chips()
    threshold: float = form.slider(
        0, 1, 0.5, text("threshold"), text("threshold_info"), step=0.01, followed=True, place="top"
    )


PAGE = page.declare(
    PAPER,
    Question,
    try_it=page.Try(
        answer.segment,
        text("segment"),
        {"mask": mask_stage, "chart": output, "table": folded(text("all_scores"))},
        files=answer.files,
        more=answer.follow,
    ),
    examples=answer.EXAMPLES,
    reactions={"checkpoint": answer.own_threshold},
    compare=[page.Custom("names", text("names_title"), tabs.names)],
    inside=[
        page.tab(PAPER, "row", inside.across, slots=inside.ROW_SLOTS),
        page.Custom("crowd", text("crowd_title"), tabs.crowd),
        *page.traced(PAPER, inside.values),
    ],
    walk=walkthrough.of_page(PAPER, lessons.KINDS, slot=mask_stage),
    train=[
        mask_training.tab(PAPER, text("live"), text("iou")),
        page.Html("numbers", text("numbers"), inside.published),
    ],
    many=batch.Many(answer.many),
    opening=answer.own_threshold,
    endpoints=[answer.groupvit_segment],
)
