"""*Look inside* and *Train it* of the GLIP page: alignment, shapes, code, and what was measured of training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core import checkpoints
from demos.glip import draw
from demos.glip.answer import FLOOR, PAPER, Answer, checked, line_of, run
from demos.kit import library
from demos.kit.html import tag
from demos.kit.language import Text

if TYPE_CHECKING:
    from core.detection.result import Grounding
    from demos.glip.page import Question

ALIGNMENT = Text(
    "**S = O Pᵀ**: the product of every region of the image with every word of the prompt. The first matrix has the features "
    "before the fusion, the second one those after it.",
    "**S = O Pᵀ**：图片的每个区域与提示的每个词的内积。第一个矩阵用融合之前的特征，第二个用融合之后的特征。",
)
TRAINING = Text(
    "Boxes are expensive and captions are cheap. GLIP first trains a **teacher** on the boxes there are. The teacher then draws "
    "boxes for the phrases of captions that have none, and a **student** learns from both. The paper uses 24 million captions "
    "from the web.",
    "标注框很贵，图片描述很便宜。GLIP 先用现有的框训练一个**教师**模型，由它为没有框的描述中的短语画框；**学生**模型再同时学习"
    "两者。论文用了 2400 万条网络描述。",
)
DESCENDANT = Text(
    "This checkpoint is a descendant with another architecture; these shapes and lines are GLIP's. Choose the miniature or "
    "GLIP-T to see them run.",
    "这组权重是结构不同的后继模型；这里的形状和代码属于 GLIP。请选择微缩模型或 GLIP-T 来运行它们。",
)


def alignment(question: Question, lang: str) -> dict[str, Any]:
    """Both alignment matrices and the line."""
    answer = run(question)
    matrices = draw.alignment(answer.image, answer.grounding, checked(question.threshold), lang)
    return {"out": matrices, "line": line_of(answer, lang)}


def tensors(question: Question, lang: str) -> tuple[Any, str]:
    """The steps of one answer with their shapes, and the line."""
    answer = run(question)
    sizes = sizes_of(answer)
    return (steps(answer, sizes) if sizes else line(DESCENDANT.get(lang))), line_of(answer, lang)


def code(question: Question, lang: str) -> tuple[Any, dict[str, str], str]:
    """The cards of the page, what one answer made of them, and the line."""
    answer = run(question)
    sizes = sizes_of(answer)
    return library.data(PAPER)["code"], made(answer, sizes) if sizes else {}, line_of(answer, lang)


def line(text: str) -> str:
    """A sentence in place of a table."""
    return tag("p", text, class_="atlas-line")


def sizes_of(answer: Answer) -> dict[str, Any] | None:
    """How large things were on the way of an answer, for *Tensors* and *Code*; None for a descendant of another build."""
    from core.detection.glip.network import architectures

    options = checkpoints.row(answer.grounding.checkpoint).options
    shape = architectures().get(options.get("architecture", ""))
    if shape is None:
        return None
    levels = [level.shape[1:] for level in answer.encoded.levels]
    return {
        "levels": levels,
        "pixels": [side * shape["strides"][0] for side in levels[0]],
        "channels": shape["channels"],
        "words": shape["language"]["width"],
        "blocks": shape["head"]["blocks"],
        "heads": shape["head"]["fusion_heads"],
    }


def longest(grounding: Grounding) -> int:
    """Words of the longest prompt."""
    return max(end - first for first, end in grounding.prompts)


def steps(answer: Answer, sizes: dict[str, Any]) -> list[tuple[Text, str, Text]]:
    """The way of one answer with the shapes that it had."""
    grounding = answer.grounding
    places = " + ".join(f"{high} × {wide}" for high, wide in sizes["levels"])
    count = sum(high * wide for high, wide in sizes["levels"])
    length, width, deep = longest(grounding), sizes["channels"], sizes["words"]
    several = len(grounding.prompts)
    height, across = sizes["pixels"]
    return [
        (
            Text("image", "图片"),
            f"[1, 3, {height}, {across}]",
            Text("resized for the network", "缩放到网络的输入尺寸"),
        ),
        (
            Text("O⁰, regions", "O⁰，区域"),
            f"[{count}, {width}]",
            Text(
                f"places of {len(sizes['levels'])} levels: {places}",
                f"{len(sizes['levels'])} 层的位置：{places}",
            ),
        ),
        (
            Text("P⁰, words", "P⁰，词"),
            f"[{length}, {deep}]",
            Text("one vector for each word piece of the prompt", "提示的每个词片一个向量")
            if several == 1
            else Text(
                f"the list takes {several} prompts, each its own pass from here on; shapes are of the longest",
                f"标签表要分成 {several} 个提示，从这里起各走一遍；形状取最长的一个",
            ),
        ),
        (
            Text("fusion", "融合"),
            f"{sizes['blocks']} × ([{count}, {width}] ⇄ [{length}, {deep}])",
            Text(
                "regions read words, words read regions, in every block", "每个模块里，区域读词，词也读区域"
            ),
        ),
        (
            Text("S = O Pᵀ", "S = O Pᵀ"),
            f"[{count}, {width}] · [{width}, {length}] = [{count}, {length}]",
            Text("the words are projected to the regions' width first", "词先投影到区域的宽度"),
        ),
        (
            Text("phrases", "短语"),
            f"[{count}, {length}] → [{count}, {len(grounding.phrases)}]",
            Text("sigmoid, then the mean over each phrase's words", "先 sigmoid，再对每个短语的词取平均"),
        ),
        (
            Text("boxes", "框"),
            f"[{len(grounding.boxes)}, 4]",
            Text(
                f"what is left above {FLOOR} when the same thing twice is dropped",
                f"去掉重复之后，得分高于 {FLOOR} 的",
            ),
        ),
    ]


def made(answer: Answer, sizes: dict[str, Any]) -> dict[str, str]:
    """What a run made, by the names that cards use."""
    grounding = answer.grounding
    count, length = sum(high * wide for high, wide in sizes["levels"]), longest(grounding)
    best = ", ".join(f"{value:.3f}" for value in grounding.scores[:6].tolist())
    names = ", ".join(f"{phrase.text} = {list(phrase.words)}" for phrase in grounding.phrases[:6])
    return {
        "levels": ", ".join(f"[1, {sizes['channels']}, {high}, {wide}]" for high, wide in sizes["levels"]),
        "fusion": f"[{count}, {length}] × {sizes['heads']}",
        "blocks": f"{sizes['blocks']} × (X-MHA, BERTLayer, DyHead)",
        "alignment": f"[{count}, {sizes['channels']}] · [{sizes['channels']}, {length}] = [{count}, {length}]",
        "phrases": names,
        "boxes": f"{len(grounding.scores)}: [{best}{', …' if len(grounding.scores) > 6 else ''}]",
    }


# --- numbers ---------------------------------------------------------------------------------------------


def report_rows(lang: str) -> list[dict[str, Any]]:
    """The paper's rows of the report card, with what they are called in a language."""
    from core.classroom import report

    return [
        {**row, "title": report.named(row["measure"], lang), "split_title": report.named(row["split"], lang)}
        for row in report.rows()
        if row["paper"] == PAPER
    ]


def numbers(lang: str) -> str:
    """Self-training and fusion with what was measured of them; the miniature's other numbers beside the published ones."""
    rows = report_rows(lang)
    texts = library.data(PAPER)
    compared: dict[str, list[dict[str, Any]]] = {table["measure"]: [] for table in texts["compared"]}
    plain: list[dict[str, Any]] = []
    for row in rows:
        compared.get(row["measure"].partition(":")[0], plain).append(row)
    tables = "".join(
        draw.comparison(table["title"]["zh" if lang == "zh" else "en"], compared[table["measure"]], lang)
        for table in texts["compared"]
    )
    return (
        draw.training(texts["training"], rows, lang)
        + tables
        + draw.number_table(texts["published"], plain, lang)
    )
