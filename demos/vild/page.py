"""The ViLD page: a picture, labels that come and go, and a box for each thing that they name; lessons; a look inside.

What its buttons do is in `demos.vild.answer`, the lessons in `demos.vild.lessons`, proposals, tensors and code in
`demos.vild.inside`.
"""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.context import Context

from demos import catalog
from demos.kit import shell
from demos.kit.components import label_chips, pick_box, stage
from demos.kit.examples import strip
from demos.kit.menu import CheckpointMenu, start_row
from demos.kit.shell import Shell, both, tr
from demos.vild import answer as handlers
from demos.vild.draw import VARIANTS
from demos.vild.examples import examples
from demos.vild.inside import code_tab, proposals_tab, tensors_tab
from demos.vild.lessons import walk_tab
from demos.vild.shared import Common, output

FIRST = both("Looking at the first example …", "正在看第一个例子……")
TRY_IDEA = (
    "Words are the classes: type “duck”, and ducks are found, though no duck ever had a box in training. Click a box to see "
    "its crop and how near every label is.",
    "词就是类别：输入“鸭子”就能找到鸭子，尽管训练时没有任何鸭子带框。点一个方框，看它的裁剪图和它离每个标签有多近。",
)
VARIANTS_IDEA = (
    "The same picture and labels under every variant of the paper, each at the threshold that suits it. *Predict first:* "
    "which is best on base labels, which on novel ones?",
    "同一张图、同样的标签，论文的每种变体各跑一遍，各用合适的阈值。*先猜一猜*：哪种在基础类上最好，哪种在新类上最好？",
)
CLOSED_IDEA = (
    "A detector as it was before: its classes are fixed when it is trained. Beside it the same network with your words.",
    "从前的检测器：类别在训练时就定死了。旁边是同一个网络，用你的词。",
)


def choices(variants: tuple[str, ...]) -> list[tuple[Any, str]]:
    """The variants as the radio shows them before a language is known."""
    return [(tr(VARIANTS[name].en, VARIANTS[name].zh), name) for name in variants]


def try_tab(common: Common, stopping: gr.Button, clicked: gr.HTML) -> tuple[gr.Button, list[Any]]:
    """Lays out *Boxes*: overlay, the look at one box, downloads. Returns the button and the places of an answer."""
    gr.Markdown(tr(*TRY_IDEA))
    run = gr.Button(tr("Detect", "检测"), variant="primary", elem_id="detect-button")
    shown = stage("boxes", f'<p class="atlas-line">{FIRST}</p>')
    one, line = output("inspect-out"), output("line")
    with gr.Accordion(tr("Download", "下载"), open=False, elem_id="files"):
        make = gr.Button(tr("Make the files", "生成文件"), size="sm", elem_id="files-button")
        links = output("files-out")
    shell.link_button(
        {
            "labels": common.labels,
            "variant": common.variant,
            "threshold": common.threshold,
            "proposals": common.proposals,
            "checkpoint": common.checkpoint,
            "example": common.example,
            "scene": common.scene,
        },
        elem_id="link",
    )
    common.on(make.click, handlers.files, [links])
    common.on(clicked.change, handlers.inspect, [one], clicked, show_progress="hidden")
    return run, [shown, one, line, stopping]


def compare_tab(common: Common, stopping: gr.Button) -> None:
    """Lays out *Variants side by side*."""
    gr.Markdown(tr(*VARIANTS_IDEA))
    run = gr.Button(tr("Run every variant", "每种变体都跑一遍"), variant="primary", elem_id="compare-button")
    shown, line = stage("compare-out"), output("compare-line")
    job = handlers.as_job(handlers.compare, 2, every=True)
    common.page.on(run.click, job, [*common.asked, common.example], [shown, line, stopping], session=True)


def closed_tab(common: Common, stopping: gr.Button) -> None:
    """Lays out *Closed vocabulary*."""
    gr.Markdown(tr(*CLOSED_IDEA))
    run = gr.Button(
        tr("What would a closed detector say?", "封闭的检测器会怎么说？"),
        variant="primary",
        elem_id="closed-button",
    )
    shown, line = stage("closed-out"), output("closed-line")
    job = handlers.as_job(handlers.closed, 2)
    common.page.on(run.click, job, common.asked, [shown, line, stopping], session=True)


def build() -> None:
    """Lays the page out and wires its handlers."""
    page = Shell()
    row = start_row("vild")
    first = handlers.variant_for(handlers.VARIANT, row)
    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            menu = CheckpointMenu("vild", page)
            picture = shell.picture_input(height=300, elem_id="picture")
            thumbnails = strip(examples(), "examples")
            example = gr.Textbox("", visible="hidden", label="example")
            scene = gr.Textbox("", visible="hidden", label="scene")
            refused = output("scene-refused")
            clicked, looked = pick_box("inspect"), pick_box("look")
        with gr.Column(scale=6, min_width=320):
            labels = label_chips("labels")
            variant = gr.Radio(
                choices(handlers.variants_of(row)),
                value=first,
                label=tr("Where a region's vector comes from", "区域向量从哪里来"),
                elem_id="variant",
            )
            with gr.Row():
                threshold = gr.Slider(
                    0,
                    1,
                    value=handlers.threshold_for(first, row),
                    step=0.01,
                    label=tr("Threshold: least score of a box", "阈值：方框的最低得分"),
                    elem_id="threshold",
                    min_width=240,
                )
                proposals = gr.Slider(
                    1,
                    handlers.MOST_PROPOSALS,
                    value=handlers.PROPOSALS,
                    step=1,
                    label=tr("Proposals: places that are asked about", "候选框：问多少处"),
                    elem_id="proposals",
                    min_width=240,
                )
            stopping = gr.Button(
                tr("Stop", "停止"), variant="stop", visible=False, elem_id="stop", min_width=90
            )
            common = Common(page, picture, example, scene, labels, variant, threshold, proposals, menu.value)
            with gr.Tabs(elem_classes="atlas-groups"):
                with gr.Tab(tr("Try it", "试一试"), id="try", elem_id="group-try"), gr.Tabs():
                    with gr.Tab(tr("Boxes", "方框"), id="boxes", elem_id="tab-boxes"):
                        run, outputs = try_tab(common, stopping, clicked)
                    with gr.Tab(tr("Variants side by side", "变体对照"), id="compare", elem_id="tab-compare"):
                        compare_tab(common, stopping)
                    with gr.Tab(tr("Closed vocabulary", "封闭词表"), id="closed", elem_id="tab-closed"):
                        closed_tab(common, stopping)
                with gr.Tab(tr("Walkthrough", "分步课程"), id="walk", elem_id="group-walk"):
                    walk_tab(common, stopping)
                with gr.Tab(tr("Look inside", "看看内部"), id="inside", elem_id="group-inside"), gr.Tabs():
                    with gr.Tab(tr("Proposals", "候选框"), id="proposals", elem_id="tab-proposals"):
                        proposals_tab(common, looked, stopping)
                    with gr.Tab(tr("Tensors", "张量"), id="tensors", elem_id="tab-tensors"):
                        tensors_tab(common, stopping)
                    with gr.Tab(tr("Code", "代码"), id="code", elem_id="tab-code"):
                        code_tab(common, stopping)

    asked = common.asked
    detect = handlers.as_job(handlers.detect, 3)
    # Of sliders and labels that change while an answer is under way the last ones count.
    page.on(
        [run.click, labels.input, threshold.input, proposals.release],
        detect,
        asked,
        outputs,
        session=True,
        show_progress="hidden",
        trigger_mode="always_last",
    )
    fitted = page.on(variant.input, handlers.suit, [variant, menu.value], [threshold], show_progress="hidden")
    page.then(fitted, detect, asked, outputs, session=True)
    # The menu's row may also come from an address, or from what the browser remembers.
    page.on(menu.value.change, handlers.fit, [variant, menu.value], [variant], show_progress="hidden")
    filled = [picture, labels, example, scene]
    chosen = page.on(thumbnails.change, handlers.choose, [thumbnails], filled, show_progress="hidden")
    page.then(chosen, detect, asked, outputs, session=True)
    switched = page.on(
        menu.value.input, handlers.suit, [variant, menu.value], [threshold], show_progress="hidden"
    )
    page.then(switched, handlers.as_job(handlers.switched, 3), asked, outputs, session=True)
    page.then(menu.downloaded, detect, asked, outputs, session=True)
    # A picture of one's own is no example and no scene: a link cannot carry it.
    own = picture.upload(
        lambda: ("", ""), None, [example, scene], api_visibility="private", show_progress="hidden"
    )
    page.then(own, detect, asked, outputs, session=True)
    opened = page.on_load(handlers.opened, [*filled, variant, threshold, proposals, refused])
    page.then(opened, detect, asked, outputs, session=True)
    page.on(stopping.click, handlers.stop, [], [stopping], session=True, queue=False, show_progress="hidden")
    root: Any = Context.root_block
    root.unload(handlers.STOPS.leave)
    gr.api(handlers.vild_detect, api_name="vild_detect")


PAGE = catalog.page("vild", build)
