"""A page from what it declares: a question, answers, tabs, lessons. The kit lays it out and wires it.

    PAGE = page.declare("glip", Question, try_it=Try(...), examples=Examples(...), inside=[Tab(...)], ...)

The tabs stand in the same order under the same names on every page: Try it, Compare, Look inside, Walkthrough, Train it,
Many files. A page leaves out what it does not have. Tabs that no other page has are plain functions (`Custom`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gradio as gr
from gradio.context import Context

from core import checkpoints
from demos import catalog
from demos.kit import batch, code, library, opening, places, results, scenes_link, shell, tensors, walkthrough
from demos.kit.components import output
from demos.kit.events import QUIET, Shell
from demos.kit.examples import chosen, strip
from demos.kit.form import Form, lay_out_fields, uploads_of
from demos.kit.html import tag
from demos.kit.jobs import STOPS
from demos.kit.language import Text
from demos.kit.layout import Layout
from demos.kit.menu import CheckpointMenu, label_language, needs_download
from demos.kit.places import Handler, Place, Slots
from demos.kit.walkthrough import Walkthrough

SHOW = Text("Show", "显示")


@dataclass(frozen=True)
class Try:
    """The first tab: the question, the answer, its files.

    Attributes:
        handler: `handler(question, lang)`, see `demos.kit.places`.
        button: the title of the primary button.
        slots: what makes each slot of the answer, in their order on the page.
        files: `files(question, lang) -> HTML` of download links, asked for behind a fold.
        opening: `opening(lang)`, slots of the recorded answer to the question that a page without a link opens with.
        runs_on_opening: whether an open page asks at once; a page that does not still runs a link.
        in_turn: whether the job waits for the device behind the jobs of other visitors. Such an answer takes long: a change
            of the inputs greys it, and only a visitor who asks for another one gets it.
        idea: a sentence above the inputs.
        more: lays out what else the tab has, below the answer.
    """

    handler: Handler
    button: Text
    slots: Slots
    files: Handler | None = None
    opening: Callable[[str], Mapping[str, Any]] | None = None
    runs_on_opening: bool = True
    in_turn: bool = False
    idea: Text | None = None
    more: Callable[[Layout], None] | None = None


@dataclass(frozen=True)
class Examples:
    """The strip of example images.

    Attributes:
        rows: examples by id: {"path", "caption": {"en", "zh"}, ...}.
        opening: the one that the page opens with.
        fill: `fill(id, question, lang)`, the fields that an example sets.
        scene: `scene(opened, question, lang)`, the fields that a scene of the classroom sets beside the image.
    """

    rows: Callable[[], Mapping[str, Mapping[str, Any]]]
    opening: str
    fill: Callable[[str, Any, str], dict[str, Any]]
    scene: Callable[[scenes_link.SceneOpened, Any, str], dict[str, Any]] | None = None


def named_things(opened: scenes_link.SceneOpened, question: Any, lang: str) -> dict[str, Any]:
    """The things in a scene as its labels."""
    return {"labels": ", ".join(opened.names)}


def labelled(paper: str, opening: str, scene: Handler = named_things) -> Examples:
    """The examples of a page that asks for an image and labels, in a language that its checkpoint reads."""

    def fill(name: str, question: Any, lang: str) -> dict[str, Any]:
        row = library.examples(paper)[name]
        language = label_language(paper, getattr(question, "checkpoint", ""), lang)
        return {"image": row["path"], "labels": row["labels"][language]}

    return Examples(partial(library.examples, paper), opening, fill, scene)


@dataclass(frozen=True)
class Tab:
    """A tab of one button and its answer.

    Attributes:
        name: of its place; element ids begin with it.
        title: of the tab.
        idea: the sentences above the button.
        handler: as of `Try`.
        button: the title of its button.
        slots: what makes each slot; one, "out", where it is left out.
        inputs: further inputs, whose values the handler gets behind the question: a dataclass of `demos.kit.form` fields, or
            a function that lays them out and returns them.
        in_turn: as of `Try`.
    """

    name: str
    title: Text
    idea: Text
    handler: Handler
    button: Text = SHOW
    slots: Slots | None = None
    inputs: type[Any] | Callable[[Layout], Sequence[Any]] | None = None
    in_turn: bool = False


def tab(page: str, name: str, handler: Handler, **options: Any) -> Tab:
    """A tab whose title, idea and button are texts of the table `tabs` of a page's data.toml; `options` as of `Tab`."""
    texts: dict[str, Any] = {part: Text(**text) for part, text in library.entry(page, "tabs", name).items()}
    return Tab(name=name, handler=handler, **texts, **options)


@dataclass(frozen=True)
class Html:
    """A tab of HTML that needs no question: `draw(lang)`."""

    name: str
    title: Text
    draw: Callable[[str], str]
    idea: Text | None = None


@dataclass(frozen=True)
class Custom:
    """A tab that no other page has: `lay_out(layout)` makes its components and wires them."""

    name: str
    title: Text
    lay_out: Callable[[Layout], None]


AnyTab = Tab | Html | Custom


def tensors_tab(steps: Handler, idea: Text = tensors.IDEA) -> Tab:
    """*Tensors*: `steps(question, lang)` gives the steps of `demos.kit.tensors.table`, or HTML, and the result line."""

    def handler(question: Any, lang: str) -> dict[str, Any]:
        made, line = steps(question, lang)
        return {"out": made if isinstance(made, str) else tensors.table(made, lang), "line": line}

    return Tab("tensors", Text("Tensors", "张量"), idea, handler, Text("Show the shapes", "显示形状"))


def code_tab(cards: Handler, idea: Text = code.IDEA) -> Tab:
    """*Code*: `cards(question, lang)` gives the rows of cards, what the run made by name, and the result line."""

    def handler(question: Any, lang: str) -> dict[str, Any]:
        rows, values, line = cards(question, lang)
        return {"out": code.cards(rows, values, lang), "line": line}

    return Tab("code", Text("Code", "代码"), idea, handler, Text("Run and show the code", "运行并显示代码"))


def cards_tab(page: str) -> Html:
    """*Code* of a page whose cards stand without a run."""

    def cards(lang: str) -> str:
        return code.cards(library.data(page)["code"], {}, lang)

    return Html("code", Text("Code", "代码"), cards, code.IDEA)


def traced(page: str, values: Handler, otherwise: Text | None = None) -> list[Tab]:
    """*Tensors* and *Code* of a page whose data.toml has the tables `steps`, `code` and `made`.

    Args:
        page: its folder.
        values: `values(question, lang)` gives what the templates of these tables ask for, and the result line.
        otherwise: shown in place of the steps where `values` has none.
    """

    def steps(question: Any, lang: str) -> tuple[Any, str]:
        found, line = values(question, lang)
        if not found and otherwise:
            return tag("p", otherwise.get(lang), class_="atlas-line"), line
        return tensors.steps(page, **found), line

    def cards(question: Any, lang: str) -> tuple[Any, dict[str, str], str]:
        found, line = values(question, lang)
        data = library.data(page)
        return data["code"], tensors.filled(data["made"], found) if found else {}, line

    return [tensors_tab(steps), code_tab(cards)]


@dataclass(frozen=True)
class Declaration:
    """What a page declares; `declare` says what each part is."""

    question: type[Any]
    try_it: Try
    examples: Examples | None = None
    reactions: Mapping[str, Handler] = field(default_factory=dict)
    compare: Sequence[AnyTab] = ()
    inside: Sequence[AnyTab] = ()
    walk: Walkthrough | None = None
    train: Sequence[AnyTab] = ()
    many: batch.Many | None = None
    prepare: Handler | None = None
    opening: Callable[[Any, str], Mapping[str, Any]] | None = None
    settle: Callable[[Any, str], Mapping[str, Any]] | None = None
    endpoints: Sequence[Callable[..., Any]] = ()


def declare(slug: str, question: type[Any], *, try_it: Try, **parts: Any) -> catalog.Page:
    """A page of the catalog.

    Args:
        slug: its row in catalog.toml.
        question: a dataclass of `demos.kit.form` fields.
        try_it: the first tab.
        parts: of a `Declaration`:
            examples, the strip of example images;
            reactions, by field: `reaction(question, lang) -> {field: value}` to a change of the field by the visitor, before
            the question is asked again; for "checkpoint" where the row is on this machine;
            compare, inside, train: the tabs of *Compare*, *Look inside*, *Train it*;
            walk, the *Walkthrough*; many, the verb of *Many files*;
            prepare: `prepare(question, lang, cancel)` yields `Progress` in front of every answer, which then finds what took
            long;
            opening: `opening(question, lang) -> {field: value}`, further fields when the page opens, for example a
            checkpoint's threshold;
            settle: the same, but stronger than the address, for example a variant that the checkpoint does not have;
            endpoints, functions that are named endpoints under their own names.
    """
    declared = Declaration(question, try_it, **parts)
    return catalog.page(slug, partial(build, slug, declared), declared)


def build(slug: str, declared: Declaration) -> None:
    """Lays a page out in the open Gradio context and wires it."""
    page = Shell()
    examples = declared.examples
    with gr.Row(elem_classes="atlas-work"):
        with gr.Column(scale=4, min_width=300, elem_classes="atlas-form"):
            form = Form(declared.question, page)
            layout = Layout(page, form, declared, [])
            form.lay_out("side")
            thumbnails = strip(examples.rows(), "examples") if examples else None
        with gr.Column(scale=6, min_width=320):
            with gr.Column(elem_classes=["atlas-top", "atlas-needed"]):
                form.lay_out("top")
            with gr.Tabs(elem_classes="atlas-groups", elem_id="tabs") as tabs:
                with gr.Tab(Text("Try it", "试一试").tr, id="try", elem_id="group-try"):
                    place = _try_tab(layout)
                htmls = _group(layout, "compare", Text("Compare", "比较"), declared.compare)
                htmls |= _group(layout, "inside", Text("Look inside", "看看内部"), declared.inside)
                steps: dict[str, Any] = {}
                if declared.walk is not None:
                    with gr.Tab(Text("Walkthrough", "分步课程").tr, id="walk", elem_id="group-walk") as tab:
                        walking, steps = walkthrough.lay_out(
                            page, declared.walk, tab, form.components.get("checkpoint") or gr.State("")
                        )
                        layout.places.append(walking)
                htmls |= _group(layout, "train", Text("Train it", "动手训练"), declared.train)
                if declared.many is not None:
                    with gr.Tab(Text("Many files", "批量处理").tr, id="many", elem_id="group-many"):
                        batch.lay_out(layout, declared.many, slug)

    places.stopping(layout.places)
    opening.wire(layout, place, steps, htmls, tabs)
    _inputs(layout, place)
    if form.menu is not None:
        _checkpoint(layout, place, form.menu)
    if thumbnails is not None and examples is not None:
        filled = layout.fill(thumbnails.change, partial(_choose, examples), [thumbnails])
        layout.answer(place, behind=filled)
    for endpoint in declared.endpoints:
        gr.api(endpoint, api_name=endpoint.__name__)
    blocks: Any = Context.root_block
    blocks.unload(STOPS.leave)  # a closed tab stops its jobs


def _try_tab(layout: Layout) -> Place:
    form, try_it = layout.form, layout.declared.try_it
    if try_it.idea is not None:
        gr.Markdown(try_it.idea.tr)
    above: dict[str, Any] = {}

    def notes() -> None:
        above["notes"] = output("try-notes")
        above["get"] = gr.Button("", size="sm", visible="hidden", elem_id="try-get")

    place = layout.place("try", try_it.button, try_it.slots, before=notes)
    place.slots |= above
    if any(how.place == "settings" for how in form.fields.values()):
        with gr.Accordion(Text("Settings", "设置").tr, open=False, elem_id="settings"):
            form.lay_out("settings")
    if try_it.more is not None:
        try_it.more(layout)
    if try_it.files is not None:
        layout.downloads()
    shell.link_button(form.link, form.files)
    return place


def _group(layout: Layout, name: str, title: Text, tabs: Sequence[AnyTab]) -> dict[Any, Callable[[str], str]]:
    """A group of tabs; one alone stands without a second row. Returns component -> what draws it on opening."""
    if not tabs:
        return {}
    htmls: dict[Any, Callable[[str], str]] = {}
    with gr.Tab(title.tr, id=name, elem_id=f"group-{name}"):
        if len(tabs) == 1:
            htmls |= _tab(layout, tabs[0])
        else:
            with gr.Tabs():
                for tab in tabs:
                    with gr.Tab(tab.title.tr, id=tab.name, elem_id=f"tab-{tab.name}"):
                        htmls |= _tab(layout, tab)
    return htmls


def _tab(layout: Layout, tab: AnyTab) -> dict[Any, Callable[[str], str]]:
    if isinstance(tab, Custom):
        tab.lay_out(layout)
        return {}
    if tab.idea is not None:
        gr.Markdown(tab.idea.tr)
    if isinstance(tab, Html):
        return {output(f"{tab.name}-out"): tab.draw}
    more: Sequence[Any] = ()
    if isinstance(tab.inputs, type):
        more = list(lay_out_fields(tab.inputs, tab.name).values())
    elif tab.inputs is not None:
        more = tab.inputs(layout)
    place = layout.place(tab.name, tab.button, tab.slots or {"out": output})
    layout.ask(place.button.click, place, tab.handler, more, in_turn=tab.in_turn)
    return {}


def _choose(examples: Examples, question: Any, value: str, lang: str) -> dict[str, Any]:
    name = chosen(value, examples.rows())
    if name is None:
        return {"example": gr.skip()}
    return {**examples.fill(name, question, lang), "example": name, "scene": ""}


# --- changes of inputs -------------------------------------------------------------------------------------


def _inputs(layout: Layout, place: Place) -> None:
    """Wires the primary button, the Enter key, the files, and what follows a change of an input."""
    form, declared = layout.form, layout.declared
    enter = [c.submit for c in form.components.values() if isinstance(c, gr.Textbox) and c.lines == 1]
    layout.answer(place, [place.button.click, *enter])
    files, handler = next((one for one in layout.places if one.name == "files"), None), declared.try_it.files
    if files is not None and handler is not None:
        layout.ask(files.button.click, files, lambda question, lang: {"out": handler(question, lang)})
    gr.on(form.changes(), None, None, None, js="() => { window.atlas.touched(false); }", **QUIET)
    others = form.changes([name for name, how in form.fields.items() if how.script or how.followed])
    if others:
        gr.on(others, None, None, None, js="() => { window.atlas.touched(false, 'try'); }", **QUIET)
    for name, how in form.fields.items():
        if how.script:
            form.components[name].change(None, [form.components[name]], None, js=how.script, **QUIET)
        if name in declared.reactions and name != "checkpoint":
            changed = layout.fill(form.changes([name]), declared.reactions[name])
            if not declared.try_it.in_turn:
                layout.answer(place, behind=changed)
    # A visitor's own file is no example and no scene: a link cannot carry it.
    given = [event for file in form.files for event in uploads_of(file)]
    if given:
        gr.on(given, None, None, [form.example, form.scene], js="() => ['', '']", **QUIET)


def _checkpoint(layout: Layout, place: Place, menu: CheckpointMenu) -> None:
    """Wires another checkpoint: a miniature answers at once, real weights once they are downloaded or asked.

    Where an answer takes long it waits for the button.
    """
    reaction = layout.declared.reactions.get("checkpoint")

    def react(question: Any, lang: str) -> Mapping[str, Any]:
        return reaction(question, lang) if reaction and not needs_download(question.checkpoint) else {}

    def real(question: Any, lang: str) -> Mapping[str, Any]:
        return {"checkpoint": results.real_row(checkpoints.row(question.checkpoint).paper) or gr.skip()}

    def bundled(question: Any) -> Any:
        return question if checkpoints.row(question.checkpoint).bundled else None

    def present(question: Any) -> Any:  # a download may have been stopped, or have failed
        return None if needs_download(question.checkpoint) else question

    gr.on([menu.value.input], None, None, None, js="() => { window.atlas.touched(true); }", **QUIET)
    chosen = layout.fill(menu.value.input, react)
    downloaded = layout.fill(None, react, behind=menu.downloaded)
    fetched = layout.fill(None, react, behind=menu.fetch(layout.fill(place.slots["get"].click, real)))
    if not layout.declared.try_it.in_turn:
        layout.answer(place, when=bundled, behind=chosen)
        layout.answer(place, when=present, behind=downloaded)
        layout.answer(place, when=present, behind=fetched)
