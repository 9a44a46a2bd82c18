"""The Classroom page: compose a scene and see everything that is known about it; make a data set of many.

What its controls do is in `demos.classroom.answer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from core.classroom.world.concepts import concepts
from demos import catalog
from demos.classroom import answer as handlers
from demos.kit import places, shell
from demos.kit.components import output
from demos.kit.examples import strip
from demos.kit.language import Text, both
from demos.kit.shell import Shell, tr

DATASET_IDEA = both(
    "One archive: PNG images, COCO instances (boxes and masks, also of what is hidden), captions in English and Chinese, "
    "the licences of the drawings. No pair of things in val is a pair in train. More than 200 scenes: "
    "<code>python -m core.classroom dataset --out DIR --scenes N --seed S</code>",
    "一个压缩包：PNG 图片、COCO 标注（框和掩码，挡住的部分也有）、中英文描述、素材的许可证。val 里的组合在 train 里都没有出现过。"
    "超过 200 个场景请用 <code>python -m core.classroom dataset --out DIR --scenes N --seed S</code>",
)
# A click on a view makes it the big one, and keeps it so while scenes change: the stylesheet does the rest.
SHOW_BIG = """element.dataset.shown = "picture";
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-view]");
  if (button) element.dataset.shown = element.dataset.shown === button.dataset.view ? "picture" : button.dataset.view;
})"""


def options(name: str, first: tuple[Any, str] | None = None) -> list[tuple[Any, str]]:
    """A list of choices as a menu shows it."""
    rows = [(tr(text.en, text.zh), value) for value, text in handlers.choices()[name].items()]
    return [first, *rows] if first else rows


@dataclass(frozen=True)
class Controls:
    """Every control in the order in which handlers get them."""

    objects: list[list[Any]]  # of each slot, as handlers.OBJECT names them
    scene: list[Any]  # as handlers.SCENE names them

    @property
    def all(self) -> list[Any]:
        """All in one row."""
        return [*(part for slot in self.objects for part in slot), *self.scene]

    def named(self, *names: str) -> list[Any]:
        """These controls of every object."""
        return [slot[handlers.OBJECT.index(name)] for slot in self.objects for name in names]


def concept_menus() -> list[gr.Dropdown]:
    """Which thing is in each slot: searched in either language."""
    things = [(f"{c.en} · {c.zh}", c.code) for c in concepts()]
    menus = []
    for pair in ((1, 2), (3, 4)):
        with gr.Row(elem_classes="atlas-tight"):
            for number in pair:
                empty = [] if number == 1 else [(tr("– nothing –", "–（空）–"), "")]
                menus.append(
                    gr.Dropdown(
                        [*empty, *things],
                        value="1F415" if number == 1 else "",
                        label=tr(f"Object {number}", f"物体 {number}"),
                        elem_id=f"concept-{number}",
                        min_width=140,
                    )
                )
    return menus


def placement(number: int) -> list[Any]:
    """Place, size, distance, turn, mirror, pose and style of one object."""
    x = gr.Slider(-1, 1, 0, step=0.01, label=tr("Left to right", "左右"), elem_id=f"x-{number}")
    y = gr.Slider(-1, 1, 0, step=0.01, label=tr("Top to bottom", "上下"), elem_id=f"y-{number}")
    half = gr.Slider(0.08, 1.2, 0.44, step=0.01, label=tr("Size", "大小"), elem_id=f"half-{number}")
    depth = gr.Slider(
        0.02,
        0.98,
        0.6,
        step=0.01,
        label=tr("Distance: near hides far", "距离：近的挡住远的"),
        elem_id=f"depth-{number}",
    )
    angle = gr.Slider(-180, 180, 0, step=1, label=tr("Turn, degrees", "旋转角度"), elem_id=f"angle-{number}")
    flip = gr.Checkbox(False, label=tr("Mirrored", "左右翻转"), elem_id=f"flip-{number}")
    pose = gr.Radio(
        options("poses"),
        value="standing",
        label=tr("Pose (of a sheep)", "姿态（只有羊有）"),
        elem_id=f"pose-{number}",
    )
    style = gr.Dropdown(
        options("styles", (tr("any: the seed chooses", "任意：由种子决定"), "")),
        value="",
        label=tr("Drawing style", "画风"),
        elem_id=f"style-{number}",
        filterable=False,
    )
    return [x, y, half, depth, angle, flip, pose, style]


def scene_controls() -> tuple[Controls, gr.Button, gr.Button, gr.Button]:
    """Lays out the controls; returns them with Compose, Surprise me and Scene of this seed."""
    menus = concept_menus()
    arrangement = gr.Dropdown(
        options("arrangements"),
        value="left",
        label=tr("Arrangement", "位置关系"),
        elem_id="arrangement",
        filterable=False,
    )
    with gr.Row(elem_classes="atlas-tight"):
        background = gr.Dropdown(
            options("backgrounds"),
            value="grass",
            label=tr("Background", "背景"),
            elem_id="background",
            min_width=140,
        )
        rendering = gr.Dropdown(
            options("renderings"),
            value="colour",
            label=tr("Rendering", "画法"),
            elem_id="rendering",
            filterable=False,
            min_width=140,
        )
    with gr.Row(elem_classes="atlas-tight"):
        run = gr.Button(tr("Compose", "合成"), variant="primary", elem_id="compose-button", min_width=120)
        surprise = gr.Button(tr("Surprise me", "随机来一个"), elem_id="surprise-button", min_width=120)
    with gr.Accordion(
        tr("Place, size, turn, style of each", "每个物体的位置、大小、角度、画风"),
        open=False,
        elem_id="placement",
    ):
        rows = []
        with gr.Tabs():
            for number in range(1, handlers.SLOTS + 1):
                with gr.Tab(str(number), id=number):
                    rows.append(placement(number))
    with gr.Accordion(tr("Seed", "种子"), open=False, elem_id="seeds"):
        seed = gr.Number(
            0,
            label=tr("Seed", "种子"),
            info=tr(
                "It chooses what is left open: styles and the colours of patterns.",
                "决定没有指定的部分：画风和花纹的颜色。",
            ),
            precision=0,
            minimum=0,
            maximum=2**31 - 1,
            elem_id="seed",
        )
        of_seed = gr.Button(
            tr("The surprise of this seed", "这个种子的随机场景"), size="sm", elem_id="seed-button"
        )
    objects = [[menu, *row] for menu, row in zip(menus, rows, strict=True)]
    return Controls(objects, [arrangement, background, rendering, seed]), run, surprise, of_seed


def dataset_part(page: Shell) -> None:
    """Lays out *A data set of scenes* and wires it."""
    gr.HTML(
        f'<div class="atlas-part"><h2>{both("A data set of scenes", "批量生成数据集")}</h2><p>{DATASET_IDEA}</p></div>',
        padding=False,
        apply_default_css=False,
    )
    with gr.Row():
        count = gr.Slider(
            10,
            handlers.MOST_SCENES,
            50,
            step=10,
            label=tr("Scenes", "场景数"),
            elem_id="count",
            min_width=220,
        )
        kind = gr.Dropdown(
            options("kinds"), value="mixed", label=tr("Contents of a scene", "场景内容"), elem_id="kind",
            filterable=False, min_width=200,
        )  # fmt: skip
        look = gr.Dropdown(
            [(tr("every rendering", "各种画法"), "mixed"), *options("renderings")],
            value="mixed",
            label=tr("Rendering", "画法"),
            elem_id="look",
            filterable=False,
            min_width=160,
        )
        size = gr.Dropdown(
            [(f"{side} x {side}", side) for side in (96, 160, 224, 320)],
            value=224,
            label=tr("Pixels", "像素"),
            elem_id="size",
            filterable=False,
            min_width=140,
        )
        seed = gr.Number(
            0, label=tr("Seed", "种子"), precision=0, minimum=0, maximum=2**31 - 1, elem_id="set-seed", min_width=120
        )  # fmt: skip
    plain = gr.Checkbox(
        False,
        label=tr("Plain drawings, without changes of colour and shape", "原样的图画，不改变颜色和形状"),
        elem_id="plain",
    )
    made = places.lay_out("dataset", Text("Make the data set", "生成数据集"), {"file": download})
    places.wire(
        page, made.button.click, made, handlers.dataset, [count, seed, size, kind, look, plain], tuple
    )
    places.stopping(page, [made])


def download(elem_id: str) -> gr.DownloadButton:
    """The button that gives the finished archive."""
    return gr.DownloadButton("ZIP", variant="primary", visible=False, elem_id=elem_id)


def build() -> None:
    """Lays the page out and wires its handlers."""
    page = Shell()
    with gr.Row():
        with gr.Column(scale=4, min_width=320):
            thumbnails = strip(handlers.examples(), "examples")
            controls, run, surprise, of_seed = scene_controls()
        with gr.Column(scale=8, min_width=320):
            stage = output("stage", js_on_load=SHOW_BIG)
            line, links, files = (output(name) for name in ("line", "links", "files"))
            scene = gr.Textbox("", visible="hidden", label="scene", elem_id="scene-text")
            shell.link_button({"scene": scene}, elem_id="link")
    outputs = [*controls.all, stage, line, files, links, scene]
    menus = [*controls.named("concept", "flip", "pose", "style"), *controls.scene[:3]]
    placed = [part.release for part in controls.named(*handlers.PLACES)]
    changed = [
        *(part.input for part in menus),
        *(part.release for part in controls.named("angle")),
        controls.scene[3].submit,
    ]
    page.on(run.click, handlers.compose, controls.all, outputs)
    for triggers, handler in ((changed, handlers.compose), (placed, handlers.move)):
        page.on(triggers, handler, controls.all, outputs, show_progress="hidden", trigger_mode="always_last")
    page.on(surprise.click, handlers.surprise, [], outputs)
    page.on(of_seed.click, handlers.of_seed, [controls.scene[3]], outputs)
    page.on(thumbnails.change, handlers.choose, [thumbnails], outputs, show_progress="hidden")
    page.on_load(handlers.opened, outputs)
    dataset_part(page)
    gr.api(handlers.classroom_compose, api_name="classroom_compose")
    gr.api(handlers.classroom_dataset, api_name="classroom_dataset")


PAGE = catalog.page("classroom", build)
