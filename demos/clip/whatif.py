"""The *What if?* tab: a part of the image is painted out, or a thing is put in, and the answer moves."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from core import inputs
from core.classroom.world import concepts, sprites
from core.errors import Refusal
from demos.clip import answer as answers
from demos.clip import draw as views
from demos.clip.words import data, examples, options, say, text
from demos.draw import base as draw
from demos.kit import classifier, components, thumbnails
from demos.kit.components import output
from demos.kit.events import api_errors
from demos.kit.language import Text
from demos.kit.layout import Layout

if TYPE_CHECKING:
    from demos.clip.page import Question

BLANK = ""  # the thing that paints out the square it covers: core.clip.edit.PATCH, without torch


def thumbnail(name: str) -> str:
    """The address of a concept's drawing."""
    concept = concepts.find(name)
    known = concept.en if concept else name
    return thumbnails.register(f"sprite {known}", lambda: Image.fromarray(sprites.drawing(known)))


# --- endpoint --------------------------------------------------------------------------------------------


def clip_counterfactual(
    image: gr.FileData,
    labels: list[str] | str,
    boxes: list[list[float]] | None = None,
    things: list[dict[str, Any]] | None = None,
    fill: str = "around",
    template: str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Rank labels before and after something is painted out of an image, or put into it.

    Args:
        image: an image file, or a data URI.
        labels: a list, or one string with commas; at most 100.
        boxes: parts to paint out as [left, top, right, bottom] in pixels of the image, at most 64.
        things: what to put in, at most 16: {"name": one of the classroom's concepts, "x", "y": centre as shares of width and
            height, "size": share of the shorter side}.
        fill: what the painted parts become: "around" (the colours around them), "grey" or "noise".
        template: a template set ("photo", "seven", "photo-zh", ...) or a sentence with {} for the label.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"seconds", "similarity": cosine of before and after, "first" and "second": {"checkpoint", "results" as in
        clip_classify}, "picture": the changed image as a data URI}.
    """
    from core.clip import crops, edit

    with api_errors():
        source, names, model = classifier.receive(image, labels, checkpoint)
        size = inputs.size_of(source)
        painted = inputs.to_pixels(source, crops.check_boxes(boxes, *size)).tolist() if boxes else []
        _, pastes = edit.check(None, things)
        if not painted and not pastes:
            raise Refusal("nothing_changed")
        changed = edit.changed(source, [], pastes, painted, fill, sprites.drawing)
        pair = edit.ask_twice((model, model), (source, changed), names, template)
        return {**pair.to_json(), "picture": draw.data_uri(changed, 2048)}


# --- handlers --------------------------------------------------------------------------------------------


def ask(question: Question, value: str | None, fill: str, lang: str) -> dict[str, Any]:
    """The question for the image before and after the change."""
    from core.clip import edit

    image, labels, model = answers.read(question)
    drawn = components.read(value)
    strokes, pastes = edit.check(drawn.get("strokes"), drawn.get("pastes"))
    if not strokes and not pastes:
        raise Refusal("nothing_changed")
    changed = edit.changed(image, strokes, pastes, [], fill, sprites.drawing)
    pair = edit.ask_twice((model, model), (image, changed), labels, answers.template_of(question))
    files = views.pair_files("clip-what-if", pair)
    files.append(("clip-what-if.png", "image/png", draw.png(changed)))
    titles = (say("before", lang), say("after", lang))
    return {
        "table": views.pair_verdict(pair, lang) + views.pair_table(pair, lang),
        "sides": views.sides(titles, (image, changed)),
        "line": answers.below([(pair.first, inputs.digest(image))], pair.seconds, lang, files),
    }


def ask_quietly(question: Question, value: str | None, fill: str, lang: str) -> dict[str, Any]:
    """The same after a change by hand: an image without changes is no refusal, its old answer goes."""
    drawn = components.read(value)
    if drawn.get("strokes") or drawn.get("pastes"):
        return ask(question, value, fill, lang)
    return {"table": "", "sides": "", "line": ""}


def put_in(question: Question, value: str | None, fill: str, name: str, lang: str) -> dict[str, Any]:
    """The surface with one more thing in its middle, by the name that was typed, and the answer to it."""
    drawn = components.read(value)
    thing = inputs.text(name)
    sprites.drawing(thing)  # refuses what it cannot draw
    strokes, pastes = (
        kept if isinstance(kept := drawn.get(key), list) else [] for key in ("strokes", "pastes")
    )
    made = json.dumps(
        {
            "strokes": strokes,
            "pastes": [*pastes, {"name": thing, "x": 0.5, "y": 0.5, "size": 0.4}],
            "known": {thing: {"src": thumbnail(thing), "title": thing}},
        },
        ensure_ascii=False,
    )
    return {"surface": made, "typed": "", **ask(question, made, fill, lang)}


def attempt(name: str, question: Question, fill: str, lang: str) -> dict[str, Any]:
    """A change of one click on its own example: the image, the labels, the surface."""
    row = data()["whatif"]["tries"][name]
    example = examples()[row["example"]]
    pastes: list[dict[str, Any]] = []
    left, top, right, bottom = (0.06, 0.05, 0.5, 0.45)

    def put(thing: str, grown: float) -> None:
        side = grown * max(right - left, bottom - top)
        pastes.append({"name": thing, "x": (left + right) / 2, "y": (top + bottom) / 2, "size": side})

    for thing in example["objects"]:
        if thing["en"] == row.get("thing"):
            left, top, right, bottom = (value / example["size"] for value in thing["box"])
            put(BLANK, 1.12)
    if "paste" in row:
        put(row["paste"], 1.05)
    value = json.dumps({"for": Path(example["path"]).name, "strokes": [], "pastes": pastes})
    labels = row["labels"][classifier.language(question.checkpoint, lang)]
    changed = replace(question, image=example["path"], labels=labels)
    fields = {"image": example["path"], "labels": labels, "example": row["example"], "scene": ""}
    return {**fields, "surface": value, **ask(changed, value, fill, lang)}


# --- layout ----------------------------------------------------------------------------------------------


def lay_out(layout: Layout) -> None:
    """Lays the tab out and wires it."""
    gr.Markdown(text("whatif").tr)
    tries = {name: Text(**row["title"]) for name, row in data()["whatif"]["tries"].items()}
    buttons = components.button_row("whatif", tries)
    shelf = [(one["en"], Text(**one), thumbnail(one["en"])) for one in data()["whatif"]["shelf"]]
    pane = components.edit_surface("whatif-surface", shelf)
    components.follow(pane, layout.components["image"], keep=True)
    place = layout.place("whatif", Text("Ask again", "再问一次"), {"table": output, "sides": output})
    with gr.Accordion(text("more_changes").tr, open=False, elem_id="whatif-more"):
        with gr.Row(elem_classes="atlas-put"):
            typed = gr.Textbox(
                label=text("put_in").tr, placeholder=text("dog").tr, elem_id="whatif-name", submit_btn=True
            )
        choices = [(title.tr, name) for name, title in options("fills").items()]
        fill = gr.Radio(choices, value="around", label=text("fill").tr, elem_id="whatif-fill")
    place.slots["surface"] = pane
    layout.ask(place.button.click, place, ask, [pane, fill])
    layout.ask(
        pane.input, place, ask_quietly, [pane, fill], show_progress="hidden", trigger_mode="always_last"
    )
    layout.ask(typed.submit, place, put_in, [pane, fill, typed], fields={"typed": typed})
    for name, button in buttons.items():
        layout.ask(button.click, place, partial(attempt, name), [fill], fields=layout.fields)
