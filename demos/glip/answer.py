"""Answers of the GLIP page: boxes for a prompt, their files, the named endpoint.

A prompt is grounded once above `FLOOR` and cached by core, so that another threshold runs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import checkpoints, inputs
from core.batch import Outcome, detected
from core.errors import Refusal
from core.runtime import Cancel
from demos.draw import box_files
from demos.glip import draw
from demos.glip.words import PAPER, examples, say
from demos.kit import files as files_in
from demos.kit import label_choices, results
from demos.kit.events import api_errors
from demos.kit.jobs import Progress
from demos.kit.layout import Layout
from demos.kit.menu import label_language, needs_download, start_row
from demos.kit.scenes_link import SceneOpened

if TYPE_CHECKING:
    from PIL import Image

    from core.detection.glip import GLIP
    from core.detection.glip.grounding import EncodedImage
    from core.detection.result import Grounding
    from demos.glip.page import Question
    from demos.kit.label_choices import LabelChoices

OPENING = "dog_and_car"
MODES = ("sentence", "labels")
FLOOR = 0.05  # boxes with a lower score are left out of every answer


@dataclass(frozen=True)
class Answer:
    """The boxes of one image and prompt."""

    image: Image.Image
    encoded: EncodedImage
    grounding: Grounding
    choices: LabelChoices
    seconds: float

    def line(self, lang: str) -> str:
        """The result line."""
        return results.answer_line(PAPER, self.grounding, self.seconds, lang)


def model(checkpoint: str | None) -> GLIP:
    """The detector of a row, loaded on first use."""
    from core.detection.glip import GLIP

    return GLIP.load(checkpoint or start_row(PAPER))


def prompt_of(mode: str, text: str) -> str | list[str]:
    """The prompt of a question: a caption, or a list of labels.

    Raises:
        Refusal: "wrong_value" for an unknown mode, or what reading texts and labels refuses.
    """
    if mode not in MODES:
        raise Refusal("wrong_value", name="mode", wanted=" / ".join(MODES), value=repr(mode)[:40])
    return inputs.labels(text) if mode == "labels" else inputs.text(text)


def choices_of(
    prompt: str | list[str], checkpoint: str | None, by_label: Any = "", negatives: Any = ""
) -> LabelChoices:
    """A prompt's labels as a checkpoint reads them; of a caption, which has none, the least scores of its phrases."""
    row = checkpoints.row(checkpoint or start_row(PAPER), lambda row: row.paper == PAPER)
    if isinstance(prompt, str):
        return label_choices.read(row.name, [], by_label)
    return label_choices.read(row.name, prompt, by_label, negatives)


def detect(
    glip: GLIP, image: Image.Image, prompt: str | list[str], choices: LabelChoices, **options: Any
) -> Grounding:
    """The boxes of a caption or of labels."""
    if isinstance(prompt, str):
        return glip.ground(image, prompt, by_label=choices.by_label, **options)
    return glip.detect(image, choices.names, **choices.options, **options)


def ask(
    image: Image.Image,
    prompt: str | list[str],
    checkpoint: str | None,
    choices: LabelChoices | None = None,
    across_labels: bool = False,
) -> Answer:
    """Every box above the floor; core caches image and answer, so that the same question runs nothing."""
    choices = choices or choices_of(prompt, checkpoint)
    glip = model(checkpoint)
    start = time.perf_counter()
    grounding = detect(glip, image, prompt, choices, threshold=FLOOR, across_labels=across_labels)
    return Answer(image, glip.encode(image), grounding, choices, time.perf_counter() - start)


def asked(question: Question) -> tuple[str | list[str], LabelChoices]:
    """The prompt of the page's question, and what is decided about its labels."""
    prompt = prompt_of(question.mode, question.text)
    return prompt, choices_of(prompt, question.checkpoint, question.by_label, question.negatives)


def run(question: Question) -> Answer:
    """The answer to the page's question."""
    image = inputs.image(files_in.image_source(question.image))
    prompt, choices = asked(question)
    return ask(image, prompt, question.checkpoint, choices, question.across_labels)


def prompts(question: Question, lang: str, cancel: Cancel) -> Iterator[Progress]:
    """Grounds the prompts of a list that is too long for one; yields nothing where one prompt is enough."""
    if question.mode != "labels" or needs_download(question.checkpoint or start_row(PAPER)):
        return
    image, (_, choices) = inputs.image(files_in.image_source(question.image)), asked(question)
    start, first = 0.0, 0
    glip, options = model(question.checkpoint), choices.options
    for done, count in glip.detecting(image, choices.names, FLOOR, cancel=cancel, **options):
        if count == 1:
            continue
        if not start:
            start, first = time.perf_counter(), done
        text = say("part", lang, part=done + 1, count=count)
        if done > first:
            left = (time.perf_counter() - start) / (done - first) * (count - done)
            text += say("time_left", lang, left=left)
        yield Progress(done / count, text)


# --- endpoint --------------------------------------------------------------------------------------------


def glip_ground(
    image: gr.FileData,
    caption: str | None = None,
    labels: list[str] | str | None = None,
    threshold: float | None = None,
    checkpoint: str | None = None,
    across_labels: bool = False,
    by_label: dict[str, float] | None = None,
    negatives: list[str] | str | None = None,
) -> dict[str, Any]:
    """Find what a sentence names in an image, a box for each phrase (GLIP); or the things of a list of labels.

    Args:
        image: an image file, or a data URI.
        caption: a sentence that names things, such as "two syringes and a test tube", in a language of the checkpoint.
        labels: instead of a caption, a list, or one string with commas, at most 1,000. They become the prompt, as in the
            paper. A list that is too long for one prompt is split into several, and their boxes are ranked together.
        threshold: 0 to 1; boxes with a lower score are left out. The checkpoint's own when left out.
        checkpoint: a registry row that is on the server; the default row when left out.
        across_labels: whether of overlapping boxes with different phrases only the best is kept: one phrase for each thing.
        by_label: minimum scores of single labels or phrases, in place of the threshold: {"dog": 0.4}.
        negatives: beside labels, words that are easily confused with them: where one of them scores higher, the box of
            the label is left out; their own boxes are left out, too.

    Returns:
        {"checkpoint", "prompt", "mode", "seconds", "size": [width, height], "phrases": [{"text", "start", "end"}, ...],
        "results": [{"phrase", "phrase_index", "score", "box": [left, top, right, bottom]}, ...]}, best first; "merged" and
        "truncated" as in clip_classify. Phrases that come from negatives have "negative": true. A checkpoint that reads no
        Chinese is asked in English where the classroom's word list has a label: "translated": {label: word}.
    """
    with api_errors():
        if (caption is None) == (labels is None):
            raise Refusal("caption_or_labels")
        prompt = inputs.text(caption) if caption is not None else inputs.labels(labels, limit=1000)
        pixels = inputs.image(files_in.uploaded(image))
        glip = model(checkpoint)
        own = start_threshold(glip.checkpoint)
        least = inputs.number("threshold", own if threshold is None else threshold)
        choices = choices_of(prompt, glip.checkpoint, by_label, negatives)
        found = detect(glip, pixels, prompt, choices, threshold=least, across_labels=across_labels)
        return found.to_json() | choices.to_json([phrase.text for phrase in found.phrases])


# --- handlers --------------------------------------------------------------------------------------------


def ground(question: Question, lang: str) -> dict[str, Any]:
    """The slots of *Try it*: the image with its boxes under the prompt, the table of boxes, the line."""
    threshold = inputs.number("threshold", question.threshold)
    answer = run(question)
    grounding = answer.grounding
    names = [phrase.text for phrase in grounding.phrases]
    unread = (
        results.unreadable(grounding.checkpoint, grounding.prompt, lang)
        if question.mode == "sentence"
        else []
    )
    unread += answer.choices.sentences(names, lang)
    return {
        "figure": draw.figure(answer.image, grounding, threshold, lang),
        "table": draw.table(answer.image, grounding, threshold, lang),
        "line": answer.line(lang),
        **results.answer_notes(PAPER, grounding, answer.encoded.digest, names, lang, unread),
    }


def table_on_release(layout: Layout) -> None:
    """Draws the table of boxes again when the slider of the threshold is released."""

    def table(question: Question, lang: str) -> dict[str, Any]:
        if next(prompts(question, lang, Cancel()), None) is not None:  # a long list is still running
            return {}
        answer = run(question)
        return {
            "table": draw.table(
                answer.image, answer.grounding, inputs.number("threshold", question.threshold), lang
            )
        }

    layout.update(layout.components["threshold"].release, layout.places[0], table)


def files(question: Question, lang: str) -> str:
    """Download links of the boxes that reach the threshold."""
    threshold = inputs.number("threshold", question.threshold)
    answer = run(question)
    marks = draw.visible_marks(answer.grounding, threshold)
    if not marks:
        raise Refusal("no_boxes_left", threshold=f"{threshold:.2f}")
    names = [phrase.text for phrase in answer.grounding.phrases]
    return box_files.exports(answer.image, marks, names, PAPER, lang)


def many(question: Question) -> Callable[[Any], Outcome]:
    """The question of the page for each of many images."""
    threshold = inputs.number("threshold", question.threshold)
    prompt, choices = asked(question)
    glip, across = model(question.checkpoint), question.across_labels

    def verb(image: Image.Image) -> Outcome:
        grounding = detect(glip, image, prompt, choices, threshold=threshold, across_labels=across)
        names = [grounding.phrases[at].text for at in grounding.phrase_indices.tolist()]
        boxes_of = list(zip(names, grounding.scores.tolist(), grounding.boxes.tolist(), strict=True))
        return detected(boxes_of, grounding.to_json(), image)

    return verb


# --- opening, examples -----------------------------------------------------------------------------------


def start_threshold(checkpoint: str | None) -> float:
    """The threshold that a row recommends, read without loading torch."""
    row = checkpoints.row(checkpoint or start_row(PAPER), lambda row: row.paper == PAPER)
    return float(row.options["threshold"])


def own_threshold(question: Question, lang: str) -> dict[str, Any]:
    """The slider at the threshold that the question's checkpoint recommends."""
    return {"threshold": start_threshold(question.checkpoint)}


def fill(name: str, question: Question, lang: str) -> dict[str, Any]:
    """The fields that an example sets: its image, and its sentence or labels."""
    row = examples()[name]
    kind = "labels" if question.mode == "labels" else "caption"
    return {"image": row["path"], "text": row[kind][label_language(PAPER, question.checkpoint, lang)]}


def scene(opened: SceneOpened, question: Question, lang: str) -> dict[str, Any]:
    """The fields that a scene of the classroom sets."""
    return {"text": ", ".join(opened.names) if question.mode == "labels" else opened.caption}


def other_mode(question: Question, lang: str) -> dict[str, Any]:
    """The example's sentence or labels after a change of the mode; a text that a visitor typed stays."""
    for row in examples().values():
        texts = {row[kind][code] for kind in ("caption", "labels") for code in ("en", "zh")}
        if question.text in texts:
            kind = "labels" if question.mode == "labels" else "caption"
            return {"text": row[kind][label_language(PAPER, question.checkpoint, lang)]}
    return {"text": gr.skip()}
