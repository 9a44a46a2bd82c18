"""Answers of the ViLD page: boxes for labels, the region of a box, the variants side by side, files, the named endpoint.

The proposals of an image are computed and encoded once and cached by core: labels, variant and threshold only compare with
them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from core import checkpoints, inputs
from core.batch import Outcome, detected
from core.runtime import Cancel
from demos.draw import box_files
from demos.kit import files as files_in
from demos.kit import label_choices, results
from demos.kit.components import read_pick
from demos.kit.events import api_errors
from demos.kit.jobs import Progress, timed
from demos.kit.menu import needs_download, start_row
from demos.vild import draw
from demos.vild.words import PAPER, examples, say

if TYPE_CHECKING:
    from core.detection import Detection
    from core.detection.vild import EncodedImage, ViLD
    from demos.kit.label_choices import LabelChoices
    from demos.vild.page import Question

VARIANT = "ensemble"
PROPOSALS, MOST_PROPOSALS = 100, 300  # the usual number, and the most that the paper distils from one image


@dataclass(frozen=True)
class Answer:
    """The detection of one question, with the objects behind it."""

    model: ViLD
    image: Image.Image
    encoded: EncodedImage
    detection: Detection
    choices: LabelChoices
    seconds: float

    def line(self, lang: str) -> str:
        """The result line."""
        return results.answer_line(PAPER, self.detection, self.seconds, lang)


def model(checkpoint: str | None) -> ViLD:
    """The detector of a row, loaded on first use."""
    from core.detection.vild import ViLD

    return ViLD.load(checkpoint or start_row(PAPER))


def row_of(checkpoint: str) -> checkpoints.Checkpoint:
    """A row of ViLD; the one that the page starts on where none is named."""
    return checkpoints.row(checkpoint or start_row(PAPER), lambda row: row.paper == PAPER)


def variants_of(checkpoint: str) -> tuple[str, ...]:
    """The variants of a row, read without loading torch."""
    return tuple(row_of(checkpoint).options.get("variants", ()))


def variant_for(variant: str, checkpoint: str) -> str:
    """The variant where the row has it, else the row's last one."""
    known = variants_of(checkpoint)
    return variant if variant in known else known[-1]


def threshold_for(variant: str, checkpoint: str) -> float:
    """The threshold that a row recommends for a variant."""
    return float(row_of(checkpoint).options["thresholds"][variant_for(variant, checkpoint)])


def options_of(
    variant: str | None, threshold: float | None, proposals: float, across_labels: bool
) -> dict[str, Any]:
    """The options of `ViLD.detect`, with numbers in range; Refusal("out_of_range") for others."""
    least = None if threshold is None else inputs.number("threshold", threshold)
    count = int(inputs.number("proposals", proposals, 1, MOST_PROPOSALS))
    return {"variant": variant, "threshold": least, "proposals": count, "across_labels": across_labels}


def choices_of(question: Question) -> LabelChoices:
    """The question's labels as its checkpoint reads them."""
    names, row = inputs.labels(question.labels), row_of(question.checkpoint)
    return label_choices.read(row.name, names, question.by_label, question.negatives)


def ask(question: Question, variant: str | None = None) -> Answer:
    """The answer to the page's question; to another variant with its own threshold where one is named."""
    image = inputs.image(files_in.image_source(question.image))
    choices = choices_of(question)
    vild = model(question.checkpoint)
    start = time.perf_counter()
    encoded = vild.encode(image)
    # An address or the browser's memory may bring a row that does not have the chosen variant.
    name = variant or variant_for(question.variant, question.checkpoint)
    threshold = None if variant else question.threshold
    options = options_of(name, threshold, question.proposals, question.across_labels)
    detection = vild.detect(encoded, choices.names, **choices.options, **options)
    return Answer(vild, image, encoded, detection, choices, time.perf_counter() - start)


def crops(question: Question, lang: str, cancel: Cancel) -> Iterator[Progress]:
    """Encodes the crops of the proposals where the chosen variant needs them."""
    wanted = variant_for(question.variant, question.checkpoint) == "crops"
    if wanted and not needs_download(row_of(question.checkpoint).name):
        yield from crops_of(question, lang, cancel)


def crops_of(question: Question, lang: str, cancel: Cancel) -> Iterator[Progress]:
    """Encodes the crops of the proposals of a question where its row has that variant."""
    if "crops" in variants_of(question.checkpoint):
        image = inputs.image(files_in.image_source(question.image))
        yield from encode_crops(model(question.checkpoint), image, question.proposals, lang, cancel)


def encode_crops(
    vild: ViLD, image: Image.Image | EncodedImage, proposals: float, lang: str, cancel: Cancel
) -> Iterator[Progress]:
    """Encodes the crops of an image's proposals; yields nothing where they are cached."""
    yield from timed(vild.encode_crops(image, int(proposals), cancel), partial(say, "encoding", lang))


# --- endpoint --------------------------------------------------------------------------------------------


def vild_detect(
    image: gr.FileData,
    labels: list[str] | str,
    variant: str | None = None,
    threshold: float | None = None,
    proposals: int = PROPOSALS,
    base: list[str] | None = None,
    checkpoint: str | None = None,
    coco: bool = False,
    across_labels: bool = False,
    by_label: dict[str, float] | None = None,
    negatives: list[str] | str | None = None,
) -> dict[str, Any]:
    """Find the things that labels name in an image, with a box each (open-vocabulary detection, ViLD).

    Args:
        image: an image file, or a data URI.
        labels: a list, or one string with commas; at most 1,000.
        variant: "crops" (CLIP on crops), "text", "image", "vild" or "ensemble"; a row may have only some of them, and OWL-ViT
            only "native". The ensemble, or the row's last one, when left out.
        threshold: the minimum score of a box, 0 to 1; the one recommended for the variant when left out.
        proposals: how many of the image's proposals are compared with the labels, 1 to 300.
        base: which of the labels count as base categories for the ensemble; those that had boxes in training when left out.
        checkpoint: a row of ViLD that is on the server; the default row when left out.
        coco: whether the answer also contains the boxes as a COCO data set.
        across_labels: whether of overlapping boxes with different labels only the best is kept: one label for each thing.
        by_label: minimum scores of single labels, in place of the threshold: {"dog": 0.4}.
        negatives: words that are easily confused with the labels: where one of them scores higher, the box of the label is left
            out; their own boxes are left out, too.

    Returns:
        {"checkpoint", "variant", "seconds", "size": [width, height], "results": [{"label", "base", "score",
        "box": [left, top, right, bottom] in pixels}, ...]}, best first; with coco also "images", "categories", "annotations";
        "merged" and "truncated" as in clip_classify, "translated" as in glip_ground.
    """
    with api_errors():
        names = inputs.labels(labels, limit=1000)
        pixels = inputs.image(files_in.uploaded(image))
        options = options_of(variant, threshold, proposals, across_labels)
        choices = label_choices.read(row_of(checkpoint or "").name, names, by_label, negatives)
        options |= {"base": choices.among(base), **choices.options}
        detection = model(checkpoint).detect(pixels, choices.names, **options)
        result = detection.to_json() | choices.to_json(detection.labels)
        if coco:
            result |= json.loads(box_files.coco_json(draw.marks(detection), detection.labels, detection.size))
        return result


# --- handlers --------------------------------------------------------------------------------------------


def detect(question: Question, lang: str) -> dict[str, Any]:
    """The slots of *Try it*: the image with its boxes, no region yet, the line."""
    answer = ask(question)
    detection = answer.detection
    notes = answer.choices.sentences(detection.labels, lang)
    return {
        "figure": draw.figure(answer.image, detection, lang, "inspect"),
        "region": "",
        "line": answer.line(lang),
        **results.answer_notes(PAPER, detection, answer.encoded.digest, detection.labels, lang, notes),
    }


def inspect(question: Question, clicked: str, lang: str) -> dict[str, Any]:
    """The region behind a clicked box; nothing where the click belongs to another answer."""
    answer = ask(question)
    at = read_pick(clicked, len(answer.detection.boxes))
    if at is None:
        return {}
    region = int(answer.detection.proposal_indices[at])
    return {"region": draw.region(answer.image, answer.detection, region, lang)}


def compare(question: Question, example: str, lang: str, cancel: Cancel) -> Iterator[Any]:
    """A job: every variant of the row, each at its recommended threshold."""
    yield from crops_of(question, lang, cancel)
    start = time.perf_counter()
    answers = [ask(question, name) for name in variants_of(question.checkpoint)]
    detections = [one.detection for one in answers]
    things = examples()[example]["objects"] if example in examples() else []
    last = replace(answers[-1], seconds=time.perf_counter() - start)
    cards = draw.variants(last.image, detections, things, lang)
    yield {"out": cards + draw.best_scores(detections, lang), "line": last.line(lang)}


def closed(question: Question, lang: str) -> dict[str, Any]:
    """The slots of *Closed vocabulary*: a detector with a fixed list beside the answer to the labels, and the line."""
    answer = ask(question)
    fixed = answer.model.closed(answer.encoded, language=lang, proposals=int(question.proposals))
    both = draw.closed_and_open(answer.image, fixed, answer.detection, lang)
    return {"out": both, "line": answer.line(lang)}


def files(question: Question, lang: str) -> str:
    """Download links of the boxes."""
    answer = ask(question)
    return box_files.exports(answer.image, draw.marks(answer.detection), answer.detection.labels, PAPER, lang)


def many(question: Question) -> Callable[[Any], Outcome]:
    """The question of the page for each of many images."""
    choices, vild = choices_of(question), model(question.checkpoint)
    variant = variant_for(question.variant, question.checkpoint)
    options = options_of(variant, question.threshold, question.proposals, question.across_labels)

    def verb(image: Image.Image) -> Outcome:
        detection = vild.detect(image, choices.names, **choices.options, **options)
        names = [detection.labels[at] for at in detection.label_indices.tolist()]
        rows = list(zip(names, detection.scores.tolist(), detection.boxes.tolist(), strict=True))
        return detected(rows, detection.to_json(), image)

    return verb


# --- fields that follow others ---------------------------------------------------------------------------


def own_threshold(question: Question, lang: str) -> dict[str, Any]:
    """The slider at the threshold that the checkpoint recommends for the variant."""
    return {"threshold": threshold_for(question.variant, question.checkpoint)}


def own_variants(question: Question, lang: str) -> dict[str, Any]:
    """The variants of the question's checkpoint; the chosen one stays where the checkpoint has it."""
    options = [(draw.VARIANTS[name].get(lang), name) for name in variants_of(question.checkpoint)]
    return {"variant": gr.update(choices=options, value=variant_for(question.variant, question.checkpoint))}


def settle(question: Question, lang: str) -> dict[str, Any]:
    """The variants of the checkpoint that the page opens with, where they are not those of the start row."""
    same = variants_of(question.checkpoint) == variants_of("")
    return {} if same else own_variants(question, lang)


def other_checkpoint(question: Question, lang: str) -> dict[str, Any]:
    """The fields that follow another checkpoint."""
    return {**own_variants(question, lang), **own_threshold(question, lang)}
