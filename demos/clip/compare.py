"""*Compare* on the CLIP page: two images or checkpoints, several templates, labels with and without the answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import checkpoints, inputs
from core.errors import Refusal
from demos.clip import answer as answers
from demos.clip import draw as views
from demos.clip.words import examples, say, text
from demos.draw import base as draw
from demos.kit import classifier, form, menu
from demos.kit import files as files_in
from demos.kit.components import output
from demos.kit.events import api_errors
from demos.kit.examples import chosen, strip
from demos.kit.language import Text, has_chinese, tr
from demos.kit.layout import Layout

if TYPE_CHECKING:
    from demos.clip.page import Question

SAME = ""
LISTS = ("present", "missing")  # of labels that are in the image, and that are not


# --- two answers -----------------------------------------------------------------------------------------


def clip_compare(
    image: gr.FileData,
    labels: list[str] | str,
    other_image: gr.FileData | None = None,
    other_checkpoint: str | None = None,
    template: str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Rank the same labels for two images, or with two checkpoints.

    Args:
        image: an image file, or a data URI.
        labels: a list, or one string with commas; at most 100.
        other_image: the second image; the same when left out.
        other_checkpoint: the row that is asked about the second image; the same when left out.
        template: a template set ("photo", "seven", "photo-zh", ...) or a sentence with {} for the label.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"seconds", "similarity": cosine of the two images or null for two checkpoints, "first" and "second":
        {"checkpoint", "results" as in clip_classify}}.
    """
    from core.clip import edit

    with api_errors():
        first, names, model = classifier.receive(image, labels, checkpoint)
        second = first if other_image is None else inputs.image(files_in.uploaded(other_image))
        other = classifier.model(other_checkpoint) if other_checkpoint else model
        return edit.ask_twice((model, other), (first, second), names, template).to_json()


def compare(question: Question, other: str | None, second: str | None, lang: str) -> dict[str, Any]:
    """The question for its image and checkpoint, and for another image or checkpoint."""
    from core.clip import edit

    image, labels, model = answers.read(question)
    images = (image, inputs.image(files_in.image_source(other)) if other else image)
    models = (model, classifier.model(second) if second else model)
    digests = [inputs.digest(one) for one in images]
    if models[0] == models[1] and digests[0] == digests[1]:
        raise Refusal("nothing_to_compare")
    pair = edit.ask_twice(models, images, labels, answers.template_of(question))
    titles = [checkpoints.row(one.checkpoint).title["zh" if lang == "zh" else "en"] for one in models]
    files = views.pair_files("clip-compare", pair)
    sides = list(zip((pair.first, pair.second), digests, strict=True))
    return {
        "sides": views.sides(titles, images) + views.pair_verdict(pair, lang),
        "table": views.pair_table(pair, lang),
        "line": answers.below(sides, pair.seconds, lang, files),
    }


def with_example(question: Question, value: str, second: str | None, lang: str) -> dict[str, Any]:
    """The example that was clicked as the second image, and the answer to it."""
    name = chosen(value, examples())
    if name is None:
        return {}
    path = examples()[name]["path"]
    return {"other": path, **compare(question, path, second, lang)}


def rows() -> list[tuple[Any, str]]:
    """The checkpoints that may be asked second."""
    both = zip(*(menu.choices(answers.PAPER, lang) for lang in ("en", "zh")), strict=True)
    return [(text("same").tr, SAME), *((tr(en, zh), name) for (en, name), (zh, _) in both)]


def lay_out(layout: Layout) -> None:
    """Lays out and wires the tab of two answers."""
    gr.Markdown(text("two").tr)
    title = tr("Second image (B)", "第二张图片（B）")
    with gr.Row():
        with gr.Column(min_width=240):
            other = files_in.image_input(height=230, elem_id="compare-image", label=title)
        with gr.Column(min_width=240):
            second = gr.Dropdown(
                rows(),
                value=SAME,
                label=tr("Second checkpoint (B)", "第二组权重（B）"),
                elem_id="compare-checkpoint",
                filterable=False,
            )
            thumbnails = strip(examples(), "compare-examples")
    place = layout.place(
        "compare", Text("Compare A with B", "比较 A 与 B"), {"sides": output, "table": output}
    )
    layout.ask(place.button.click, place, compare, [other, second])
    layout.ask(thumbnails.change, place, with_example, [thumbnails, second], fields={"other": other})


# --- templates -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Templates:
    """The templates that are compared."""

    names: tuple[str, ...] = form.several(answers.SETS, answers.COMPARED, text("templates"))
    own: str = form.words(text("own_templates"), lines=2)


def titles(names: Sequence[str], lang: str) -> list[str]:
    """The titles of template sets; a sentence is its own title."""
    return [answers.SETS[name].get(lang) if name in answers.SETS else name for name in names]


def templates(question: Question, names: list[str], own: str, lang: str) -> dict[str, Any]:
    """The labels under the chosen template sets and every template of the visitor's own, side by side."""
    image, labels, model = answers.read(question)
    sentences = [*names, *(line.strip() for line in (own or "").splitlines() if line.strip())] or ["none"]
    start = time.perf_counter()
    encoded = model.encode(image)
    results = model.compare_templates(encoded, labels, sentences)
    seconds = time.perf_counter() - start
    return {
        "out": views.template_table(results, titles(sentences, lang), lang),
        "line": answers.below([(results[-1], encoded.digest)], seconds, lang),
    }


# --- absent labels ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Missing:
    """The labels that are not in the image; those of the page are the other list."""

    labels: str = form.words(text("missing"), text("missing_info"), placeholder=text("missing_labels"))


def absent(question: Question, others: str, lang: str) -> dict[str, Any]:
    """The experiment of the red envelope: bars and readings of the page's labels, and of labels that are not there."""
    image, labels, model = answers.read(question)
    default = say("missing_labels", classifier.language(model.checkpoint, lang))
    lists = dict(zip(LISTS, (labels, inputs.labels(others or default)), strict=True))
    start, template = time.perf_counter(), answers.template_of(question)
    encoded = model.encode(image)
    language = "zh" if has_chinese(" ".join([*labels, *lists["missing"]])) else "en"
    threshold = model.absence_line(encoded, template, language)
    slots = {}
    for slot, names in lists.items():
        result = model.classify(encoded, names, template)
        bars = draw.probability_bars(result.to_json()["results"], lang)
        slots[slot] = bars + views.absence_reading(result, threshold, lang)
    seconds = time.perf_counter() - start
    return {**slots, "line": answers.below([(result, encoded.digest)], seconds, lang)}
