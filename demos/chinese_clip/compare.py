"""*Compare* of the Chinese-CLIP page: one question in several ways, and the names of two languages in one space."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import checkpoints, inputs
from core.errors import Refusal
from demos.chinese_clip import answer, draw
from demos.chinese_clip.draw import data, say, text
from demos.kit import classifier, files, results
from demos.kit.components import output
from demos.kit.html import join, tag
from demos.kit.language import both, both_of

if TYPE_CHECKING:
    from demos.chinese_clip.page import Question
    from demos.kit.layout import Layout

ENGLISH_ONLY = "clip-vit-b32"
MAX_NAMES = 12


def noise_slot(elem_id: str) -> Any:
    """The explanation below the comparison, with the published case in both languages."""
    noise = text("noise")
    output(f"{elem_id}-text", both(noise.en, noise.zh))
    tables = join(
        tag("div", answer.flock_html(lang), class_=f"l-{lang}", lang=code)
        for lang, code in (("en", "en"), ("zh", "zh-CN"))
    )
    return output(elem_id, tag("h3", both_of(text("flock"))) + tables)


def readers(question: Question, lang: str) -> dict[str, Any]:
    """The answers in each way, and the tokens that arrive at the text encoder."""
    from core.clip import bilingual, reading

    image, names = answer.read(question)
    zero_shot = answer.model(question.checkpoint)
    start = time.perf_counter()
    encoded = zero_shot.encode(image)
    ways = bilingual.compare(zero_shot, encoded, names, answer.translations(names, question.english))
    result = zero_shot.classify(encoded, names)
    if checkpoints.state(ENGLISH_ONLY) == "cached":
        ways.append(bilingual.given_chinese(classifier.model(ENGLISH_ONLY), image, names))
    seconds = time.perf_counter() - start
    first = ways[0].readings[0]
    readings = [
        (checkpoints.row(zero_shot.checkpoint).title[lang], first),
        (checkpoints.row(ENGLISH_ONLY).title[lang], reading.read(ENGLISH_ONLY, [first.text])[0]),
    ]
    strips = join(tag("h4", title) + draw.token_strip(one, lang) for title, one in readings)
    return {
        "out": draw.readers_table(ways, lang),
        "tokens": tag("h3", say("tokens_title", lang)) + strips,
        "line": classifier.line(result, seconds, lang),
    }


def name_boxes(layout: Layout) -> Sequence[Any]:
    """The boxes of English and Chinese names."""
    names = data()["names"]
    values = {"names-en": ", ".join(names["english"]), "names-zh": "，".join(names["chinese"])}
    with gr.Row():
        return [
            gr.Textbox(value, label=text(name.replace("-", "_")).tr, lines=2, elem_id=name)
            for name, value in values.items()
        ]


def agree(question: Question, english: str, chinese: str, lang: str) -> dict[str, Any]:
    """The matrix of two languages, with the image's row and column."""
    from core.clip import bilingual

    image = inputs.image(files.image_source(question.image))
    first, second = inputs.labels(english), inputs.labels(chinese)
    if len(first) != len(second):
        raise Refusal("names_differ", english=len(first), chinese=len(second))
    if len(first) > MAX_NAMES:
        raise Refusal("too_many_names", count=len(first), limit=MAX_NAMES)
    zero_shot = answer.model(question.checkpoint)
    start = time.perf_counter()
    agreement = bilingual.agreement(zero_shot, zero_shot.encode(image), first, second)
    seconds = time.perf_counter() - start
    return {
        "out": draw.agreement_matrix(agreement, lang),
        "line": results.line(seconds, zero_shot.checkpoint, zero_shot.device, lang),
    }
