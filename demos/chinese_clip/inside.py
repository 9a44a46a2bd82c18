"""*Look inside* of the Chinese-CLIP page: tokens, shapes and numbers of an answer, and the code that ran."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from core import checkpoints
from core.clip import prompts
from demos.chinese_clip import answer, draw
from demos.kit import classifier
from demos.kit import tensors as tensors_of
from demos.kit.html import join

if TYPE_CHECKING:
    from core.clip import Classification, EncodedImage
    from core.clip.reading import Reading
    from demos.chinese_clip.page import Question


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
    table = tensors_of.table(shapes(result, encoded, readings), lang)
    return strips + table + draw.number_table(result, lang), classifier.line(result, result.seconds, lang)


def code(question: Question, lang: str) -> tuple[list[dict[str, Any]], dict[str, str], str]:
    """The cards that fit the checkpoint, what the run made of them, and the line."""
    result, _ = run(question)
    loader = checkpoints.row(result.checkpoint).loader
    return cards(loader), made(result), classifier.line(result, result.seconds, lang)


def cards(loader: str) -> list[dict[str, Any]]:
    """The cards that fit a checkpoint's loader, "module:function"."""
    kind = loader.partition(":")[2]
    return [card for card in draw.data()["code"] if card.get("tower", kind) == kind]


def made(result: Classification) -> dict[str, str]:
    """What a run made, by the names that cards use: shapes, and the numbers of the first labels."""
    count, width = result.text_features.shape
    templates = len(result.templates)

    def numbers(values: np.ndarray, form: str) -> str:
        first = ", ".join(format(float(value), form) for value in values[:6])
        return f"[{first}, …]" if len(values) > 6 else f"[{first}]"

    return {
        "texts": f"[{templates * count}, {width}]",
        "ensemble": f"[{templates}, {count}, {width}] → [{count}, {width}]",
        "logits": f"{result.logit_scale:.1f} · {numbers(result.cosines, '+.3f')} {result.logit_bias:+.1f}\n"
        f"= {numbers(result.logits, '+.2f')}",
        "probabilities": numbers(result.probabilities, ".4f"),
    }


def shapes(
    result: Classification, encoded: EncodedImage, readings: Sequence[Reading]
) -> list[tensors_of.Step]:
    """The steps of one answer with the shapes that they had."""
    count, width = result.text_features.shape
    rows, columns, _ = encoded.patch_features.shape
    kind = "sigmoid" if result.normalisation == "sigmoid" else "softmax"
    return tensors_of.steps(
        draw.PAGE,
        T=len(result.templates) * count,
        N=count,
        P=max(one.places for one in readings),
        D=width,
        rows=rows,
        columns=columns,
        where=draw.POOLED[readings[0].pooling],
        kind=kind,
        logits=draw.text(f"logits_{kind}"),
        probabilities=draw.text(kind),
        scale=result.logit_scale,
        bias=result.logit_bias,
    )
