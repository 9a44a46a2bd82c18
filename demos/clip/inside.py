"""*Look inside* on the CLIP page: where a label is, which place reads which, every tensor, the code that ran."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.context import Context

from core import inputs
from core.errors import Refusal
from demos.clip import answer as answers
from demos.clip import draw as views
from demos.clip.words import data, options, say, text
from demos.draw import base as draw
from demos.kit import classifier, components, form, library, results
from demos.kit import files as files_in
from demos.kit.events import api_errors
from demos.kit.html import Markup, join, scroll, tag
from demos.kit.language import Text
from demos.kit.layout import Layout

if TYPE_CHECKING:
    from core.clip.trace import FunctionRun, Run, SourceLine
    from demos.clip.page import Question

ALL = "all"
ROOM = 74  # characters of a line of source that fit beside the page's image
MAX_LABELS = 5  # rows of relevance on the page; the endpoint takes more


# --- endpoints -------------------------------------------------------------------------------------------


def clip_inside(
    image: gr.FileData,
    labels: list[str] | str,
    method: str = "maskclip",
    contrast: bool = True,
    template: str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Where each label is in an image, and the shape of every tensor on the way.

    Args:
        image: an image file, or a data URI.
        labels: a list, or one string with commas; at most 12.
        method: "maskclip", "gradcam" or "attribution" (attention times gradient).
        contrast: whether what the labels have in common is taken away first.
        template: a template set ("photo", "seven", "photo-zh", ...) or a sentence with {} for the label.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "method", "crop": [left, top, right, bottom] that the maps cover, "relevance": [{"label",
        "probability", "cosine", "map": rows of numbers}], "tensors": [{"name", "kind", "shape", "mean", "deviation"}]}.
    """
    from core.clip import relevance, stages

    with api_errors():
        source, names, model = classifier.receive(image, labels, checkpoint)
        result = relevance.locate(model, source, names, method, contrast, template)
        tensors = [*stages.of_image(model, source), *stages.of_answer(result.answer)]
        return {**result.to_json(), "tensors": [stage.to_json() for stage in tensors]}


def clip_attention(
    image: gr.FileData, row: int | None = None, column: int | None = None, checkpoint: str | None = None
) -> dict[str, Any]:
    """What one reader attends to, in every layer and head of the image encoder.

    Args:
        image: an image file, or a data URI.
        row: of the place that reads, from 0; the whole image reads when row and column are left out.
        column: of that place, from 0.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "layers": names, "heads", "grid": [rows, columns], "crop": [left, top, right, bottom], "weights":
        [layers][heads][rows][columns], "kept": [layers][heads] (left on the token of the whole image; with it the weights
        sum to 1), "mean": per layer, whether it is the mean of all readers}.
    """
    from core.clip import attention

    with api_errors():
        source = inputs.image(files_in.uploaded(image))
        model = classifier.model(checkpoint)
        result = attention.attend(model, source, None if row is None or column is None else (row, column))
        return {"checkpoint": model.checkpoint, **result.to_json()}


def clip_code(
    image: gr.FileData,
    labels: list[str] | str,
    template: str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """The source lines that a classification runs through, and the shape of what each of them made.

    Args:
        image: an image file, or a data URI.
        labels: a list, or one string with commas; at most 100.
        template: a template set ("photo", "seven", "photo-zh", ...) or a sentence with {} for the label.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "functions": [{"role", "name", "file", "lines": [{"number", "code", "ran", "made": variable
        -> shape or value}]}]}, in the order of the paper's pseudocode.
    """
    from core.clip import trace

    with api_errors():
        names = inputs.labels(labels)
        source = inputs.image(files_in.uploaded(image))
        return trace.classify(classifier.model(checkpoint), source, names, template).to_json()


# --- where it is -----------------------------------------------------------------------------------------


def where(question: Question, method: str, contrast: bool, lang: str) -> dict[str, Any]:
    """The cards of relevance of the most probable labels."""
    from core.clip import relevance

    answer = answers.run(question)
    image, ranked, template = answer.image, answer.result, answers.template_of(question)
    chosen = [ranked.labels[i] for i in sorted(ranked.order[:MAX_LABELS].tolist())]
    methods = list(relevance.METHODS) if method == ALL else [method]
    maps = [relevance.locate(answer.model, image, chosen, one, contrast, template) for one in methods]
    result = maps[0].answer
    boxes = library.known_boxes(result.labels, image)
    body = views.relevance_cards(maps, image, boxes, lang)
    if len(chosen) < len(ranked.labels):
        more = say("likeliest", lang, shown=len(chosen), count=len(ranked.labels))
        body += tag("p", more, class_="atlas-line")
    overlay = draw.heat_overlay(image, maps[0].maps[int(result.order[0])], result.crop)
    files = [
        draw.json_file("clip-where.json", [one.to_json() for one in maps]),
        ("clip-where.png", "image/png", draw.png_beside(overlay, result.to_json()["results"])),
    ]
    return {"out": body, "line": replace(answer, result=result).below(lang, files)}


@dataclass(frozen=True)
class Method:
    """How places are asked, and whether what all labels share is taken away."""

    method: str = form.choice(options("methods"), "gradcam", text("method"), text("methods"))
    contrast: bool = form.switch(True, text("contrast"), text("contrast_info"), place="top")


# --- attention -------------------------------------------------------------------------------------------


def attend(question: Question, value: str | None, lang: str) -> dict[str, Any]:
    """The surface with what one place reads: the place that was clicked on it, the whole image where none was.

    Raises:
        Refusal: "bad_drawing" for a value that names no place.
    """
    from core.clip import attention

    image = inputs.image(files_in.image_source(question.image))
    model = classifier.model(question.checkpoint)
    sent = components.read(value)
    reader = sent.get("reader")
    if reader is not None and not (
        isinstance(reader, list) and len(reader) == 2 and all(isinstance(part, int) for part in reader)
    ):
        raise Refusal("bad_drawing")
    start = time.perf_counter()
    result = attention.attend(model, image, tuple(reader) if reader else None)
    seconds = time.perf_counter() - start
    layers, heads, rows, columns = result.weights.shape
    facts = say("layers", lang, layers=layers, heads=heads, rows=rows, columns=columns)
    is_resnet = layers == 1 and not result.mean[0]
    note = tag("p", say("resnet", lang), class_="atlas-hint") if is_resnet else Markup()
    line = results.line(seconds, model.checkpoint, model.device, lang, facts)
    return {"maps": views.attention_value(result, image, sent.get("asked")), "line": note + line}


def lay_out_attention(layout: Layout) -> None:
    """Lays out *Attention* and wires it; the tab answers when it is opened."""
    tab: Any = Context.block
    gr.Markdown(text("attention").tr)
    title = Text("Show the attention", "显示注意力")
    place = layout.place("attention", title, {"maps": components.attention_surface})
    maps = place.slots["maps"]
    layout.ask([place.button.click, tab.select], place, lambda question, lang: attend(question, None, lang))
    layout.ask(maps.select, place, attend, [maps], show_progress="hidden", trigger_mode="always_last")


# --- tensors ---------------------------------------------------------------------------------------------


def tensors(question: Question, lang: str) -> tuple[str, str]:
    """The table of tensors, and what stands below it."""
    from core.clip import stages

    answer = answers.run(question)
    rows = [*stages.of_image(answer.model, answer.image), *stages.of_answer(answer.result)]
    facts = {"checkpoint": answer.model.checkpoint, "tensors": [stage.to_json() for stage in rows]}
    return views.stage_table(rows, lang), answer.below(lang, [draw.json_file("clip-tensors.json", facts)])


# --- code ------------------------------------------------------------------------------------------------


def code(question: Question, lang: str) -> dict[str, Any]:
    """The steps with the lines that ran."""
    from core.clip import trace

    image, labels, model = answers.read(question)
    run = trace.classify(model, image, labels, classifier.template(question.template, question.own))
    files = [draw.json_file("clip-code.json", run.to_json())]
    line = answers.below([(run.answer, inputs.digest(image))], run.seconds, lang, files)
    return {"out": step_cards(run, lang), "line": line}


def step_cards(run: Run, lang: str) -> Markup:
    """A card for each step: the paper's lines and what they mean, and the source."""
    cards = []
    for step in data()["pseudocode"]:
        paper = tag("ol", *(tag("li", tag("code", one)) for one in step["paper"]), class_="atlas-paper-code")
        words = tag("div", paper, tag("p", step["zh" if lang == "zh" else "en"]))
        cards.append(tag("section", words, _source(run.functions[step["role"]], step["marks"], lang)))
    return tag("div", *cards, class_="atlas-code")


def _source(function: FunctionRun, marks: list[str], lang: str) -> Markup:
    title = tag("span", say("lines_of", lang), class_="atlas-only-read")
    head = tag("p", tag("b", function.name), " ", title, tag("code", function.file))
    lines = tag("table", tag("tbody", *(_line(line, marks) for line in function.lines)))
    return tag("div", head, scroll(lines), class_="atlas-source")


def _line(line: SourceLine, marks: list[str]) -> Markup:
    is_key = line.ran and any(mark in line.code for mark in marks)
    made = join(
        (tag("span", "→" if name == "return" else name, " ", tag("b", value)) for name, value in line.made),
        " ",
    )
    # What a long line made stands below it, where it can be seen without scrolling.
    room = len(line.code) + sum(len(name) + len(value) + 6 for name, value in line.made)
    code = tag(
        "td",
        tag("code", line.code),
        tag("div", made) if made else "",
        class_="below" if room > ROOM else None,
    )
    return tag(
        "tr",
        tag("td", str(line.number)),
        code,
        class_=f"{'ran' if line.ran else 'idle'}{' key' if is_key else ''}",
    )
