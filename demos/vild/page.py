"""The ViLD page: an image, labels that come and go, and a box for each thing that they name."""

from __future__ import annotations

from dataclasses import dataclass

from demos.kit import batch, form, page
from demos.kit.components import output, pick_box, stage
from demos.kit.language import Text
from demos.kit.walkthrough import Walkthrough
from demos.vild import answer, inside, lessons
from demos.vild.draw import VARIANTS

VARIANT = Text("Version of ViLD", "ViLD 版本")
THRESHOLD = Text("Minimum score", "最低得分")
THRESHOLD_INFO = Text("Boxes with a lower score are left out.", "得分更低的框不显示。")
PROPOSALS = Text("Number of candidate boxes", "候选框数量")
PROPOSALS_INFO = Text(
    "The boxes that most likely contain an object are compared with the labels.",
    "只把最可能含有物体的这些框与标签比较。",
)
ONE_LABEL = Text("One label for each object", "每个物体只保留一个标签")
ONE_LABEL_INFO = Text(
    "Where boxes of different labels overlap, only the best one is kept.",
    "不同标签的框重叠时，只保留得分最高的。",
)
VARIANTS_IDEA = Text(
    "Every version of the paper with the same image and labels, each at its recommended minimum score. Predict first: which "
    "one is best on base labels, and which one on novel labels?",
    "用同一张图片和同样的标签运行论文的每个版本，各用推荐的最低得分。请先预测：哪个版本在基础类上最好，哪个在新类上最好？",
)
CLOSED_IDEA = Text(
    "An ordinary detector: its classes are fixed when it is trained. Beside it, the same network with your labels.",
    "普通的检测器：类别在训练时就固定了。旁边是同一个网络，使用你的标签。",
)


@dataclass(frozen=True)
class Question:
    """The inputs of the page: an image, labels, and how they are compared."""

    checkpoint: str = form.checkpoint(answer.PAPER)
    image: str | None = form.image(height=280)
    labels: str = form.chips()
    variant: str = form.choice(
        {name: VARIANTS[name] for name in answer.variants_of("")},
        answer.variant_for(answer.VARIANT, ""),
        VARIANT,
    )
    threshold: float = form.slider(0, 1, 0.5, THRESHOLD, THRESHOLD_INFO, step=0.01)
    proposals: float = form.slider(1, answer.MOST_PROPOSALS, answer.PROPOSALS, PROPOSALS, PROPOSALS_INFO)
    across_labels: bool = form.switch(False, ONE_LABEL, ONE_LABEL_INFO)


def inspect_on_click(layout: page.Layout) -> None:
    """Shows the region of a box that is clicked."""
    clicked = pick_box("inspect")
    layout.update(clicked.change, layout.places[0], answer.inspect, [clicked])


PAGE = page.declare(
    answer.PAPER,
    Question,
    try_it=page.Try(
        answer.detect,
        Text("Detect", "检测"),
        {"figure": stage, "region": output},
        files=answer.files,
        more=inspect_on_click,
    ),
    examples=page.Examples(answer.examples, answer.OPENING, answer.fill, answer.scene),
    reactions={"variant": answer.own_threshold, "checkpoint": answer.other_checkpoint},
    compare=[
        page.Tab(
            "variants",
            Text("All versions", "所有版本"),
            VARIANTS_IDEA,
            answer.compare,
            Text("Run all versions", "运行所有版本"),
            {"out": stage},
            inputs=lambda layout: [layout.form.example],
        ),
        page.Tab(
            "closed",
            Text("Closed vocabulary", "封闭词表"),
            CLOSED_IDEA,
            answer.closed,
            Text("Compare both", "比较两者"),
            {"out": stage},
        ),
    ],
    inside=[
        page.Custom("regions", Text("Candidate boxes", "候选框"), inside.proposals_tab),
        page.tensors_tab(inside.tensors, inside.TENSORS_IDEA),
        page.code_tab(inside.code),
    ],
    walk=Walkthrough(lessons.lessons, lessons.choices, lessons.card, lessons.outcome, lessons.IDEA, stage),
    many=batch.Many(answer.many),
    prepare=answer.crops,
    opening=answer.own_threshold,
    settle=answer.settle,
    endpoints=[answer.vild_detect],
)
