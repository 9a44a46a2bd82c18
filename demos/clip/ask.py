"""The first three tabs of the CLIP page: classify, ask for what is not there, and try prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from demos.clip import answer as handlers
from demos.clip.shared import Common, template_choices
from demos.kit import shell
from demos.kit.components import label_box, output
from demos.kit.shell import tr

ABSENT_IDEA = (
    "Softmax always shares out 100 %, even when no label is right. The raw cosine tells more: is the best "
    "label any better than an unrelated word? *Predict first:* what will the second list say?",
    "softmax 总要把 100 % 分完，哪怕没有一个标签是对的。"
    "原始余弦能说明更多：最好的标签比随便一个无关词强吗？"
    "*先猜一猜：*第二组标签会得到什么？",
)
PROMPT_IDEA = (
    "CLIP learned from sentences, so a bare word is unusual to it and often ambiguous. A template repairs "
    "both; averaging many templates (an ensemble) often helps again.",
    "CLIP 是从句子里学的，单个词对它不常见，还常有歧义。"
    "加上模板两个问题都能缓解；把许多模板取平均（集成）往往还能更好。",
)
SCALE_IDEA = (
    "Cosines are multiplied by it before the softmax: small flattens, large sharpens.",
    "余弦先乘以它再做 softmax：越小越平，越大越尖。",
)


@dataclass(frozen=True)
class ClassifyTab:
    """Labels in, bars out; template and temperature behind an accordion."""

    template: gr.Dropdown
    own: gr.Textbox
    bars: gr.HTML
    inputs: list[Any]
    outputs: list[Any]


def classify_tab(common: Common) -> ClassifyTab:
    """Lays out *Classify* and wires it."""
    labels = common.labels
    run = gr.Button(tr("Classify", "分类"), variant="primary", elem_id="classify-button")
    bars, line, relevance = output("bars"), output("line"), output("relevance")
    with gr.Accordion(tr("Template and temperature", "模板与温度"), open=False, elem_id="knobs"):
        template = gr.Dropdown(
            template_choices(),
            value="none",
            label=tr("Prompt template", "提示模板"),
            elem_id="template",
            filterable=False,
        )
        own = gr.Textbox(
            label=tr("Own template, {} is the label", "自定义模板，{} 是标签"),
            placeholder="a photo of a {}.",
            elem_id="own-template",
        )
        low, high = handlers.SCALES
        scale = gr.Slider(
            low,
            high,
            value=low,
            step=0.1,
            label=tr("Logit scale = 1 / temperature", "logit scale = 1 / 温度"),
            info=tr(*SCALE_IDEA),
            elem_id="scale",
        )
        mark = output("scale-mark")
        # The row whose learned value the slider shows.
        scale_of = gr.Textbox("", visible="hidden", label="scale of")
    shell.link_button(
        {
            "labels": labels,
            "template": template,
            "checkpoint": common.checkpoint,
            "example": common.example,
            "scene": common.scene,
        },
        elem_id="link",
    )
    inputs = [common.picture, labels, template, own, scale, scale_of, common.checkpoint]
    outputs = [bars, line, relevance, scale, mark, scale_of]
    common.page.on([run.click, labels.submit], handlers.classify, inputs, outputs)
    common.page.on(scale.release, handlers.classify, inputs, outputs, show_progress="hidden")
    return ClassifyTab(template, own, bars, inputs, outputs)


def absent_tab(common: Common, tab: ClassifyTab) -> tuple[gr.Textbox, gr.Textbox]:
    """Lays out *Absent labels* and wires it; returns the two boxes of labels."""
    gr.Markdown(tr(*ABSENT_IDEA))
    with gr.Row():
        with gr.Column(min_width=420):
            present = label_box("present", tr("Labels with the answer", "含有答案的标签"))
            present_out = output("present-out")
        with gr.Column(min_width=420):
            missing = label_box("missing", tr("Labels without it", "不含答案的标签"))
            missing_out = output("missing-out")
    run = gr.Button(tr("Compare", "比较"), variant="primary", elem_id="absent-button")
    line = output("absent-line")
    common.page.on(
        run.click,
        handlers.absent,
        [common.picture, present, missing, tab.template, tab.own, common.checkpoint],
        [present_out, missing_out, line],
    )
    return present, missing


def prompt_tab(common: Common) -> gr.Textbox:
    """Lays out *Prompt lab* and wires it; returns its box of labels."""
    gr.Markdown(tr(*PROMPT_IDEA))
    labels = label_box("lab-labels")
    chosen = gr.CheckboxGroup(
        template_choices(), value=handlers.COMPARED, label=tr("Templates", "模板"), elem_id="lab-templates"
    )
    own = gr.Textbox(
        label=tr("Own templates, one a line, {} is the label", "自定义模板，每行一个，{} 是标签"),
        lines=3,
        elem_id="lab-own",
    )
    with gr.Row():
        run = gr.Button(tr("Try them", "试试"), variant="primary", elem_id="lab-button")
        senses = gr.Button(tr("One word, two senses", "一词多义"), elem_id="polysemy-button")
    table, line = output("lab-out"), output("lab-line")
    inputs, outputs = [common.picture, labels, chosen, own, common.checkpoint], [table, line]
    common.page.on(run.click, handlers.compare, inputs, outputs)
    filled = common.page.on(
        senses.click, handlers.polysemy, [], [labels, own, chosen], show_progress="hidden"
    )
    common.page.then(filled, handlers.compare, inputs, outputs)
    return labels
