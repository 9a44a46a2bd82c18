"""The GroupViT page: groups that take a label or none, the threshold, true names, groups across images, live training."""

from __future__ import annotations

from dataclasses import dataclass

from demos.groupvit import answer, inside, lessons, tabs
from demos.kit import batch, form, mask_training, page
from demos.kit.components import mask_stage, output
from demos.kit.language import Text
from demos.kit.places import folded
from demos.kit.walkthrough import Walkthrough

THRESHOLD = Text("Background threshold", "背景阈值")
THRESHOLD_INFO = Text(
    "A group whose best label scores less is background. Predict first: what happens at 0, and at 1?",
    "最高得分低于阈值的组是背景。先猜一猜：放到 0 会怎样？放到 1 呢？",
)
LIVE = Text(
    "A small GroupViT learns from captions alone which patches belong together. No mask is ever used. **Predict first:** will "
    "its groups follow the two things, or their parts?",
    "小型 GroupViT 只从图片描述中学习哪些图块属于一起，从不使用掩码。"
    "**先猜一猜**：它的分组会跟着两个物体走，还是跟着物体的部件走？",
)
IOU = Text("IoU of this scene, each group with its true name", "这个场景的 IoU（每组用真实名称）")


@dataclass(frozen=True)
class Question:
    """What the page asks: an image, labels, and the score below which a group is background."""

    checkpoint: str = form.checkpoint("groupvit")
    image: str | None = form.image(height=280)
    labels: str = form.chips()
    threshold: float = form.slider(
        0, 1, 0.5, THRESHOLD, THRESHOLD_INFO, step=0.01, followed=True, place="top"
    )


PAGE = page.declare(
    "groupvit",
    Question,
    try_it=page.Try(
        answer.segment,
        Text("Segment", "分割"),
        {
            "mask": mask_stage,
            "chart": output,
            "table": folded(Text("Scores of all groups and labels", "所有组与标签的得分")),
        },
        files=answer.files,
        more=answer.follow,
    ),
    examples=page.Examples(answer.examples, answer.OPENING, answer.fill, answer.scene),
    reactions={"checkpoint": answer.own_threshold},
    compare=[page.Custom("names", Text("True names", "真实名称"), tabs.names)],
    inside=[
        page.Tab(
            "row", Text("Groups", "分组"), inside.ROW, inside.across, inside.ROW_BUTTON, inside.ROW_SLOTS
        ),
        page.Custom("crowd", Text("More than eight things", "超过八样东西"), tabs.crowd),
        page.tensors_tab(inside.tensors),
        page.code_tab(inside.code),
    ],
    walk=Walkthrough(lessons.lessons, lessons.choices, lessons.card, lessons.outcome, slot=mask_stage),
    train=[
        mask_training.tab("groupvit", LIVE, IOU),
        page.Html("numbers", Text("Numbers", "数值"), inside.numbers),
    ],
    many=batch.Many(answer.many),
    opening=answer.own_threshold,
    endpoints=[answer.groupvit_segment],
)
