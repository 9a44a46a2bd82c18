"""*Look inside* and the numbers of the GroupViT page: a group across images, every shape, the code, published values."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from core import checkpoints, inputs
from demos.groupvit import draw
from demos.groupvit.answer import PAPER, examples, line_of, model, run
from demos.groupvit.tabs import CROWD, progress
from demos.kit import files as files_in
from demos.kit import library, results
from demos.kit import numbers as tables
from demos.kit.components import surface
from demos.kit.html import Markup
from demos.kit.language import Text, pick

if TYPE_CHECKING:
    from core.runtime import Cancel
    from core.segmentation import Grouping
    from core.segmentation.groupvit import Widths
    from demos.groupvit.page import Question

ROW = Text(
    "All images share the same groups. In the paper, one group of stage 1 is **eyes**, whatever the animal, and one group of "
    "stage 2 is **grass**. Choose a group to see where it is in every image.",
    "所有图片共用同样的组。论文里，第一阶段有一个组是**眼睛**，不管是什么动物；第二阶段有一个组是**草地**。选一个组，看它在每张图里的位置。",
)
ROW_BUTTON = Text("Show the groups of several images", "显示多张图片的分组")
ROW_SLOTS = {"out": partial(surface, script="groups.js", template="${value}")}


# --- one group across images -----------------------------------------------------------------------------


def row_names(checkpoint: str) -> list[str]:
    """The examples of the row: drawn ones for a miniature, photos for real weights."""
    drawn = checkpoints.row(checkpoint).bundled is not None
    return [name for name, row in examples().items() if row["classroom"] == drawn and name != CROWD]


def across(question: Question, lang: str, cancel: Cancel) -> Iterator[Any]:
    """The groups of the page's image and of several examples; Stop keeps the images that are done."""
    own = inputs.image(files_in.picture_source(question.image))
    segmenter = model(question.checkpoint)
    images = {inputs.digest(own): (pick(lang, "your image", "你的图片"), own)}
    for name in row_names(segmenter.checkpoint):
        row = examples()[name]
        image = inputs.image(row["path"])
        images[inputs.digest(image)] = row["caption"]["zh" if lang == "zh" else "en"], image
    made: list[draw.RowImage] = []
    counts, start = (0, 0), time.perf_counter()
    for caption, image in images.values():
        if cancel.is_set():
            break
        encoded = segmenter.encode(image)
        counts = len(encoded.stages[0]), len(encoded.stages[-1])
        made.append(draw.row_image(image, encoded, caption))
        yield progress(len(made), len(images), start, lang)
    if made:
        line = results.line(time.perf_counter() - start, segmenter.checkpoint, segmenter.device, lang)
        yield {"out": draw.group_row(made, counts, lang), "line": line}


# --- tensors and code ------------------------------------------------------------------------------------


def tensors(question: Question, lang: str) -> tuple[Any, str]:
    """The steps of one answer with their shapes, and the line."""
    answer = run(question)
    return steps(answer.grouping, model(question.checkpoint).widths), line_of(answer, lang)


def code(question: Question, lang: str) -> tuple[Any, dict[str, str], str]:
    """The cards of the page, what one answer made of them, and the line."""
    answer = run(question)
    values = made(answer.grouping, model(question.checkpoint).widths)
    return library.data(PAPER)["code"], values, line_of(answer, lang)


def steps(grouping: Grouping, widths: Widths) -> list[tuple[Text, str, Text]]:
    """The steps of one answer with the shapes that it had."""
    first, last = grouping.stages[0], grouping.stages[-1]
    (tokens, high, wide), slots = first.shape, len(last)
    count, dimension = grouping.text_features.shape
    pixels = f"{high * widths.patch}, {wide * widths.patch}"
    depths = " + ".join(str(depth) for depth in widths.depths)
    height, width = grouping.mask.shape
    return [
        (
            Text("image", "图片"),
            f"[1, 3, {pixels}]",
            Text("resized; the sides are multiples of a patch", "缩放到图块的整数倍"),
        ),
        (
            Text("patches", "图块"),
            f"[1, {high * wide}, {widths.width}]",
            Text(
                f"{high} × {wide} patches of {widths.patch} pixels",
                f"{high} × {wide} 个 {widths.patch} 像素的图块",
            ),
        ),
        (
            Text("+ group tokens", "＋ 组 token"),
            f"[1, {high * wide} + {tokens}, {widths.width}]",
            Text(
                f"learned, the same for every image; {depths} layers in all",
                f"由训练得到，对所有图片都一样；共 {depths} 层",
            ),
        ),
        (
            Text("grouping block 1", "分组块一"),
            f"[1, {tokens}, {high * wide}]",
            Text("each patch chooses one group", "每个图块选一个组"),
        ),
        (
            Text("grouping block 2", "分组块二"),
            f"[1, {slots}, {tokens}]",
            Text("each group of stage 1 chooses one of stage 2", "第一阶段的每个组再选第二阶段的一个组"),
        ),
        (
            Text("composed", "合成"),
            f"[{slots}, {tokens}] · [{tokens}, {high * wide}] = [{slots}, {high * wide}]",
            Text("the group of each patch", "每个图块所属的组"),
        ),
        (
            Text("group features", "组特征"),
            f"[{slots}, {dimension}]",
            Text(
                "projected, length 1; their mean is the image's feature",
                "投影后长度归一；平均就是整张图的特征",
            ),
        ),
        (
            Text("text features", "文本特征"),
            f"[{count}, {dimension}]",
            Text("one for each label, length 1", "每个标签一个，长度归一"),
        ),
        (
            Text("scores", "得分"),
            f"[{slots}, {dimension}] · [{dimension}, {count}] → [{slots}, {count}]",
            Text(
                "cosines, softmax over labels, only the five best labels",
                "余弦，对标签做 softmax，只留最好的五个标签",
            ),
        ),
        (
            Text("mask", "掩码"),
            f"[{height}, {width}]",
            Text("each pixel takes the label of its group, or none", "每个像素取所在组的标签，或者没有标签"),
        ),
    ]


def made(grouping: Grouping, widths: Widths) -> dict[str, str]:
    """What a run made, by the names that cards use."""
    (tokens, high, wide), slots = grouping.stages[0].shape, len(grouping.stages[-1])
    count = len(grouping.labels)
    used = [len(np.unique(stage.argmax(0))) for stage in grouping.stages]
    best = ", ".join(f"{value:.3f}" for value in grouping.scores.max(1).tolist())
    return {
        "tokens": f"[{tokens}, {widths.width}] × [{high * wide}, {widths.width}] → [{tokens}, {high * wide}]",
        "chosen": f"{used[0]} / {tokens}, {used[-1]} / {slots}",
        "merged": f"[{high * wide}, {widths.width}] → [{tokens}, {widths.width}] → [{slots}, {widths.width}]",
        "maps": f"[{slots}, {tokens}] · [{tokens}, {high * wide}] → [{slots}, {high}, {wide}]",
        "scores": f"[{slots}, {count}]: max = [{best}]",
        "line": f"θ = {grouping.threshold:.2f}, min(θ, max p) = {grouping.line:.3f}",
    }


def numbers(lang: str) -> Markup:
    """The published numbers of the real models, and the miniature's own where the report card has them."""
    ours = [row for row in tables.report_rows(PAPER, lang) if "mIoU" in row["measure"]]
    return tables.number_table(library.data(PAPER)["published"], ours, lang)
