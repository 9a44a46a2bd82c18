"""The Classroom page: compose a scene and see everything that is known about it; make a data set of many.

What its controls do is in `demos.classroom.answer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from core.classroom.world.concepts import concepts
from demos import catalog
from demos.classroom import answer as handlers
from demos.kit import form, library, places, shell
from demos.kit.components import code_of, output
from demos.kit.events import Shell
from demos.kit.examples import strip
from demos.kit.html import tag
from demos.kit.language import both_of, tr

text = partial(library.text, "classroom")
MOST_SEED = 2**31 - 1


def options(name: str, first: tuple[Any, str] | None = None) -> list[tuple[Any, str]]:
    """A list of choices as a menu shows it."""
    rows = [(title.tr, value) for value, title in handlers.choices()[name].items()]
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
                empty = [] if number == 1 else [(text("nothing").tr, "")]
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


@dataclass(frozen=True)
class Placement:
    """Place, size, distance, turn, mirror, pose and style of one object."""

    x: float = form.slider(-1, 1, 0, text("x"), step=0.01)
    y: float = form.slider(-1, 1, 0, text("y"), step=0.01)
    half: float = form.slider(0.08, 1.2, 0.44, text("half"), step=0.01)
    depth: float = form.slider(0.02, 0.98, 0.6, text("depth"), step=0.01)
    angle: float = form.slider(-180, 180, 0, text("angle"))
    flip: bool = form.switch(False, text("flip"))
    pose: str = form.choice(handlers.choices()["poses"], "standing", text("pose"))
    style: str = form.menu(lambda: options("styles", (text("any_style").tr, "")), "", text("style"), value="")


@dataclass(frozen=True)
class Scene:
    """What is said of the whole scene."""

    arrangement: str = form.menu(lambda: options("arrangements"), "left", text("arrangement"))
    background: str = form.menu(
        lambda: options("backgrounds"), "grass", text("background"), filterable=True, min_width=140
    )
    rendering: str = form.menu(lambda: options("renderings"), "colour", text("rendering"), min_width=140)
    seed: int = form.number(0, text("seed"), text("seed_info"), minimum=0, maximum=MOST_SEED, min_width=160)


@dataclass(frozen=True)
class DataSet:
    """What is said of a data set."""

    count: int = form.slider(10, handlers.MOST_SCENES, 50, text("count"), step=10, min_width=220)
    seed: int = form.number(0, text("seed"), minimum=0, maximum=MOST_SEED, min_width=120)
    size: int = form.menu(
        lambda: [(f"{side} x {side}", side) for side in (96, 160, 224, 320)], 224, text("size"), min_width=140
    )
    kind: str = form.menu(lambda: options("kinds"), "mixed", text("kind"), min_width=200)
    look: str = form.menu(
        lambda: options("renderings", (text("every_look").tr, "mixed")),
        "mixed",
        text("rendering"),
        min_width=160,
    )
    plain: bool = form.switch(False, text("plain"))


def scene_controls() -> tuple[Controls, gr.Button, gr.Button, gr.Button]:
    """Lays out the controls; returns them with Compose, Surprise me and Scene of this seed."""
    menus = concept_menus()
    scene = form.makers(Scene)
    made = {"arrangement": scene["arrangement"]("arrangement")}
    with gr.Row(elem_classes="atlas-tight"):
        made |= {name: scene[name](name) for name in ("background", "rendering")}
    with gr.Row(elem_classes="atlas-tight"):
        run = gr.Button(text("compose").tr, variant="primary", elem_id="compose-button", min_width=120)
        surprise = gr.Button(text("surprise").tr, elem_id="surprise-button", min_width=120)
    with gr.Accordion(text("placement").tr, open=False, elem_id="placement"):
        rows = []
        with gr.Tabs():
            for number in range(1, handlers.SLOTS + 1):
                with gr.Tab(str(number), id=number):
                    rows.append([make(f"{name}-{number}") for name, make in form.makers(Placement).items()])
    with gr.Accordion(text("seed").tr, open=False, elem_id="seeds"):
        made["seed"] = scene["seed"]("seed")
        of_seed = gr.Button(text("of_seed").tr, size="sm", elem_id="seed-button")
    objects = [[menu, *row] for menu, row in zip(menus, rows, strict=True)]
    return Controls(objects, list(made.values())), run, surprise, of_seed


def dataset_part(page: Shell) -> None:
    """Lays out *A data set of scenes* and wires it."""
    title = tag("h2", both_of(text("dataset")))
    idea = tag("p", library.html("classroom", "dataset_idea"))
    output(None, tag("div", title, idea, class_="atlas-part"))
    make = form.makers(DataSet)
    with gr.Row():
        given = {name: make[name](name) for name in ("count", "kind", "look", "size")}
        given["seed"] = make["seed"]("set-seed")
    given["plain"] = make["plain"]("plain")
    made = places.lay_out("dataset", text("make"), {"file": download})
    settings = [given[name] for name in make]
    places.wire(page, made.button.click, made, handlers.dataset, settings, tuple)
    places.stopping([made])


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
            stage = output("stage", js_on_load=code_of("scene.js"))
            line, links, files = (output(name) for name in ("line", "links", "files"))
            scene = gr.Textbox("", visible="hidden", label="scene", elem_id="scene-text")
            shell.link_button({"scene": scene})
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
