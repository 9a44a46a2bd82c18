"""The GLIP page: a sentence finds its boxes; the alignment of words and regions, lessons, how it was taught.

What its buttons do is in `demos.glip.answer`, the lessons in `demos.glip.lessons`, tensors, code and numbers in
`demos.glip.inside`.
"""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.context import Context

from demos import catalog
from demos.glip import answer as handlers
from demos.glip.examples import examples
from demos.glip.inside import alignment_tab, code_tab, learning_tab, tensors_tab
from demos.glip.lessons import walk_tab
from demos.glip.shared import Asked, Common, output, stage
from demos.kit import shell
from demos.kit.detect_jobs import asking
from demos.kit.examples import strip
from demos.kit.menu import CheckpointMenu
from demos.kit.shell import Shell, both, tr

FIRST = both("Grounding the first sentence …", "正在为第一句话找框……")
MODES = {
    "sentence": tr("A sentence (grounding)", "一句话（定位）"),
    "labels": tr("A list of labels (detection)", "一组标签（检测）"),
}
TEXT = ("Sentence, or labels with commas", "句子，或用逗号隔开的标签")
TEXT_INFO = (
    "A sentence: its things look for their boxes. Labels: they are joined into a prompt, as the paper does.",
    "句子：里面提到的东西各找各的框。标签：按论文的做法连成一个提示。",
)
THRESHOLD_IDEA = (
    "Boxes that score less are hidden. Nothing runs again: all boxes are here already.",
    "得分更低的框被隐藏。不需要重新运行：所有的框都已经在这里。",
)
# The slider tells the figure in the browser; Python learns of it when a file, a table or a matrix is asked for.
TELL = """(value) => {
  const place = document.querySelector("#figure .gl-figure");
  if (place) place.dispatchEvent(new CustomEvent("atlas-threshold", { detail: value, bubbles: true }));
}"""


def try_tab(common: Common, run: gr.Button) -> list[Any]:
    """Lays *Try it* out and wires it; returns the places of an answer."""
    page = common.page
    figure = stage("figure", f'<p class="atlas-line">{FIRST}</p>')
    common.threshold.render()
    line = output("line")
    with gr.Accordion(
        tr("Every box above the threshold", "阈值以上的所有框"), open=False, elem_id="table-box"
    ):
        table = output("table")
    with gr.Accordion(tr("Download", "下载"), open=False, elem_id="files"):
        make = gr.Button(tr("Make the files", "生成文件"), size="sm", elem_id="files-button")
        links = output("files-out")
    shell.link_button(
        {
            "text": common.text,
            "mode": common.mode,
            "threshold": common.threshold,
            "checkpoint": common.checkpoint,
            "example": common.example,
            "scene": common.scene,
        },
        elem_id="link",
    )
    outputs = [figure, table, line]
    common.on([run.click, common.text.submit], handlers.as_job(handlers.ground, 3), outputs)
    common.threshold.change(
        None, [common.threshold], None, js=TELL, api_visibility="private", show_progress="hidden"
    )
    table_of = asking(Asked, handlers.boxes_table)
    page.on(common.threshold.release, table_of, common.asked, [table], show_progress="hidden")
    common.on(make.click, handlers.as_job(handlers.files, 1), [links])
    return outputs


def build() -> None:
    """Lays the page out and wires its handlers."""
    page = Shell()
    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            menu = CheckpointMenu(handlers.PAPER, page)
            picture = shell.picture_input(height=280, elem_id="picture")
            thumbnails = strip(examples(), "examples")
            example = gr.Textbox("", visible="hidden", label="example")
            scene = gr.Textbox("", visible="hidden", label="scene")
            refused = output("scene-refused")
        with gr.Column(scale=6, min_width=320):
            mode = gr.Radio(
                [(text, name) for name, text in MODES.items()],
                value="sentence",
                label=tr("What you type", "你输入的是"),
                elem_id="mode",
            )
            text = gr.Textbox(
                label=tr(*TEXT), info=tr(*TEXT_INFO), lines=1, max_lines=4, elem_id="text", submit_btn=False
            )
            with gr.Row():
                run = gr.Button(tr("Find the boxes", "找框"), variant="primary", elem_id="ground-button")
                stopping = gr.Button(
                    tr("Stop", "停止"), variant="stop", visible=False, elem_id="stop", min_width=90
                )
            threshold = gr.Slider(
                0,
                1,
                value=0.5,
                step=0.01,
                label=tr("Threshold", "阈值"),
                info=tr(*THRESHOLD_IDEA),
                elem_id="threshold",
                render=False,
            )
            common = Common(page, picture, example, scene, mode, text, threshold, menu.value, stopping)
            with gr.Tabs(elem_classes="atlas-groups"):
                with gr.Tab(tr("Try it", "试一试"), id="try", elem_id="group-try"):
                    outputs = try_tab(common, run)
                with gr.Tab(tr("Walkthrough", "分步课程"), id="walk", elem_id="group-walk"):
                    walk_tab(common)
                with gr.Tab(tr("Look inside", "看看内部"), id="inside", elem_id="group-inside"), gr.Tabs():
                    with gr.Tab(tr("Alignment", "对齐"), id="alignment", elem_id="tab-alignment"):
                        alignment_tab(common)
                    with gr.Tab(tr("Tensors", "张量"), id="tensors", elem_id="tab-tensors"):
                        tensors_tab(common)
                    with gr.Tab(tr("Code", "代码"), id="code", elem_id="tab-code"):
                        code_tab(common)
                with gr.Tab(tr("How it learns", "怎样学会"), id="learn", elem_id="group-learn"):
                    taught = learning_tab()

    filled = [picture, text, example, scene]
    chosen = page.on(
        thumbnails.change, handlers.choose, [thumbnails, mode, menu.value], filled, show_progress="hidden"
    )
    ground, switch = handlers.as_job(handlers.ground, 3), handlers.as_job(handlers.switch, 4)
    common.then(chosen, ground, outputs)
    changed = page.on(
        mode.input, handlers.other_mode, [mode, example, text, menu.value], [text], show_progress="hidden"
    )
    common.then(changed, ground, outputs)
    common.on(menu.value.input, switch, [threshold, *outputs])
    common.then(menu.downloaded, switch, [threshold, *outputs])
    # A picture of one's own is no example and no scene: a link cannot carry it.
    picture.upload(lambda: ("", ""), None, [example, scene], api_visibility="private", show_progress="hidden")
    first = page.on_load(handlers.opened, [*filled, mode, threshold, refused, taught])
    page.then(first, asking(Asked, handlers.first_answer), common.asked, outputs)
    page.on(stopping.click, handlers.stop, [], [stopping], session=True, queue=False, show_progress="hidden")
    root: Any = Context.root_block
    root.unload(handlers.STOPS.left)
    gr.api(handlers.glip_ground, api_name="glip_ground")


PAGE = catalog.page("glip", build)
