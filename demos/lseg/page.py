"""The LSeg page: a picture, labels that come and go, and a mask that follows them; lessons; a look inside.

What its buttons do is in `demos.lseg.answer`, the lessons in `demos.lseg.lessons`, tensors and code in `demos.lseg.inside`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from demos import catalog
from demos.kit import components, shell
from demos.kit.examples import strip
from demos.kit.menu import CheckpointMenu
from demos.kit.segment_train import train_tab
from demos.kit.shell import Shell, both, tr
from demos.lseg import answer as handlers
from demos.lseg.blocks import blocks_tab, lseg_regularize
from demos.lseg.examples import examples
from demos.lseg.inside import code_tab, tensors_tab
from demos.lseg.lessons import walk_tab
from demos.lseg.shared import Common, output

FIRST = both("Segmenting the first example …", "正在分割第一个例子……")
WAYS = {
    "lseg": tr("The checkpoint above", "上面的权重"),
    "maskclip": tr("MaskCLIP's trick on a plain CLIP", "在普通 CLIP 上用 MaskCLIP 的技巧"),
}
TRY_IDEA = (
    "Words are the classes: add one, take one away, rename one, and every pixel chooses again.",
    "词就是类别：加一个、去一个、换个说法，每个像素都会重新选择。",
)
MAPS_IDEA = (
    "The mask keeps only the winner of each pixel. Here is what every label had to say.",
    "分割结果只保留每个像素的赢家；这里是每个标签各自的说法。",
)


@dataclass(frozen=True)
class TryTab:
    """The components that an answer goes to."""

    run: gr.Button
    outputs: list[Any]


def try_tab(common: Common) -> TryTab:
    """Lays out *Try it*: labels, overlay, downloads."""
    gr.Markdown(tr(*TRY_IDEA))
    run = gr.Button(tr("Segment", "分割"), variant="primary", elem_id="segment-button")
    mask = components.mask_stage("mask", f'<p class="atlas-line">{FIRST}</p>')
    line = output("line")
    with gr.Accordion(tr("Download", "下载"), open=False, elem_id="files"):
        cut = gr.Dropdown([], label=tr("Cut out", "抠图"), elem_id="cut", filterable=False)
        make = gr.Button(tr("Make the files", "生成文件"), size="sm", elem_id="files-button")
        links = output("files-out")
    shell.link_button(
        {
            "labels": common.labels,
            "checkpoint": common.checkpoint,
            "way": common.way,
            "plain": common.plain,
            "example": common.example,
            "scene": common.scene,
        },
        elem_id="link",
    )
    common.page.on(make.click, handlers.files, [*common.asked, common.held, cut], [links])
    return TryTab(run, [mask, line, common.held, cut])


def maps_tab(common: Common) -> None:
    """Lays out *Every label's map*."""
    gr.Markdown(tr(*MAPS_IDEA))
    run = gr.Button(tr("Show the maps", "显示各标签的图"), variant="primary", elem_id="maps-button")
    shown, line = output("maps-out"), output("maps-line")
    common.page.on(run.click, handlers.maps, common.asked, [shown, line])


def build() -> None:
    """Lays the page out and wires its handlers."""
    page = Shell()
    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            menu = CheckpointMenu("lseg", page)
            way = gr.Radio(
                [(text, name) for name, text in WAYS.items()],
                value="lseg",
                label=tr("Model", "模型"),
                elem_id="way",
            )
            plain = gr.Dropdown(
                handlers.plain_rows(),
                label=tr("Which CLIP", "哪个 CLIP"),
                visible=False,
                elem_id="plain",
                filterable=False,
            )
            note = output("way-note")
            picture = shell.picture_input(height=300, elem_id="picture")
            thumbnails = strip(examples(), "examples")
            example = gr.Textbox("", visible="hidden", label="example")
            scene = gr.Textbox("", visible="hidden", label="scene")
            refused = output("scene-refused")
        with gr.Column(scale=6, min_width=320):
            labels = components.label_chips("labels")
            held = gr.State([])
            common = Common(page, picture, example, scene, labels, way, plain, menu.value, held)
            with gr.Tabs(elem_classes="atlas-groups"):
                with gr.Tab(tr("Try it", "试一试"), id="try", elem_id="group-try"), gr.Tabs():
                    with gr.Tab(tr("Mask", "分割结果"), id="mask", elem_id="tab-mask"):
                        tab = try_tab(common)
                    with gr.Tab(tr("Every label's map", "各标签的图"), id="maps", elem_id="tab-maps"):
                        maps_tab(common)
                with gr.Tab(tr("Walkthrough", "分步课程"), id="walk", elem_id="group-walk"):
                    walk_tab(common)
                with gr.Tab(tr("Look inside", "看看内部"), id="inside", elem_id="group-inside"), gr.Tabs():
                    with gr.Tab(tr("Tensors", "张量"), id="tensors", elem_id="tab-tensors"):
                        tensors_tab(common)
                    with gr.Tab(tr("Regularization", "正则化"), id="blocks", elem_id="tab-blocks"):
                        blocks_tab(common)
                    with gr.Tab(tr("Code", "代码"), id="code", elem_id="tab-code"):
                        code_tab(common)
                with (
                    gr.Tab(tr("How it learns", "怎样学会"), id="learn", elem_id="group-learn"),
                    gr.Tabs(),
                    gr.Tab(tr("Train it live", "现场训练"), id="live", elem_id="tab-live"),
                ):
                    train_tab(page, "lseg")

    asked = [*common.asked, held]
    # Of labels that change while an answer is under way the last ones count.
    page.on(
        [tab.run.click, labels.input],
        handlers.segment,
        asked,
        tab.outputs,
        show_progress="hidden",
        trigger_mode="always_last",
    )
    filled = [picture, labels, example, scene, held]
    chosen = page.on(thumbnails.change, handlers.choose, [thumbnails], filled, show_progress="hidden")
    page.then(chosen, handlers.segment, asked, tab.outputs)
    page.on(way.change, handlers.way_note, [way], [plain, note], show_progress="hidden")
    page.on([way.input, plain.input, menu.value.input], handlers.switch, asked, tab.outputs)
    page.then(menu.downloaded, handlers.segment, asked, tab.outputs)
    # A picture of one's own is no example and no scene: a link cannot carry it.
    own = picture.upload(
        lambda: ("", ""), None, [example, scene], api_visibility="private", show_progress="hidden"
    )
    page.then(own, handlers.segment, asked, tab.outputs)
    first = page.on_load(handlers.opened, [*filled, way, plain, refused])
    page.then(first, handlers.segment, asked, tab.outputs)
    gr.api(handlers.lseg_segment, api_name="lseg_segment")
    gr.api(lseg_regularize, api_name="lseg_regularize")


PAGE = catalog.page("lseg", build)
