"""*Look inside* of the Chinese-CLIP page: tokens, shapes and numbers of an answer, and the code that ran."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core import checkpoints
from core.clip import prompts
from demos.chinese_clip import answer, draw
from demos.kit import classifier
from demos.kit import tensors as table
from demos.kit.html import join
from demos.kit.language import Text
from demos.kit.tensors import Step

if TYPE_CHECKING:
    from core.clip import Classification, EncodedImage
    from demos.chinese_clip.page import Question

IDEA = Text(
    "From Chinese characters to percentages: the tokens of each label, the shapes of this run, and the arithmetic of the answer.",
    "从汉字到百分比：每个标签的词元、本次运行的张量形状，以及答案的计算过程。",
)


def run(question: Question) -> tuple[Classification, EncodedImage]:
    """The answer to the page's question and the encoded image."""
    image, names = answer.read(question)
    zero_shot = answer.model(question.checkpoint)
    encoded = zero_shot.encode(image)
    return zero_shot.classify(encoded, names, classifier.template(question.template, question.own)), encoded


def tensors(question: Question, lang: str) -> tuple[Any, str]:
    """Tokens of each label, the shapes, the numbers, and the line."""
    from core.clip import reading

    result, encoded = run(question)
    captions = [prompts.fill(result.templates[0], name) for name in result.labels]
    readings = reading.read(result.checkpoint, captions)
    strips = join(draw.token_strip(one, lang) for one in readings)
    steps = table.table(shapes(result, encoded, readings), lang)
    return strips + steps + numbers(result, lang), answer.line_of(result, result.seconds, lang)


def code(question: Question, lang: str) -> tuple[list[dict[str, Any]], dict[str, str], str]:
    """The cards that fit the checkpoint, what the run made of them, and the line."""
    result, _ = run(question)
    loader = checkpoints.row(result.checkpoint).loader
    return cards(loader), made(result), answer.line_of(result, result.seconds, lang)


def cards(loader: str) -> list[dict[str, Any]]:
    """The cards that fit a checkpoint's loader, "module:function"."""
    kind = loader.partition(":")[2]
    return [card for card in answer.published()["code"] if card.get("tower", kind) == kind]


def made(result: Classification) -> dict[str, str]:
    """What a run made, by the names that cards use: shapes, and the numbers of the first labels."""
    count, width = result.text_features.shape
    templates = len(result.templates)

    def numbers(values: np.ndarray, form: str) -> str:
        return (
            "["
            + ", ".join(format(float(value), form) for value in values[:6])
            + (", …]" if len(values) > 6 else "]")
        )

    return {
        "texts": f"[{templates * count}, {width}]",
        "ensemble": f"[{templates}, {count}, {width}] → [{count}, {width}]",
        "logits": f"{result.logit_scale:.1f} · {numbers(result.cosines, '+.3f')} {result.logit_bias:+.1f}\n"
        f"= {numbers(result.logits, '+.2f')}",
        "probabilities": numbers(result.probabilities, ".4f"),
    }


def shapes(result: Classification, encoded: Any, readings: Any) -> list[Step]:
    """The steps of one answer with the shapes that they had."""
    count, width = result.text_features.shape
    rows, columns, _ = encoded.patch_features.shape
    places = max(one.places for one in readings)
    templates = len(result.templates)
    is_sigmoid = result.normalisation == "sigmoid"
    last = Text("sigmoid", "sigmoid") if is_sigmoid else Text("softmax", "softmax")
    why = (
        Text("each label yes or no by itself", "每个标签单独回答是或否")
        if is_sigmoid
        else Text("shared out among the labels", "在标签之间分配 100 %")
    )
    where = draw.POOLED[readings[0].pooling]
    return [
        (
            Text("tokens", "词元"),
            f"[{templates * count}, {places}]",
            Text("captions as ids, padded to the longest", "每句话的编号，补齐到最长的一句"),
        ),
        (
            Text("text tower", "文本编码器"),
            f"[{templates * count}, {places}, W] → [{count}, {width}]",
            Text(
                f"W wide inside; read at {where.en}, projected, length 1",
                f"内部宽度为 W；取自{where.zh}，投影后长度归一",
            ),
        ),
        (
            Text("image tower", "图像编码器"),
            f"[{rows}, {columns}, {width}] → [{width}]",
            Text("patches of the picture; one vector, length 1", "图块特征；汇成一个向量，长度归一"),
        ),
        (
            Text("cosines", "余弦"),
            f"[{width}] · [{count}, {width}]ᵀ = [{count}]",
            Text("how near each label is to the picture", "每个标签离图片多近"),
        ),
        (
            Text("logits", "logits"),
            f"{result.logit_scale:.1f} × [{count}] {result.logit_bias:+.1f}",
            Text(
                "the learned temperature" + (" and bias" if is_sigmoid else ""),
                "学到的温度" + ("和偏置" if is_sigmoid else ""),
            ),
        ),
        (last, f"[{count}]", why),
    ]


def numbers(result: Classification, lang: str) -> str:
    """Cosine, logit and probability of every label."""
    rows = [
        (result.labels[i], float(result.cosines[i]), float(result.logits[i]), float(result.probabilities[i]))
        for i in result.order
    ]
    return draw.number_table(rows, result.logit_scale, result.logit_bias, result.normalisation, lang)
