"""The GroupViT page: groups that name themselves, the threshold, groups across pictures, right names, lessons.

The tabs share one picture, one list of labels, one threshold and one checkpoint; what their buttons do is in
`demos.groupvit.answer`, `demos.groupvit.code` and `demos.groupvit.lessons`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.context import Context

from demos import catalog
from demos.groupvit import answer as handlers
from demos.groupvit import code as groupvit_code
from demos.groupvit import lessons as groupvit_walk
from demos.kit import old_walk as walk
from demos.kit import shell
from demos.kit.components import label_box, mask_stage, output, surface
from demos.kit.examples import strip
from demos.kit.menu import CheckpointMenu
from demos.kit.segment_train import train_tab
from demos.kit.shell import Shell, tr

THRESHOLD_IDEA = (
    "A group whose best label scores less is background. Predict first: what happens at 0, and at 1?",
    "最高得分低于阈值的组就是背景。先猜一猜：放到 0 会怎样？放到 1 呢？",
)
CROWD_IDEA = (
    "The last stage has a fixed number of groups, eight in the paper: a picture with more things than that cannot keep them "
    "apart. *Predict first:* what will nine things become?",
    "最后一个阶段的组数是固定的，论文里是八个：图里的东西再多，就分不开了。*先猜一猜*：九样东西会变成什么样？",
)
NAMES_IDEA = (
    "Is a bad mask a matter of bad groups or of bad names? Scenes that were never trained on know the truth of every pixel: "
    "each group gets the right name, and nothing else changes.",
    "掩码不好，是分组不好还是名字不对？这些从未训练过的场景知道每个像素的真值：给每个组换上正确的名字，其余一概不动。",
)
ROW_IDEA = (
    "Groups are the same for all pictures. In the paper one group of stage 1 is **eyes**, whatever the animal, and one of "
    "stage 2 is **grass**. Choose one and see where it is in every picture.",
    "组是所有图片共用的。论文里，第一阶段有一个组是**眼睛**，不管是什么动物；第二阶段有一个组是**草地**。选一个组，看它在每张图里的位置。",
)
TENSORS_IDEA = (
    "From pixels to a mask: every step with the shapes that it really had.",
    "从像素到掩码：每一步都带着真实的形状。",
)
CODE_IDEA = (
    "The lines of this repository that ran, read from the files of the server, each beside its equation (Xu et al. 2022).",
    "刚刚运行的代码行，直接读自服务器上的文件，旁边是对应的公式（Xu 等 2022）。",
)
WALK_IDEA = (
    "Each step shows a picture, **asks you first**, then runs and explains. What is true depends on the checkpoint above.",
    "每一步先给出图片，**先问你**，再运行、解释。结果取决于上面选的权重。",
)


@dataclass(frozen=True)
class Common:
    """What the tabs share."""

    page: Shell
    checkpoint: Any
    picture: Any
    example: gr.Textbox
    labels: gr.Textbox
    threshold: gr.Slider

    @property
    def asked(self) -> list[Any]:
        """What a question consists of."""
        return [self.picture, self.labels, self.threshold, self.checkpoint]


def try_tab(common: Common, run: gr.Button) -> list[Any]:
    """Lays *Segment* out and wires it; returns its outputs."""
    page = common.page
    # Above the mask, so that both are in sight while it moves.
    common.threshold.render()
    mask, chart = mask_stage("mask"), output("chart")
    line = output("line")
    files = output("downloads")
    with gr.Accordion(
        tr("Groups and labels: every score", "组与标签：全部得分"), open=False, elem_id="table-box"
    ):
        table = output("table")
    shell.link_button(
        {
            "labels": common.labels,
            "threshold": common.threshold,
            "checkpoint": common.checkpoint,
            "example": common.example,
        },
        elem_id="link",
    )
    outputs = [mask, chart, table, line, files]
    page.on([run.click, common.labels.submit], handlers.segment, common.asked, outputs)
    # While the slider moves only the newest place counts.
    page.on(
        common.threshold.input,
        handlers.repaint,
        common.asked,
        [mask, chart, table],
        show_progress="hidden",
        trigger_mode="always_last",
    )
    page.on(common.threshold.release, handlers.downloads, common.asked, [line, files], show_progress="hidden")
    return outputs


def crowd_tab(common: Common) -> None:
    """Lays *More than eight* out and wires it."""
    gr.Markdown(tr(*CROWD_IDEA))
    with gr.Row():
        nine = gr.Button(tr("Nine things", "九样东西"), variant="primary", elem_id="crowd-nine")
        own = gr.Button(tr("The page's picture", "本页的图片"), elem_id="crowd-own")
    groups, said, line = mask_stage("crowd-mask"), output("crowd-out"), output("crowd-line")
    outputs = [groups, said, line]
    filled = common.page.on(
        nine.click,
        handlers.nine,
        [common.checkpoint],
        [common.picture, common.labels, common.example],
        show_progress="hidden",
    )
    common.page.then(filled, handlers.crowded, common.asked, outputs)
    common.page.on(own.click, handlers.crowded, common.asked, outputs)


def names_tab(common: Common) -> gr.HTML:
    """Lays *Right names* out and wires it; returns the place of the published numbers."""
    page = common.page
    gr.Markdown(tr(*NAMES_IDEA))
    with gr.Row():
        run = gr.Button(
            tr("Give six scenes their right names", "给六个场景换上正确的名字"),
            variant="primary",
            elem_id="names-button",
        )
        other = gr.Button(tr("Six other scenes", "换六个场景"), elem_id="names-other")
        stopping = gr.Button(
            tr("Stop", "停止"), variant="stop", visible=False, elem_id="names-stop", min_width=90
        )
    seed = gr.Number(0, visible="hidden", label="seed")
    score, table, line = output("names-score"), output("names-out"), output("names-line")
    published = output("published")
    outputs = [score, table, line, stopping]
    inputs = [seed, common.threshold, common.checkpoint]
    event = page.on(run.click, handlers.renamed, inputs, outputs, session=True, show_progress="hidden")
    page.then(event, handlers.rest, [], [stopping])
    page.on(other.click, handlers.other_seed, [seed], [seed], show_progress="hidden")
    # A job knows its visitor's session, which only `on` hands over: the seed's change starts it.
    again = page.on(seed.change, handlers.renamed, inputs, outputs, session=True, show_progress="hidden")
    page.then(again, handlers.rest, [], [stopping])
    page.on(stopping.click, handlers.stop, [], [stopping], session=True, queue=False, show_progress="hidden")
    return published


def row_tab(common: Common) -> None:
    """Lays *Groups* out and wires it."""
    page = common.page
    gr.Markdown(tr(*ROW_IDEA))
    with gr.Row():
        run = gr.Button(
            tr("Show the groups of a row of pictures", "展示一排图片的分组"),
            variant="primary",
            elem_id="row-button",
        )
        stopping = gr.Button(
            tr("Stop", "停止"), variant="stop", visible=False, elem_id="row-stop", min_width=90
        )
    row, line = surface("row", "groups.js", "${value}"), output("row-line")
    event = page.on(
        run.click,
        handlers.across,
        [common.picture, common.checkpoint],
        [row, line, stopping],
        session=True,
        show_progress="hidden",
    )
    page.then(event, handlers.rest, [], [stopping])
    page.on(stopping.click, handlers.stop, [], [stopping], session=True, queue=False, show_progress="hidden")


def tensors_tab(common: Common) -> None:
    """Lays *Tensors* out and wires it."""
    gr.Markdown(tr(*TENSORS_IDEA))
    run = gr.Button(tr("Show the shapes", "展示形状"), variant="primary", elem_id="tensors-button")
    shapes, line = output("tensors-out"), output("tensors-line")
    common.page.on(run.click, groupvit_code.tensors, common.asked, [shapes, line])


def code_tab(common: Common) -> None:
    """Lays *Code* out and wires it."""
    gr.Markdown(tr(*CODE_IDEA))
    run = gr.Button(tr("Run and show the lines", "运行并显示代码"), variant="primary", elem_id="code-button")
    cards, line = output("code-out"), output("code-line")
    common.page.on(run.click, groupvit_code.run, common.asked, [cards, line])


def build() -> None:
    """Lays the page out and wires its handlers."""
    page = Shell()
    root: Any = Context.root_block
    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            menu = CheckpointMenu(handlers.PAPER, page)
            picture = shell.picture_input(height=300, elem_id="picture")
            thumbnails = strip(handlers.examples(), "examples")
            example = gr.Textbox("", visible="hidden", label="example")
        with gr.Column(scale=6, min_width=320):
            labels = label_box("labels")
            run = gr.Button(tr("Segment", "分割"), variant="primary", elem_id="segment-button")
            threshold = gr.Slider(
                0,
                1,
                value=0.5,
                step=0.01,
                label=tr("Background threshold", "背景阈值"),
                info=tr(*THRESHOLD_IDEA),
                elem_id="threshold",
                render=False,
            )
            common = Common(page, menu.value, picture, example, labels, threshold)
            with gr.Tabs(elem_classes="atlas-groups"):
                with gr.Tab(tr("Try it", "试一试"), id="try", elem_id="group-try"), gr.Tabs():
                    with gr.Tab(tr("Segment", "分割"), id="segment", elem_id="tab-segment"):
                        outputs = try_tab(common, run)
                    with gr.Tab(tr("More than eight", "超过八个"), id="crowd", elem_id="tab-crowd"):
                        crowd_tab(common)
                    with gr.Tab(tr("Right names", "换上正确的名字"), id="names", elem_id="tab-names"):
                        published = names_tab(common)
                with gr.Tab(tr("Look inside", "看看内部"), id="inside", elem_id="group-inside"), gr.Tabs():
                    with gr.Tab(tr("Groups", "分组"), id="row", elem_id="tab-row"):
                        row_tab(common)
                    with gr.Tab(tr("Tensors", "张量"), id="tensors", elem_id="tab-tensors"):
                        tensors_tab(common)
                    with gr.Tab(tr("Code", "代码"), id="code", elem_id="tab-code"):
                        code_tab(common)
                with (
                    gr.Tab(tr("How it learns", "怎样学会"), id="learn", elem_id="group-learn"),
                    gr.Tabs(),
                    gr.Tab(tr("Train it live", "现场训练"), id="live", elem_id="tab-live"),
                ):
                    train_tab(page, "groupvit")
                with gr.Tab(tr("Lessons", "课程"), id="walk", elem_id="group-walk"):
                    walk.tab(
                        page,
                        WALK_IDEA,
                        groupvit_walk.lessons(),
                        groupvit_walk.turn_to,
                        groupvit_walk.reveal,
                        [common.checkpoint],
                        result=mask_stage,
                    )

    filled = [picture, labels, example]
    chosen = page.on(
        thumbnails.change, handlers.choose, [thumbnails, menu.value], filled, show_progress="hidden"
    )
    page.then(chosen, handlers.segment, common.asked, outputs)
    # A picture of one's own is no example: a link cannot carry it.
    picture.upload(lambda: "", None, [example], api_visibility="private", show_progress="hidden")
    page.on(menu.value.input, handlers.own_threshold, [menu.value], [threshold], show_progress="hidden")
    opened = page.on_load(handlers.opened, [*filled, threshold, published])
    page.then(opened, handlers.first_answer, [picture, labels, threshold], outputs)
    root.unload(handlers.STOPS.leave)
    gr.api(handlers.groupvit_segment, api_name="groupvit_segment")


PAGE = catalog.page("groupvit", build)
