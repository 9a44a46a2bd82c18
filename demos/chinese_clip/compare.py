"""*Compare* of the Chinese-CLIP page: one question in several ways, and the names of two languages in one space."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import checkpoints, inputs
from core.errors import Refusal
from demos.chinese_clip import answer, draw
from demos.kit import classifier, files, results
from demos.kit.components import output
from demos.kit.html import Markup, join, tag
from demos.kit.language import Text, both, pick

if TYPE_CHECKING:
    from demos.chinese_clip.page import Question
    from demos.kit.page import Layout

ENGLISH_ONLY = "clip-vit-b32"
MAX_NAMES = 12
READERS_IDEA = Text(
    "The same image and the same question in three ways: Chinese labels, English labels, and Chinese labels for a model that "
    "was never taught Chinese. **Predict first:** what does a model answer when it cannot read the labels?",
    "同一张图、同一个问题，三种问法：中文标签、英文标签，以及把中文标签交给没学过中文的模型。"
    "**先预测：**模型读不懂标签时会怎么回答？",
)
NOISE = both(
    "<p><strong>Why its answer is noise.</strong> CLIP's tokenizer was made for English: it cuts most Chinese characters into "
    "two or three pieces of their UTF-8 bytes (of the 20,992 characters from U+4E00 to U+9FFF: 2 are one piece, 2,243 two, "
    "18,747 three). No English caption taught the model what these pieces mean, so the labels become "
    "arbitrary points, and softmax still distributes 100 % among them. Where a checkpoint has pieces "
    "for bytes, as the miniature does, the third column shows the same case: the same labels, as bytes. "
    "A confident number is no sign that the label was understood.</p>",
    "<p><strong>为什么它的回答只是噪声。</strong>CLIP 的分词器是为英文设计的，大多数汉字会被拆成两三个由 UTF-8 字节组成的词元"
    "（U+4E00 至 U+9FFF 的 20,992 个汉字里，2 个是一个词元，2,243 个是两个，18,747 个是三个）。"
    "没有哪句英文描述教过模型这些词元的意思：标签变成了空间里随意的点，而 softmax 仍要把 100 % 分给它们。"
    "对于像微缩模型这样带有字节词元的权重，第三列演示同样的情形：同样的标签，只给字节。数字再自信，也不说明标签被读懂了。</p>",
)
NAMES_IDEA = Text(
    "Cosines of English names with Chinese names. Nobody gave the model a dictionary: it only matched each name with images. "
    "**Predict first:** where are the large numbers?",
    "英文名与中文名之间的余弦。没有人给过模型词典：每个名称都只与图片配过对。**先预测：**大的数字会出现在哪里？",
)
FLOCK_TITLE = both(
    "A published case: a flock of sheep, Chinese labels, an English-only CLIP",
    "已发表的例子：一群羊，中文标签，只懂英文的 CLIP",
)


def noise_slot(elem_id: str) -> Any:
    """The explanation below the comparison, with the published case in both languages."""
    output(f"{elem_id}-text", NOISE)
    tables = join(
        tag("div", answer.flock_html(lang), class_=f"l-{lang}", lang=code)
        for lang, code in (("en", "en"), ("zh", "zh-CN"))
    )
    return output(elem_id, tag("h3", Markup(FLOCK_TITLE)) + tables)


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
    heading = pick(lang, "What arrives at the text encoder", "文本编码器实际收到的内容")
    strips = join(tag("h4", title) + draw.token_strip(one, lang) for title, one in readings)
    return {
        "out": draw.readers_table(ways, lang),
        "tokens": tag("h3", heading) + strips,
        "line": answer.line_of(result, seconds, lang),
    }


def name_boxes(layout: Layout) -> Sequence[Any]:
    """The boxes of English and Chinese names."""
    names = answer.published()["names"]
    with gr.Row():
        return (
            gr.Textbox(
                ", ".join(names["english"]),
                label=Text("English names", "英文名").tr,
                lines=2,
                elem_id="names-en",
            ),
            gr.Textbox(
                "，".join(names["chinese"]),
                label=Text("Chinese names", "中文名").tr,
                lines=2,
                elem_id="names-zh",
            ),
        )


def agree(question: Question, english: str, chinese: str, lang: str) -> dict[str, Any]:
    """The matrix of two languages, with the image's row and column."""
    from core.clip import bilingual

    image = inputs.image(files.picture_source(question.image))
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
