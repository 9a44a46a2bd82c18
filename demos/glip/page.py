"""The GLIP page: a sentence finds its boxes; the alignment of words and regions; how the model was trained."""

from __future__ import annotations

from dataclasses import dataclass

from demos.glip import answer, inside, lessons, words
from demos.glip.words import PAPER
from demos.kit import batch, form, label_choices, page, walkthrough
from demos.kit.components import stage
from demos.kit.places import folded

# The browser hides boxes below the threshold; Python reads the slider for a table or a file.
HIDE = """(value) => {
  const place = document.querySelector("#try-figure .gl-figure");
  if (place) place.dispatchEvent(new CustomEvent("atlas-threshold", { detail: value, bubbles: true }));
}"""


@dataclass(frozen=True)
class Question:
    """The inputs of the page: an image and a prompt."""

    checkpoint: str = form.checkpoint(PAPER)
    image: str | None = form.image(height=280)
    mode: str = form.choice({name: words.text(name) for name in answer.MODES}, "sentence", words.text("mode"))
    text: str = form.words(words.text("text"), words.text("text_info"), longest=3_000)
    threshold: float = form.slider(
        0, 1, 0.5, words.text("threshold"), words.text("threshold_info"), step=0.01, script=HIDE
    )
    across_labels: bool = form.switch(False, words.text("one_phrase"), words.text("one_phrase_info"))
    by_label: str = label_choices.by_label_field()
    negatives: str = label_choices.negatives_field()


def figure(elem_id: str) -> object:
    """The place of the image and its boxes, below the prompt."""
    return stage(elem_id, scripts=("detect.js", "grounding.js"))


PAGE = page.declare(
    PAPER,
    Question,
    try_it=page.Try(
        answer.ground,
        words.text("find"),
        {"figure": figure, "table": folded(words.text("all_boxes"))},
        files=answer.files,
        more=answer.table_on_release,
    ),
    examples=page.Examples(answer.examples, answer.OPENING, answer.fill, answer.scene),
    reactions={"mode": answer.other_mode, "checkpoint": answer.own_threshold},
    inside=[
        page.tab(PAPER, "alignment", inside.alignment),
        *page.traced(PAPER, inside.values, words.text("descendant")),
    ],
    walk=walkthrough.of_page(
        PAPER,
        lessons.KINDS,
        lessons=lessons.lessons,
        choices=lessons.choices,
        card=lessons.card,
        slot=figure,
    ),
    train=[page.Html("numbers", words.text("training_title"), inside.training, words.text("training"))],
    many=batch.Many(answer.many),
    prepare=answer.prompts,
    opening=answer.own_threshold,
    endpoints=[answer.glip_ground],
)
