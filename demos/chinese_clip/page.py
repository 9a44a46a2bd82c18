"""The Chinese-CLIP page: the sheep lesson, one question in two languages, the way of a Chinese label, the training.

The tabs share one picture, one checkpoint and one pair of label boxes; what their buttons do is in
`demos.chinese_clip.answer`.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from core.clip import prompts
from demos import catalog
from demos.chinese_clip import answer as handlers
from demos.chinese_clip.code import code_tab
from demos.chinese_clip.lessons import walk_tab
from demos.chinese_clip.shared import Common, output
from demos.chinese_clip.train import training_tab
from demos.kit import shell
from demos.kit.examples import strip
from demos.kit.menu import CheckpointMenu
from demos.kit.shell import Shell, both, tr

READERS_IDEA = (
    "The same picture, the same question, three ways: Chinese labels, English labels, and Chinese to a model that was "
    "never taught it. *Predict first:* what does a model answer to words it cannot read?",
    "同一张图，同一个问题，三种问法：中文标签、英文标签，以及把中文交给没学过中文的模型。"
    "*先猜一猜*：模型读不懂的词，它会怎么回答？",
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
FLOCK_TITLE = both(
    "It happened: a flock of sheep, Chinese labels, English-only CLIP",
    "真实发生过：一群羊，中文标签，只懂英文的 CLIP",
)
NAMES_IDEA = (
    "Cosines of English names with Chinese names. Nobody gave the model a dictionary: both names were only ever matched "
    "with pictures. *Predict first:* where will the large numbers be?",
    "英文名与中文名的余弦。没有人给过模型词典：两种名字都只和图片配过对。*先猜一猜*：大的数字会出现在哪里？",
)
STEPS_IDEA = (
    "From Chinese characters to percentages: every step with the shapes it really had.",
    "从汉字到百分比：每一步都带着真实的形状。",
)


def template_choices() -> list[tuple[Any, str]]:
    """The template sets for Chinese labels."""
    return [
        (tr(row.en, row.zh), row.name) for row in prompts.template_sets().values() if "zh" in row.languages
    ]


def ask_tab(common: Common) -> tuple[list[Any], list[Any], gr.HTML, gr.Dropdown, gr.Textbox]:
    """Lays out *Ask in Chinese*: bars, and under them the published lesson with ours."""
    run = gr.Button(tr("Classify", "分类"), variant="primary", elem_id="classify-button")
    bars, line = output("bars"), output("line")
    with gr.Accordion(tr("Chinese template", "中文模板"), open=False, elem_id="knobs"):
        template = gr.Dropdown(
            template_choices(),
            value="none",
            label=tr("Prompt template", "提示模板"),
            elem_id="template",
            filterable=False,
        )
        own = gr.Textbox(
            label=tr("Own template, {} is the label", "自定义模板，{} 是标签"),
            placeholder="一张{}的照片。",
            elem_id="own-template",
        )
    shell.link_button(
        {
            "labels": common.chinese,
            "english": common.english,
            "template": template,
            "checkpoint": common.checkpoint,
            "example": common.example,
        },
        elem_id="link",
    )
    title = both("The lesson: three sheep, as published and here", "这一课：三只羊，已发表的结果与本机结果")
    output("lesson-title", f"<h3>{title}</h3>")
    table = output("lesson")
    inputs = [common.picture, common.chinese, common.english, template, own, common.checkpoint]
    outputs = [bars, line]
    event = common.page.on([run.click, common.chinese.submit], handlers.classify, inputs, outputs)
    common.page.then(event, handlers.lesson, [common.checkpoint], [table])
    return inputs, outputs, table, template, own


def readers_tab(common: Common) -> None:
    """Lays out *Can it read Chinese?*."""
    gr.Markdown(tr(*READERS_IDEA))
    run = gr.Button(tr("Ask in each way", "每种方式都问一遍"), variant="primary", elem_id="readers-button")
    table, line = output("readers-out"), output("readers-line")
    tokens = output("readers-tokens")
    output("noise", NOISE)
    notes = [
        f'<div class="l-{lang}" lang="{code}">{handlers.flock_html(lang)}</div>'
        for lang, code in (("en", "en"), ("zh", "zh-CN"))
    ]
    output("flock-note", f"<h3>{FLOCK_TITLE}</h3>{''.join(notes)}")
    common.page.on(
        run.click,
        handlers.readers,
        [common.picture, common.chinese, common.english, common.checkpoint],
        [table, tokens, line],
    )


def names_tab(common: Common) -> None:
    """Lays out *Two languages, one space*."""
    gr.Markdown(tr(*NAMES_IDEA))
    names = handlers.published()["names"]
    with gr.Row():
        english = gr.Textbox(
            ", ".join(names["english"]), label=tr("English names", "英文名"), lines=2, elem_id="names-en"
        )
        chinese = gr.Textbox(
            "，".join(names["chinese"]), label=tr("Chinese names", "中文名"), lines=2, elem_id="names-zh"
        )
    run = gr.Button(tr("Compare the names", "比较名字"), variant="primary", elem_id="names-button")
    matrix, line = output("names-out"), output("names-line")
    common.page.on(
        run.click,
        handlers.agree,
        [common.picture, english, chinese, common.checkpoint],
        [matrix, line],
    )


def steps_tab(common: Common, template: gr.Dropdown, own: gr.Textbox) -> None:
    """Lays out *Step by step*."""
    gr.Markdown(tr(*STEPS_IDEA))
    run = gr.Button(tr("Show the steps", "展示每一步"), variant="primary", elem_id="steps-button")
    tokens, shapes, numbers = output("steps-tokens"), output("steps-shapes"), output("steps-numbers")
    common.page.on(
        run.click,
        handlers.steps,
        [common.picture, common.chinese, template, own, common.checkpoint],
        [tokens, shapes, numbers],
    )


def label_boxes() -> tuple[gr.Textbox, gr.Textbox]:
    """The Chinese labels and what they mean in English, one beside the other."""
    with gr.Row():
        chinese = gr.Textbox(
            label=tr("Labels in Chinese, separated by commas", "中文标签，用逗号分开"),
            lines=2,
            elem_id="labels",
        )
        english = gr.Textbox(
            label=tr("The same in English, in the same order", "同样的标签用英文写，顺序一致"),
            lines=2,
            elem_id="english",
        )
    return chinese, english


def build() -> None:
    """Lays the page out and wires its handlers."""
    page = Shell()
    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            menu = CheckpointMenu("clip", page, language="zh", remember="chinese-clip")
            picture = shell.picture_input(height=300, elem_id="picture")
            thumbnails = strip(handlers.examples(), "examples")
            example = gr.Textbox("", visible="hidden", label="example")
        with gr.Column(scale=6, min_width=320):
            chinese, english = label_boxes()
            common = Common(page, menu.value, picture, example, chinese, english)
            with gr.Tabs(elem_classes="atlas-groups"):
                with gr.Tab(tr("Try it", "试一试"), id="try", elem_id="group-try"), gr.Tabs():
                    with gr.Tab(tr("Ask in Chinese", "用中文提问"), id="ask", elem_id="tab-ask"):
                        inputs, outputs, lesson, template, own = ask_tab(common)
                    with gr.Tab(
                        tr("Can it read Chinese?", "它读得懂中文吗？"), id="readers", elem_id="tab-readers"
                    ):
                        readers_tab(common)
                    with gr.Tab(tr("Two languages", "两种语言"), id="names", elem_id="tab-names"):
                        names_tab(common)
                with gr.Tab(tr("Look inside", "看看内部"), id="inside", elem_id="group-inside"), gr.Tabs():
                    with gr.Tab(tr("Step by step", "逐步拆解"), id="steps", elem_id="tab-steps"):
                        steps_tab(common, template, own)
                    with gr.Tab(tr("Code", "代码"), id="code", elem_id="tab-code"):
                        code_tab(common, template, own)
                with gr.Tab(tr("How it was trained", "怎样训练"), id="training", elem_id="group-training"):
                    training_tab(page)
                with gr.Tab(tr("Walkthrough", "分步课程"), id="walk", elem_id="group-walk"):
                    walk_tab(page, common.checkpoint)

    filled = [picture, chinese, english, example]
    chosen = page.on(thumbnails.change, handlers.choose, [thumbnails], filled, show_progress="hidden")
    answered = page.then(chosen, handlers.classify, inputs, outputs)
    page.then(answered, handlers.lesson, [menu.value], [lesson])
    # A picture of one's own is no example: a link cannot carry it.
    picture.upload(lambda: "", None, [example], api_visibility="private", show_progress="hidden")
    page.on_load(handlers.opened, [*filled, outputs[0], lesson, template])
    gr.api(handlers.chinese_clip_classify, api_name="chinese_clip_classify")
    gr.api(handlers.chinese_clip_tokens, api_name="chinese_clip_tokens")


PAGE = catalog.page("chinese-clip", build)
