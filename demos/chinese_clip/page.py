"""The Chinese-CLIP page: labels in Chinese, the sheep lesson, the way of a Chinese label, the training in two stages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from demos.chinese_clip import answer, compare, inside, lessons, stages
from demos.chinese_clip.draw import PAGE as FOLDER
from demos.chinese_clip.draw import text
from demos.kit import batch, form, library, page, train
from demos.kit.components import output
from demos.kit.language import Text
from demos.kit.walkthrough import Walkthrough


@dataclass(frozen=True)
class Question:
    """What the page asks: an image and labels in Chinese, with their meaning in English."""

    checkpoint: str = form.checkpoint("clip", language="zh", remember="chinese-clip")
    image: str | None = form.image()
    labels: str = form.words(text("labels"), lines=2)
    english: str = form.words(text("english"), lines=2)
    template: str = form.menu(answer.templates, "none", Text("Prompt template", "提示模板"))
    own: str = form.words(text("own"), place="settings", placeholder="一张{}的照片。")


PAGE = page.declare(
    "chinese-clip",
    Question,
    try_it=page.Try(
        answer.classify,
        Text("Classify", "分类"),
        {"bars": output, "lesson": answer.lesson_slot},
        opening=answer.opening,
    ),
    examples=page.Examples(answer.examples, answer.OPENING, answer.fill),
    compare=[
        page.tab(
            FOLDER,
            "readers",
            compare.readers,
            slots={"out": output, "tokens": output, "noise": compare.noise_slot},
        ),
        page.tab(FOLDER, "names", compare.agree, inputs=compare.name_boxes),
    ],
    inside=[page.tensors_tab(inside.tensors, text("inside")), page.code_tab(inside.code)],
    walk=Walkthrough(partial(library.lessons, FOLDER), lessons.choices, lessons.card, lessons.outcome),
    train=[train.tab(stages.LIVE)],
    many=batch.Many(answer.many),
    endpoints=[answer.chinese_clip_classify, answer.chinese_clip_tokens],
)
