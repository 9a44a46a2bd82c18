"""The CLIPasso page: a picture becomes strokes while one watches; a look inside, comparisons and lessons behind tabs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.context import Context

from demos import catalog
from demos.clipasso import answer as handlers
from demos.clipasso.compare import compare_tab
from demos.clipasso.inside import inside_tab
from demos.clipasso.lessons import code_tab, walkthrough_tab
from demos.draw import strokes as sketch_draw
from demos.kit import jobs, shell
from demos.kit.components import label_box, output
from demos.kit.examples import strip
from demos.kit.menu import CheckpointMenu
from demos.kit.shell import Shell, tr

STEPS_INFO = (
    "0: as many as the checkpoint needs (200 for the miniature; 2,001 is the default of the authors' script).",
    "0：按权重所需（微缩模型 200 步；作者的脚本默认 2001 步）。",
)
LADDER_IDEA = (
    "The same picture with fewer and fewer strokes, all optimised **in one run**. *Predict first:* at how many strokes will "
    "CLIP still read the right name?",
    "同一张图，笔画越来越少，**一次运行**同时优化。*先猜一猜：*还剩多少笔时，CLIP 仍能读出正确的名字？",
)


@dataclass(frozen=True)
class Common:
    """What the tabs share."""

    page: Shell
    checkpoint: gr.Dropdown
    picture: Any
    example: gr.Textbox
    labels: gr.Textbox
    made: gr.State  # the last run of the first tab


def build() -> None:
    """Lays the page out and wires its handlers."""
    page = Shell()
    root: Any = Context.root_block
    with gr.Row():
        with gr.Column(scale=3, min_width=280):
            menu = CheckpointMenu("clip", page)
            picture = shell.picture_input(height=260, elem_id="picture")
            thumbnails = strip(handlers.examples(), "examples")
            example = gr.Textbox("", visible="hidden", label="example")
            labels = label_box("labels", tr("Names that CLIP chooses from", "CLIP 从中选择的名字"))
            # The last run, half an hour long. Among the tabs a state would be counted as one of them.
            made = gr.State(None, time_to_live=1800)
            ladder_made = gr.State(None, time_to_live=1800)
            common = Common(page, menu.value, picture, example, labels, made)
        with gr.Column(scale=7, min_width=320), gr.Tabs(elem_classes="atlas-groups"):
            with gr.Tab(tr("Try it", "试一试"), id="try"):
                view, status, on_example = sketch_tab(common)
            with gr.Tab(tr("Abstraction ladder", "抽象阶梯"), id="ladder", elem_id="tab-ladder"):
                ladder_tab(common, ladder_made)
            with gr.Tab(tr("Look inside", "看内部"), id="inside", elem_id="tab-inside"):
                inside_tab(page, made)
            with gr.Tab(tr("Compare", "比较"), id="compare", elem_id="tab-compare"):
                compare_tab(page, picture, labels, menu.value, made)
            with gr.Tab(tr("Walkthrough", "导览"), id="walk", elem_id="tab-walk"):
                walkthrough_tab(page, picture, labels, menu.value)
            with gr.Tab(tr("Code", "代码"), id="code", elem_id="tab-code"):
                code_tab()

    filled = [picture, labels, example]
    on_example(thumbnails, filled)
    # A picture of one's own is no example: a link cannot carry it.
    picture.upload(lambda: "", None, [example], api_visibility="private", show_progress="hidden")
    page.on_load(handlers.opened, [*filled, view, status])
    root.unload(jobs.STOPS.leave)
    gr.api(handlers.clipasso_sketch, api_name="clipasso_sketch")
    gr.api(handlers.clipasso_ladder, api_name="clipasso_ladder")


def sketch_tab(common: Common) -> tuple[gr.HTML, gr.HTML, Callable[[gr.HTML, list[Any]], None]]:
    """The first tab; returns its surface, its status, and what wires the strip of examples to it."""
    page = common.page
    strokes = gr.Slider(
        1,
        64,
        value=16,
        step=1,
        label=tr("Strokes: fewer is more abstract", "笔画数：越少越抽象"),
        elem_id="strokes",
    )
    run = gr.Button(tr("Sketch", "画"), variant="primary", elem_id="sketch-button")
    stop = jobs.stop_button("sketch-stop")
    with gr.Accordion(
        tr("Seeds, width, colour, start", "种子、粗细、颜色、起点"), open=False, elem_id="knobs"
    ):
        with gr.Row(equal_height=True):
            seeds = gr.Slider(
                1,
                8,
                value=1,
                step=1,
                label=tr("Seeds: the best one wins", "种子数：取最好的"),
                elem_id="seeds",
            )
            width = gr.Slider(0.5, 12, value=3, step=0.5, label=tr("Width", "粗细"), elem_id="width")
        with gr.Row(equal_height=True):
            start = gr.Radio(
                [(tr("where CLIP looks", "CLIP 注视处"), "saliency"), (tr("anywhere", "随机"), "random")],
                value="saliency",
                label=tr("Strokes begin", "笔画起点"),
                elem_id="start",
            )
            with gr.Column(min_width=160):
                colour = gr.Checkbox(False, label=tr("Colour", "彩色"), elem_id="colour")
                cut_out = gr.Checkbox(
                    False, label=tr("Remove the background first", "先去掉背景"), elem_id="cut-out"
                )
        with gr.Row(equal_height=True):
            steps = gr.Slider(
                0, 2001, value=0, step=1, label=tr("Steps", "步数"), info=tr(*STEPS_INFO), elem_id="steps"
            )
            seed = gr.Number(0, label=tr("First seed", "第一个种子"), precision=0, elem_id="seed")
    status = output("sketch-status")
    view = sketch_draw.surface("sketch-view")
    verdict = output("sketch-verdict")
    files = output("sketch-files")
    with gr.Row(elem_classes="atlas-lessons"):
        again = gr.Button(tr("Continue from here", "从这里继续"), size="sm", elem_id="sketch-continue")
        stop_again = jobs.stop_button("continue-stop")
        film = gr.Button(tr("GIF and MP4", "GIF 和 MP4"), size="sm", elem_id="sketch-film")
        shell.link_button(
            {"labels": common.labels, "checkpoint": common.checkpoint, "example": common.example},
            elem_id="link",
        )
    films = output("sketch-film-out")

    outputs = [status, view, common.made, files]
    knobs = [strokes, seeds, steps, width, colour, cut_out, start, seed]
    inputs = [common.picture, *knobs, common.labels, common.checkpoint]
    jobs.long_job(page, [run.click], (run, stop), handlers.sketch, inputs, outputs)
    jobs.long_job(
        page,
        [again.click],
        (again, stop_again),
        handlers.go_on,
        [common.made, view, steps, common.labels],
        outputs,
    )
    page.on(view.input, handlers.judge_edit, [common.made, view], [verdict], show_progress="hidden")
    page.on(film.click, handlers.films, [common.made], [films])
    # What was said of the last drawing is not said of the next.
    for button in (run, again):
        button.click(
            None,
            None,
            [verdict, films],
            js="() => ['', '']",
            api_visibility="private",
            show_progress="hidden",
        )

    def on_example(thumbnails: gr.HTML, filled: list[Any]) -> None:
        jobs.long_job(
            page,
            [thumbnails.change],
            (run, stop),
            handlers.sketch_example,
            [thumbnails, *knobs, common.checkpoint],
            [*outputs, *filled],
        )

    return view, status, on_example


def ladder_tab(common: Common, made: gr.State) -> None:
    """Several numbers of strokes side by side."""
    page = common.page
    gr.Markdown(tr(*LADDER_IDEA))
    with gr.Row(equal_height=True):
        counts = gr.CheckboxGroup(
            [(str(count), count) for count in (1, 2, 4, 8, 16, 32, 64)],
            value=handlers.CONFIG["ladder"],
            label=tr("Numbers of strokes", "笔画数"),
            elem_id="ladder-counts",
        )
        steps = gr.Slider(
            0, 2001, value=0, step=1, label=tr("Steps", "步数"), info=tr(*STEPS_INFO), elem_id="ladder-steps"
        )
        seed = gr.Number(0, label=tr("Seed", "种子"), precision=0, elem_id="ladder-seed", min_width=90)
    run = gr.Button(tr("Draw the ladder", "画出阶梯"), variant="primary", elem_id="ladder-button")
    stop = jobs.stop_button("ladder-stop")
    status, view = output("ladder-status"), sketch_draw.surface("ladder-view")
    files = output("ladder-files")
    film = gr.Button(tr("GIF and MP4", "GIF 和 MP4"), size="sm", elem_id="ladder-film")
    films = output("ladder-film-out")
    jobs.long_job(
        page,
        [run.click],
        (run, stop),
        handlers.ladder,
        [common.picture, counts, steps, seed, common.labels, common.checkpoint],
        [status, view, made, files],
    )
    page.on(film.click, handlers.films, [made], [films])


PAGE = catalog.page("clipasso", build)
