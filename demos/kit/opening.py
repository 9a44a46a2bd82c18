"""What a page opens with: the fields that its address names, a step of the walkthrough, the first answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import checkpoints
from core.errors import Refusal
from demos.kit import places, scenes_link, walkthrough
from demos.kit.components import output
from demos.kit.events import alert, refusal_html
from demos.kit.form import Form
from demos.kit.language import pick
from demos.kit.layout import Layout
from demos.kit.menu import needs_download
from demos.kit.places import Place

if TYPE_CHECKING:
    from demos.kit.page import Declaration, Try


OWN = "own"  # value of "image" in a link that was made with a visitor's own file
LINK_WITHOUT_FILE = (
    "This link was made with a file that is not part of it. The page shows its own example in place of that file.",
    "这个链接是用自己的文件生成的，链接里不包含那个文件；页面改为显示自带的例子。",
)


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


def wire(
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
