"""The GLIP page: a sentence finds its boxes; the alignment of words and regions; how the model was trained."""

from __future__ import annotations

from dataclasses import dataclass

from demos.glip import answer, inside, lessons
from demos.kit import batch, form, page
from demos.kit.components import stage
from demos.kit.language import Text
from demos.kit.places import folded
from demos.kit.walkthrough import Walkthrough

MODES = {
    "sentence": Text("A sentence (grounding)", "一句话（定位）"),
    "labels": Text("A list of labels (detection)", "一组标签（检测）"),
}
TEXT = Text("Sentence, or labels with commas", "句子，或用逗号隔开的标签")
TEXT_INFO = Text(
    "Things named in a sentence get boxes. Labels are joined into one prompt.",
    "句子里提到的物体会被框出来；标签会连成一个提示。",
)
THRESHOLD = Text("Minimum score", "最低得分")
THRESHOLD_INFO = Text(
    "Boxes with a lower score are hidden. The model does not run again.",
    "得分更低的框会被隐藏，模型不会重新运行。",
)
ONE_PHRASE = Text("One phrase for each object", "每个物体只对应一个短语")
ONE_PHRASE_INFO = Text(
    "Where boxes of different phrases overlap, only the best one is kept.",
    "不同短语的框重叠时，只保留得分最高的。",
)
# The browser hides boxes below the threshold; Python reads the slider for a table or a file.
HIDE = """(value) => {
  const place = document.querySelector("#try-figure .gl-figure");
  if (place) place.dispatchEvent(new CustomEvent("atlas-threshold", { detail: value, bubbles: true }));
}"""


@dataclass(frozen=True)
class Question:
    """The inputs of the page: an image and a prompt."""

    checkpoint: str = form.checkpoint("glip")
    image: str | None = form.image(height=280)
    mode: str = form.choice(MODES, "sentence", Text("Kind of prompt", "提示的类型"))
    text: str = form.words(TEXT, TEXT_INFO, longest=3_000)
    threshold: float = form.slider(0, 1, 0.5, THRESHOLD, THRESHOLD_INFO, step=0.01, script=HIDE)
    across_labels: bool = form.switch(False, ONE_PHRASE, ONE_PHRASE_INFO)


def figure(elem_id: str) -> object:
    """The place of the image and its boxes, below the prompt."""
    return stage(elem_id, scripts=("detect.js", "grounding.js"))


PAGE = page.declare(
    "glip",
    Question,
    try_it=page.Try(
        answer.ground,
        Text("Find the boxes", "找框"),
        {
            "figure": figure,
            "table": folded(Text("All boxes above the minimum score", "最低得分以上的所有框")),
        },
        files=answer.files,
        more=answer.table_on_release,
    ),
    examples=page.Examples(answer.examples, answer.OPENING, answer.fill, answer.scene),
    reactions={"mode": answer.other_mode, "checkpoint": answer.own_threshold},
    inside=[
        page.Tab("alignment", Text("Alignment", "对齐"), inside.ALIGNMENT, inside.alignment),
        page.tensors_tab(inside.tensors),
        page.code_tab(inside.code),
    ],
    walk=Walkthrough(lessons.lessons, lessons.choices, lessons.card, lessons.outcome, slot=figure),
    train=[page.Html("numbers", Text("Self-training", "自训练"), inside.training, inside.TRAINING)],
    many=batch.Many(answer.many),
    prepare=answer.prompts,
    opening=answer.own_threshold,
    endpoints=[answer.glip_ground],
)
