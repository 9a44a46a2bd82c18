"""The LSeg page: labels that come and go and a mask that follows them, regularization blocks, lessons, live training."""

from __future__ import annotations

from dataclasses import dataclass

from demos.kit import batch, form, mask_training, page
from demos.kit.components import mask_stage
from demos.kit.language import Text
from demos.kit.walkthrough import Walkthrough
from demos.lseg import answer, blocks, inside, lessons

WAYS = {
    "lseg": Text("The checkpoint above", "上面的权重"),
    "maskclip": Text("A plain CLIP with MaskCLIP's trick", "普通 CLIP 加 MaskCLIP 的技巧"),
}
PLAIN = Text("CLIP for MaskCLIP's trick", "MaskCLIP 所用的 CLIP")
LIVE = Text(
    "The decoder of a small LSeg starts from what CLIP says of each place. From masks it learns which pixels are background "
    "and where things end. The mask belongs to a pair of things that no training scene shows together. **Predict first:** "
    "does it learn sooner *where* the things are, or *what* they are?",
    "小型 LSeg 的解码器从 CLIP 对每个位置的判断出发，再从掩码中学会哪些像素是背景、物体的边缘在哪里。"
    "图中这一对物体从未在训练场景里同时出现。**先猜一猜**：它先学会“在哪里”，还是先学会“是什么”？",
)
IOU = Text("IoU of this scene", "这个场景的 IoU")


@dataclass(frozen=True)
class Question:
    """What the page asks: an image and labels; `held` is the label that has each colour."""

    checkpoint: str = form.checkpoint("lseg")
    way: str = form.choice(WAYS, "lseg", Text("Model", "模型"), place="side")
    image: str | None = form.image(height=280)
    labels: str = form.chips()
    plain: str = form.menu(answer.plain_choices, "", PLAIN)
    held: tuple[str, ...] = form.memory(())


PAGE = page.declare(
    "lseg",
    Question,
    try_it=page.Try(answer.segment, Text("Segment", "分割"), {"mask": mask_stage}, files=answer.files),
    examples=page.Examples(answer.examples, answer.OPENING, answer.fill, answer.scene),
    reactions={"way": answer.plain_menu},
    compare=[
        page.Tab("blocks", Text("Regularization", "正则化"), blocks.IDEA, blocks.compare, blocks.BUTTON)
    ],
    inside=[
        page.Tab("maps", Text("Every label's map", "各标签的图"), inside.MAPS, inside.maps),
        page.tensors_tab(inside.tensors, inside.TENSORS),
        page.code_tab(inside.code),
    ],
    walk=Walkthrough(lessons.lessons, lessons.choices, lessons.card, lessons.outcome, slot=mask_stage),
    train=[mask_training.tab("lseg", LIVE, IOU)],
    many=batch.Many(answer.many),
    opening=answer.first_plain,
    endpoints=[answer.lseg_segment, blocks.lseg_regularize],
)
