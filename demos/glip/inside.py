"""*Look inside* and *Train it* of the GLIP page: alignment, shapes, code, measured numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core import checkpoints
from demos.glip import draw
from demos.glip.answer import FLOOR, PAPER, Answer, checked, result_line, run
from demos.kit import library, numbers
from demos.kit.html import Markup, join, tag
from demos.kit.language import Text
from demos.kit.tensors import Step

if TYPE_CHECKING:
    from core.detection.result import Grounding
    from demos.glip.page import Question

BEST_SCORES = 6  # in the card of the boxes
ALIGNMENT = Text(
    "**S = O Pᵀ**: the product of every region of the image with every word of the prompt. The first matrix uses the features "
    "before fusion, the second one those after it.",
    "**S = O Pᵀ**：图片的每个区域与提示的每个词的内积。第一个矩阵用融合之前的特征，第二个用融合之后的特征。",
)
TRAINING = Text(
    "Boxes are expensive and captions are cheap. GLIP first trains a **teacher** on the existing boxes. The teacher then "
    "predicts boxes for the phrases of captions without boxes, and a **student** learns from both. The paper uses 24 million "
    "captions from the web.",
    "标注框很贵，图片描述很便宜。GLIP 先用现有的框训练一个**教师**模型，由它为没有框的描述中的短语画框；**学生**模型再同时学习"
    "两者。论文用了 2400 万条网络描述。",
)
DESCENDANT = Text(
    "This checkpoint has another architecture. The shapes and the code on this tab are those of GLIP: choose the miniature or "
    "GLIP-T to run them.",
    "这组权重的网络结构不同。本页的形状和代码属于 GLIP，请选择微缩模型或 GLIP-T 来运行。",
)


def alignment(question: Question, lang: str) -> dict[str, Any]:
    """The slots of *Alignment*: both matrices and the line."""
    answer = run(question)
    matrices = draw.alignment(answer.image, answer.grounding, checked(question.threshold), lang)
    return {"out": matrices, "line": result_line(answer, lang)}


def tensors(question: Question, lang: str) -> tuple[Any, str]:
    """The steps of one answer with their shapes, and the line."""
    answer = run(question)
    sizes = sizes_of(answer)
    table = steps(answer, sizes) if sizes else tag("p", DESCENDANT.get(lang), class_="atlas-line")
    return table, result_line(answer, lang)


def code(question: Question, lang: str) -> tuple[Any, dict[str, str], str]:
    """The cards of the page, their results in one answer, and the line."""
    answer = run(question)
    sizes = sizes_of(answer)
    return library.data(PAPER)["code"], results(answer, sizes) if sizes else {}, result_line(answer, lang)


def sizes_of(answer: Answer) -> dict[str, Any] | None:
    """Sizes of the network's layers, for *Tensors* and *Code*; None for a descendant with another architecture."""
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


def steps(answer: Answer, sizes: dict[str, Any]) -> list[Step]:
    """The steps from the image to the boxes, with the shapes of one answer."""
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
                f"positions of {len(sizes['levels'])} levels: {places}",
                f"{len(sizes['levels'])} 层特征图的位置：{places}",
            ),
        ),
        (
            Text("P⁰, words", "P⁰，词"),
            f"[{length}, {deep}]",
            Text("one vector for each word piece of the prompt", "提示的每个词片一个向量")
            if several == 1
            else Text(
                f"the list needs {several} prompts, and each runs by itself from here on; the shapes are those of the longest",
                f"标签表需要 {several} 个提示，从这里起分别计算；形状取最长的一个",
            ),
        ),
        (
            Text("fusion", "融合"),
            f"{sizes['blocks']} × ([{count}, {width}] ⇄ [{length}, {deep}])",
            Text(
                "in every block regions attend to words, and words attend to regions",
                "每个模块里，区域注意词，词也注意区域",
            ),
        ),
        (
            Text("S = O Pᵀ", "S = O Pᵀ"),
            f"[{count}, {width}] · [{width}, {length}] = [{count}, {length}]",
            Text("the words are first projected to the width of the regions", "词先投影到区域特征的宽度"),
        ),
        (
            Text("phrases", "短语"),
            f"[{count}, {length}] → [{count}, {len(grounding.phrases)}]",
            Text(
                "sigmoid, then the mean over the words of each phrase", "先 sigmoid，再对每个短语的词取平均"
            ),
        ),
        (
            Text("boxes", "框"),
            f"[{len(grounding.boxes)}, 4]",
            Text(f"above {FLOOR}, without duplicates", f"得分高于 {FLOOR}，去掉重复的框"),
        ),
    ]


def results(answer: Answer, sizes: dict[str, Any]) -> dict[str, str]:
    """The results of one run by the names that cards use in `made`."""
    grounding = answer.grounding
    count, length = sum(high * wide for high, wide in sizes["levels"]), longest(grounding)
    best = ", ".join(f"{value:.3f}" for value in grounding.scores[:BEST_SCORES].tolist())
    more = ", …" if len(grounding.scores) > BEST_SCORES else ""
    names = ", ".join(f"{phrase.text} = {list(phrase.words)}" for phrase in grounding.phrases[:BEST_SCORES])
    return {
        "levels": ", ".join(f"[1, {sizes['channels']}, {high}, {wide}]" for high, wide in sizes["levels"]),
        "fusion": f"[{count}, {length}] × {sizes['heads']}",
        "blocks": f"{sizes['blocks']} × (X-MHA, BERTLayer, DyHead)",
        "alignment": f"[{count}, {sizes['channels']}] · [{sizes['channels']}, {length}] = [{count}, {length}]",
        "phrases": names,
        "boxes": f"{len(grounding.scores)}: [{best}{more}]",
    }


def training(lang: str) -> Markup:
    """*Train it*: the steps of self-training, the ablations, the miniature's other numbers beside the published ones."""
    rows = numbers.report_rows(PAPER, lang)
    texts = library.data(PAPER)
    compared: dict[str, list[dict[str, Any]]] = {table["measure"]: [] for table in texts["compared"]}
    plain: list[dict[str, Any]] = []
    for row in rows:
        compared.get(row["measure"].partition(":")[0], plain).append(row)
    tables = join(
        draw.comparison(table["title"]["zh" if lang == "zh" else "en"], compared[table["measure"]], lang)
        for table in texts["compared"]
    )
    steps_of_training = draw.training(texts["training"], rows, lang)
    return steps_of_training + tables + numbers.number_table(texts["published"], plain, lang)
