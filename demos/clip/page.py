"""The CLIP page: classify a picture with words first; closer looks, lessons and code behind further tabs.

The tabs share one picture and one checkpoint. What each holds is in a module of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import gradio as gr

from demos import catalog
from demos.clip import answer as handlers
from demos.clip.ask import absent_tab, classify_tab, prompt_tab
from demos.clip.batch import batch_tab
from demos.clip.code import code_tab
from demos.clip.compare import compare_tab
from demos.clip.crops import crops_tab
from demos.clip.inside import attention_tab, tensors_tab, where_tab
from demos.clip.lessons import walkthrough_tab
from demos.clip.map import map_tab
from demos.clip.shared import Common
from demos.clip.train import live_tab
from demos.clip.whatif import whatif_tab
from demos.kit import shell
from demos.kit.components import label_box
from demos.kit.examples import strip
from demos.kit.language import Text
from demos.kit.menu import CheckpointMenu
from demos.kit.shell import Shell, tr

# The groups of tabs behind the first: id, title, and their tabs as (id, title, what lays one out).
GROUPS: tuple[tuple[str, Text, tuple[tuple[str, Text, Callable[[Common], None]], ...]], ...] = (
    (
        "closer",
        Text("Look closer", "细看"),
        (
            ("crops", Text("Crops", "裁剪"), crops_tab),
            ("compare", Text("Compare", "比较"), compare_tab),
            ("whatif", Text("What if?", "假如……"), whatif_tab),
        ),
    ),
    (
        "inside",
        Text("Look inside", "看内部"),
        (
            ("where", Text("Where is it?", "在哪里？"), where_tab),
            ("attention", Text("Attention", "注意力"), attention_tab),
            ("map", Text("Map", "地图"), map_tab),
            ("tensors", Text("Tensors", "张量"), tensors_tab),
            ("code", Text("Code", "代码"), code_tab),
        ),
    ),
    (
        "learn",
        Text("How it learns", "怎样学会"),
        (
            ("batch", Text("Contrastive batch", "对比批次"), batch_tab),
            ("live", Text("Train CLIP live", "现场训练 CLIP"), live_tab),
        ),
    ),
    ("lessons", Text("Lessons", "课程"), (("walkthrough", Text("Walkthrough", "跟我走"), walkthrough_tab),)),
)
# Groups whose tabs share one box of labels.
SHARED = ("closer", "inside")


def groups(common: Common) -> None:
    """Lays out every group of tabs behind the first."""
    for group, title, tabs in GROUPS:
        with gr.Tab(tr(title.en, title.zh), id=group, elem_id=f"group-{group}"):
            here = with_labels(common, group) if group in SHARED else common
            with gr.Tabs():
                for name, text, lay_out in tabs:
                    with gr.Tab(tr(text.en, text.zh), id=name, elem_id=f"tab-{name}"):
                        lay_out(here)


def with_labels(common: Common, group: str) -> Common:
    """The same with a box of labels that the tabs of a group share; it follows the first tab's."""
    labels = label_box(f"{group}-labels")
    common.labels.change(
        None, [common.labels], [labels], js="(text) => text", api_visibility="private", show_progress="hidden"
    )
    return replace(common, labels=labels)


def build() -> None:
    """Lays the page out and wires its handlers."""
    page = Shell()
    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            menu = CheckpointMenu("clip", page)
            picture = shell.picture_input(height=300, elem_id="picture")
            thumbnails = strip(handlers.examples(), "examples")
            example = gr.Textbox("", visible="hidden", label="example")
            scene = gr.Textbox("", visible="hidden", label="scene")
        with gr.Column(scale=6, min_width=320), gr.Tabs(elem_classes="atlas-groups"):
            with gr.Tab(tr("Try it", "试一试"), id="try"), gr.Tabs():
                with gr.Tab(tr("Classify", "分类"), id="classify"):
                    labels = label_box("labels")
                    common = Common(page, menu, picture, example, scene, labels)
                    tab = classify_tab(common)
                with gr.Tab(tr("Absent labels", "不在场的标签"), id="absent"):
                    present, missing = absent_tab(common, tab)
                with gr.Tab(tr("Prompt lab", "提示实验室"), id="prompts"):
                    lab_labels = prompt_tab(common)
            groups(common)

    filled = [picture, labels, present, missing, lab_labels, example, scene]

    chosen = page.on(thumbnails.change, handlers.choose, [thumbnails], filled, show_progress="hidden")
    page.then(chosen, handlers.classify, tab.inputs, tab.outputs)
    # A picture of one's own is no example and no scene: a link cannot carry it.
    picture.upload(lambda: ("", ""), None, [example, scene], api_visibility="private", show_progress="hidden")
    page.on_load(handlers.opened, [*filled, tab.bars, tab.template])
    gr.api(handlers.clip_classify, api_name="clip_classify")
    gr.api(handlers.clip_compare_templates, api_name="clip_compare_templates")


PAGE = catalog.page("clip", build)
