"""A page from what it declares: a question, answers, tabs, lessons. The kit lays it out and wires it.

    PAGE = page.declare("glip", Question, try_it=Try(...), examples=Examples(...), inside=[Tab(...)], ...)

The tabs stand in the same order under the same names on every page: Try it, Compare, Look inside, Walkthrough, Train it,
Many files. A page leaves out what it does not have. Tabs that no other page has are plain functions (`Custom`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import gradio as gr
from gradio.context import Context

from core import checkpoints
from core.errors import Refusal
from demos import catalog
from demos.kit import batch, code, library, places, results, scenes_link, shell, tensors, walkthrough
from demos.kit.components import output
from demos.kit.events import QUIET, Shell, alert, lang_of, listening, refusal_html
from demos.kit.examples import chosen, strip
from demos.kit.form import Form, uploads_of
from demos.kit.html import tag
from demos.kit.jobs import STOPS
from demos.kit.language import Text, pick
from demos.kit.menu import CheckpointMenu, label_language, needs_download
from demos.kit.places import Handler, Place, Slots
from demos.kit.walkthrough import Walkthrough

SHOW = Text("Show", "显示")
OWN = "own"  # value of "image" in a link that was made with a visitor's own file
LINK_WITHOUT_FILE = (
    "This link was made with a file that is not part of it. The page shows its own example in place of that file.",
    "这个链接是用自己的文件生成的，链接里不包含那个文件；页面改为显示自带的例子。",
)


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


def labelled(paper: str, opening: str) -> Examples:
    """The examples of a page that asks for an image and labels, in a language that its checkpoint reads."""

    def fill(name: str, question: Any, lang: str) -> dict[str, Any]:
        row = library.examples(paper)[name]
        language = label_language(paper, getattr(question, "checkpoint", ""), lang)
        return {"image": row["path"], "labels": row["labels"][language]}

    def scene(opened: scenes_link.SceneOpened, question: Any, lang: str) -> dict[str, Any]:
        return {"labels": ", ".join(opened.names)}

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
        inputs: lays further inputs out and returns them; the handler gets their values behind the question. That of a
            dataclass of fields is `demos.kit.form.inputs`.
        in_turn: as of `Try`.
    """

    name: str
    title: Text
    idea: Text
    handler: Handler
    button: Text = SHOW
    slots: Slots | None = None
    inputs: Callable[[Layout], Sequence[Any]] | None = None
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
class Layout:
    """What a page is made of while it is laid out; custom tabs get it."""

    shell: Shell
    form: Form
    declared: Declaration
    places: list[Place]

    @property
    def components(self) -> dict[str, Any]:
        """The components of the question's fields by name."""
        return self.form.components

    @property
    def fields(self) -> dict[str, Any]:
        """The same with what a link carries in place of the image."""
        return {**self.form.components, "example": self.form.example, "scene": self.form.scene}

    def place(self, name: str, button: Text, slots: Slots, **options: Any) -> Place:
        """A place of the open tab: a button with Stop, and slots; `options` of `places.lay_out`."""
        made = places.lay_out(name, button, slots, **options)
        self.places.append(made)
        return made

    def ask(
        self,
        triggers: Any,
        place: Place,
        handler: Handler,
        more: Sequence[Any] = (),
        *,
        prepare: bool = True,
        **options: Any,
    ) -> Any:
        """Wires `handler(question, *more, lang)` to a place, behind the page's `prepare`.

        Args:
            triggers: events; None with `behind=` an event.
            place: from `place`.
            handler: answers at once or is a job.
            more: components whose values follow the question; a change of one of them makes the answer an old one.
            prepare: False for a handler that does not need what `prepare` makes.
            options: of `places.wire`.
        """
        count = len(self.form.fields)

        def read(values: Sequence[Any]) -> tuple[Any, ...]:
            return (self.form.question(values), *values[count:])

        ready = self.prepared(handler) if prepare else handler
        place.depends_on(more)
        own = self.fields.values()
        changes = any(one is known for one in options.get("fields", {}).values() for known in own)
        return places.wire(
            self.shell,
            triggers,
            place,
            ready,
            [*self.form.inputs, *more],
            read,
            changes_question=changes,
            **options,
        )

    def update(
        self, triggers: Any, place: Place, handler: Handler, more: Sequence[Any] = (), **options: Any
    ) -> Any:
        """Wires `handler(question, *more, lang)` that sets some slots of a place without being an answer of its own.

        `options` are Gradio's: `trigger_mode="always_last"` while a slider moves.
        """
        wired = self._setting(handler, place.slots, more)
        return gr.on(listening(triggers), *wired, **{**QUIET, **options})

    def _setting(
        self, handler: Handler, targets: Mapping[str, Any], more: Sequence[Any]
    ) -> tuple[Callable[..., dict[Any, Any]], list[Any], list[Any]]:
        """A function that sets the components that `handler(question, *more, lang)` names; its inputs; its outputs."""
        count, message = len(self.form.fields), self.shell.message

        def set_named(*values: Any) -> dict[Any, Any]:
            lang = lang_of(values)
            try:
                made = handler(self.form.question(values), *values[count:-1], lang)
            except Refusal as refusal:
                return {message: refusal_html(refusal, lang)}
            return {message: "", **{targets[name]: value for name, value in made.items()}}

        return set_named, [*self.form.inputs, *more, self.shell.lang], [message, *targets.values()]

    def prepared(self, handler: Handler) -> Handler:
        """The handler behind the page's `prepare`."""
        prepare = self.declared.prepare
        if prepare is None:
            return handler

        def job(question: Any, *more: Any) -> Iterator[Any]:
            lang, cancel = more[-2:]
            yield from prepare(question, lang, cancel)
            yield from places.parts(handler, (question, *more[:-1]), cancel)

        return job

    def answer(self, place: Place, triggers: Any = None, when: Any = None, **options: Any) -> Any:
        """Wires the first tab's handler.

        Args:
            place: of the first tab.
            triggers: events; None with `behind=` an event.
            when: `when(question)` gives the question to answer, or None to leave the answer as it is.
            options: of `places.wire`.
        """
        try_it = self.declared.try_it
        handler = self.prepared(try_it.handler)
        if when is not None:
            handler = _when(handler, when)
        return places.wire(
            self.shell,
            triggers,
            place,
            handler,
            self.form.inputs,
            lambda values: (self.form.question(values),),
            in_turn=try_it.in_turn,
            fields=self.form.components,
            **options,
        )

    def fill(
        self,
        triggers: Any,
        handler: Callable[..., Mapping[str, Any]],
        inputs: Sequence[Any] = (),
        behind: Any = None,
    ) -> Any:
        """Wires `handler(question, *inputs, lang) -> {field: value}`, also for "example" and "scene"."""
        wired = self._setting(handler, self.fields, inputs)
        if behind is not None:
            return behind.then(*wired, **QUIET)
        # The first tab answers behind the new fields; the answers of the other tabs are old ones.
        # They are not asked again before the fields are there.
        script = "(...values) => { window.atlas.filling(); return values; }"
        filled = gr.on(listening(triggers), *wired, js=script, **QUIET)
        filled.then(None, None, None, js="() => { window.atlas.filled(); }", **QUIET)
        return filled


def _when(handler: Handler, when: Handler) -> Handler:
    """The handler for the question that `when(question)` gives; no answer where it gives None."""
    if inspect.isgeneratorfunction(handler):

        def job(question: Any, lang: str, cancel: Any) -> Iterator[Any]:
            settled = when(question)
            if settled is not None:
                yield from handler(settled, lang, cancel)

        return job

    def answer(question: Any, lang: str) -> Any:
        settled = when(question)
        return {} if settled is None else handler(settled, lang)

    return answer


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
    _opening(layout, place, steps, htmls, tabs)
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
        above["get"] = gr.Button("", size="sm", visible=False, elem_id="try-get")

    place = layout.place("try", try_it.button, try_it.slots, before=notes)
    place.slots |= above
    if any(how.place == "settings" for how in form.fields.values()):
        with gr.Accordion(Text("Settings", "设置").tr, open=False, elem_id="settings"):
            form.lay_out("settings")
    if try_it.more is not None:
        try_it.more(layout)
    if try_it.files is not None:
        with gr.Accordion(Text("Download", "下载").tr, open=False, elem_id="downloads"):
            layout.place("files", Text("Make the files", "生成文件"), {"out": output})
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
    more = tab.inputs(layout) if tab.inputs else ()
    place = layout.place(tab.name, tab.button, tab.slots or {"out": output})
    layout.ask(place.button.click, place, tab.handler, more, in_turn=tab.in_turn)
    return {}


# --- opening -----------------------------------------------------------------------------------------------


def _choose(examples: Examples, question: Any, value: str, lang: str) -> dict[str, Any]:
    name = chosen(value, examples.rows())
    if name is None:
        return {"example": gr.skip()}
    return {**examples.fill(name, question, lang), "example": name, "scene": ""}


def opening_state(
    declared: Declaration, form: Form, question: Any, lang: str, query: Mapping[str, str]
) -> tuple[dict[str, Any], str]:
    """The fields that a page opens with, "example" and "scene" among them, and the sentence of a refused scene."""
    examples = declared.examples
    refused = ""
    given = {name: value for name, value in form.read(query).items() if name != "checkpoint"}
    question = replace(question, **given)
    fields: dict[str, Any] = {}
    if examples is not None:
        name = query.get("example", examples.opening)
        name = name if name in examples.rows() else examples.opening
        fields = {**examples.fill(name, question, lang), "example": name, "scene": ""}
    if examples is not None and examples.scene is not None:
        try:
            scene = scenes_link.opened(query, lang)
        except Refusal as refusal:
            scene, refused = None, refusal_html(refusal, lang)
        if scene is not None:
            more = examples.scene(scene, question, lang)
            text = query[scenes_link.PARAMETER]
            fields |= {"image": scene.path, **more, "example": "", "scene": text}
    if declared.opening is not None:
        fields |= declared.opening(question, lang)
    if query.get("image") == OWN:
        refused = alert(pick(lang, *LINK_WITHOUT_FILE))
    settled = dict(declared.settle(question, lang)) if declared.settle is not None else {}
    return fields | given | settled, refused


def _recorded(try_it: Try, lang: str) -> dict[str, Any]:
    """The recorded answer; none where its row is not in the registry of this server."""
    try:
        return dict(try_it.opening(lang)) if try_it.opening is not None else {}
    except Refusal:
        return {}


def _opening(
    layout: Layout,
    place: Place,
    steps: Mapping[str, Any],
    htmls: Mapping[Any, Callable[[str], str]],
    tabs: Any,
) -> None:
    """Wires what happens when the page opens: its fields, a step of the walkthrough, the first answer."""
    form, declared = layout.form, layout.declared
    try_it, walk, menu = declared.try_it, declared.walk, form.menu
    asks = gr.Textbox("", visible="hidden", label="asks")
    refused = output("refused")
    fields = {name: one for name, one in layout.fields.items() if name != "checkpoint" or menu is None}

    def load(*values: Any) -> tuple[Any, ...]:
        *remembered, lang, query = values
        question = form.first
        rows: tuple[Any, ...] = ()
        if menu is not None:
            rows = menu.opened(remembered[0], lang, query)
            question = replace(question, checkpoint=rows[0]["value"])
        state, sentence = opening_state(declared, form, question, lang, query)
        linked = set(query) & {*form.fields, "example", scenes_link.PARAMETER}
        step = query.get(walkthrough.PARAMETER, "") if walk is not None else ""
        runs = try_it.runs_on_opening or (bool(linked) and not step)
        shown = {} if linked else _recorded(try_it, lang)
        if shown and not runs:
            shown = places.done(shown)
        turn = walkthrough.turn(walk, step, lang) if walk is not None and step else {}
        return (
            *rows,
            *(state.get(name, gr.skip()) for name in fields),
            *(shown.get(name, gr.skip()) for name in place.slots),
            *(turn.get(name, gr.skip()) for name in steps),
            *(draw(lang) for draw in htmls.values()),
            gr.update(selected="walk") if step else gr.skip(),
            "1" if runs else "",
            sentence,
        )

    rows = menu.outputs if menu else ()
    slots = [*place.slots.values(), *steps.values()]
    event = layout.shell.on_load(
        load,
        [*rows, *fields.values(), *slots, *htmls, tabs, asks, refused],
        [menu.remembered] if menu else [],
    )

    def when(question: Any) -> Any:
        row = getattr(question, "checkpoint", "")
        if row and needs_download(row):  # a miniature answers until the row is here
            bundled = [one.name for one in checkpoints.rows(checkpoints.row(row).paper) if one.bundled]
            return replace(question, checkpoint=bundled[0]) if bundled else None
        return question

    layout.answer(place, when=when, asks=asks, behind=event)


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
