"""What the CLIP page answers: which label fits an image best, its files, and two named endpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import checkpoints, inputs
from core.batch import Outcome, ranked
from core.clip import prompts
from demos.clip.words import say
from demos.draw import base as draw
from demos.kit import classifier, records, results
from demos.kit import files as files_in
from demos.kit.events import api_errors
from demos.kit.html import Markup, tag
from demos.kit.language import Text

if TYPE_CHECKING:
    from PIL import Image

    from core.clip import Classification, EncodedImage, ZeroShot
    from demos.clip.page import Question

PAPER, OPENING = "clip", "red_envelope"
SCALES = (1.0, 200.0)
SETS = {row.name: Text(row.en, row.zh) for row in prompts.template_sets().values()}
COMPARED = ("none", "photo", "drawing", "seven")


@dataclass(frozen=True)
class Answer:
    """The probabilities of the labels for one image.

    Attributes:
        start: when the question was read, by `time.perf_counter`.
    """

    image: Image.Image
    model: ZeroShot
    encoded: EncodedImage
    result: Classification
    start: float

    @property
    def seconds(self) -> float:
        """The time since the question was read."""
        return time.perf_counter() - self.start

    def below(self, lang: str, files: Sequence[files_in.File] = ()) -> Markup:
        """What stands below a tab that shows more of this answer: see `below`."""
        return below([(self.result, self.encoded.digest)], self.seconds, lang, files)


def read(question: Question) -> tuple[Image.Image, list[str], ZeroShot]:
    """The image, the labels and the classifier of a question.

    Raises:
        Refusal: for an image, labels or a checkpoint that cannot be used.
    """
    image = inputs.image(files_in.image_source(question.image))
    return image, inputs.labels(question.labels), classifier.model(question.checkpoint)


def template_of(question: Question) -> str:
    """The prompt template of a question."""
    return classifier.template(question.template, question.own)


def own_scale(scale: float, scale_of: str, checkpoint: str) -> float | None:
    """The value of a slider that a visitor moved, or that a link brought; None where the learned value counts.

    Args:
        scale: of the slider; it starts at the lowest value.
        scale_of: what `learned_scale` made when the slider was last set; "" before the first answer.
        checkpoint: that answers. Another one starts with its own learned value.
    """
    name, _, learned = scale_of.rpartition(" ")
    is_own = f"{scale:.2f}" != learned if name == checkpoint else not scale_of and scale != SCALES[0]
    return float(scale) if is_own else None


def learned_scale(checkpoint: str, learned: float) -> str:
    """A checkpoint and the value that it has learned, as the slider shows it."""
    return f"{checkpoint} {learned:.2f}"


def run(question: Question) -> Answer:
    """The answer to the page's question."""
    image, labels, model = read(question)
    start = time.perf_counter()
    encoded = model.encode(image)
    scale = own_scale(question.scale, question.scale_of, model.checkpoint)
    result = model.classify(encoded, labels, template_of(question), scale)
    return Answer(image, model, encoded, result, start)


# --- endpoints -------------------------------------------------------------------------------------------


def clip_classify(
    image: gr.FileData,
    labels: list[str] | str,
    template: str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Rank labels for an image with a CLIP model (zero-shot classification).

    Args:
        image: an image file, or a data URI.
        labels: a list, or one string with commas; at most 1,000, in a language of the checkpoint.
        template: a template set ("photo", "seven", "photo-zh", ...) or a sentence with {} for the label.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "results": [{"label", "probability", "cosine"}, ...]}, best first. Where there are any,
        "merged": {label: the label that the checkpoint reads the same}, "truncated": labels whose ends it does not read.
    """
    with api_errors():
        source, names, model = classifier.receive(image, labels, checkpoint, limit=1000)
        return model.classify(source, names, template).to_json()


def clip_compare_templates(
    image: gr.FileData,
    labels: list[str] | str,
    templates: list[str] | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Rank the same labels under several prompt templates; the image is encoded once.

    Args:
        image: an image file, or a data URI.
        labels: a list, or one string with commas; at most 100.
        templates: names of template sets or sentences with {}; four common ones when left out.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "templates": {template: results as in clip_classify}}.
    """
    with api_errors():
        source, names, model = classifier.receive(image, labels, checkpoint)
        chosen, start = templates or list(COMPARED), time.perf_counter()
        answers = model.compare_templates(source, names, chosen)
        seconds = round(time.perf_counter() - start, 4)
        by_template = {name: one.to_json()["results"] for name, one in zip(chosen, answers, strict=True)}
        return {"checkpoint": model.checkpoint, "seconds": seconds, "templates": by_template}


# --- handlers --------------------------------------------------------------------------------------------


def notes(result: Classification, digest: str, lang: str) -> dict[str, Any]:
    """The slots above an answer: what to know before reading it."""
    unread = results.unreadable(result.checkpoint, " ".join(result.labels), lang)
    return results.answer_notes("", result, digest, result.labels, lang, unread)


def below(
    answers: Sequence[tuple[Classification, str]],
    seconds: float,
    lang: str,
    files: Sequence[files_in.File] = (),
) -> Markup:
    """What stands below the answers of the other tabs: the first note on them, the result line, the downloads.

    Args:
        answers: each with the digest of its image.
        seconds: that they took.
        lang: "en" or "zh".
        files: to download.
    """
    hints = (notes(result, digest, lang)["notes"] for result, digest in answers)
    downloads = Markup(files_in.downloads(files)) if files else ""
    return next(filter(None, hints), Markup()) + classifier.line(answers[0][0], seconds, lang) + downloads


def classify(question: Question, lang: str) -> dict[str, Any]:
    """The probabilities as bars, the places that look like the best label, the slider at the learned value."""
    answer = run(question)
    result = answer.result
    best = int(result.order[0])
    name, relevance = result.labels[best], result.relevance[best]
    slots = {
        "bars": draw.probability_bars(result.to_json()["results"], lang),
        "relevance": draw.relevance_figure(answer.image, relevance, result.crop, name, lang),
        "line": classifier.line(result, answer.seconds, lang),
        **notes(result, answer.encoded.digest, lang),
    }
    scale_of = learned_scale(result.checkpoint, result.learned_logit_scale)
    if question.scale_of != scale_of:
        info = say("learned", lang, scale=result.learned_logit_scale)
        slots |= {"scale": gr.update(value=round(result.logit_scale, 2), info=info), "scale_of": scale_of}
    return slots


def files(question: Question, lang: str) -> str:
    """Download links of the answer: JSON, CSV, SVG, PNG."""
    answer = run(question)
    made = answer.result.to_json()
    rows = made["results"]
    return files_in.downloads(
        [
            draw.json_file("clip.json", made),
            draw.csv_file("clip.csv", draw.to_csv(rows)),
            ("clip.svg", "image/svg+xml", draw.bars_svg(rows, f"CLIP · {made['checkpoint']}").encode()),
            ("clip.png", "image/png", draw.png_beside(answer.image, rows)),
        ]
    )


def many(question: Question) -> Callable[[Any], Outcome]:
    """The question of the page for each of many images."""
    labels, model = inputs.labels(question.labels), classifier.model(question.checkpoint)
    template = template_of(question)
    scale = own_scale(question.scale, question.scale_of, model.checkpoint)

    def verb(image: Image.Image) -> Outcome:
        return ranked(model.classify(image, labels, template, scale).to_json(), image)

    return verb


# --- opening ---------------------------------------------------------------------------------------------


def templates() -> list[tuple[Any, str]]:
    """The template sets as a menu shows them."""
    return [(title.tr, name) for name, title in SETS.items()]


def recorded(lang: str) -> dict[str, Any]:
    """The recorded answer to the question that a page opens with; the live one replaces it."""
    record = records.read(PAPER)[lang]
    title = checkpoints.row(record["checkpoint"]).title["zh" if lang == "zh" else "en"]
    note = tag("p", say("recorded", lang, title=title), class_="atlas-line")
    return {"bars": note + draw.probability_bars(record["results"], lang)}
