"""What the GroupViT page answers: a mask for labels and a threshold, its files, the named endpoint.

An image is encoded once, before any label is known. Labels and the threshold only read a table of groups and labels.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from core import inputs
from core.batch import Outcome
from core.errors import Refusal
from demos.groupvit import draw
from demos.kit import batch, library, results
from demos.kit import files as files_in
from demos.kit.events import api_errors
from demos.kit.language import Text
from demos.kit.menu import label_language, start_row
from demos.kit.page import Layout
from demos.kit.scenes_link import SceneOpened

if TYPE_CHECKING:
    from PIL import Image

    from core.segmentation import Grouping, GroupViT
    from demos.groupvit.page import Question

PAPER = "groupvit"
OPENING = "tree_and_teddy_bear"
PARTS = {
    "encode_image": Text("image", "图片"),
    "encode_text": Text("labels", "标签"),
    "segment": Text("mask", "掩码"),
}

examples = partial(library.examples, PAPER)


@cache
def scenes() -> dict[str, str]:
    """The drawn examples, whose exact masks are known, by the digest of their image."""
    return {
        inputs.digest(inputs.image(row["path"])): name for name, row in examples().items() if "masks" in row
    }


def model(checkpoint: str | None) -> GroupViT:
    """The segmenter of a row, loaded on first use."""
    from core.segmentation import GroupViT

    return GroupViT.load(checkpoint or start_row(PAPER))


def start_threshold(checkpoint: str | None) -> float:
    """The threshold that a row recommends."""
    from core.segmentation.groupvit import row_threshold

    return row_threshold(checkpoint or start_row(PAPER))


def checked(threshold: Any) -> float:
    """A threshold in [0, 1]; Refusal("out_of_range") for anything else."""
    is_number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if not is_number or not 0 <= threshold <= 1:
        raise Refusal("out_of_range", name="threshold", low=0, high=1, value=str(threshold)[:20])
    return float(threshold)


@dataclass(frozen=True)
class Answer:
    """The groups of one image under labels and a threshold."""

    image: Image.Image
    digest: str
    grouping: Grouping
    seconds: float


def run(question: Question) -> Answer:
    """The answer to the page's question."""
    names = inputs.labels(question.labels)
    return ask(inputs.image(files_in.picture_source(question.image)), names, question)


def ask(image: Image.Image, labels: list[str], question: Question) -> Answer:
    """An image under labels, with threshold and checkpoint of the question."""
    segmenter = model(question.checkpoint)
    start = time.perf_counter()
    encoded = segmenter.encode(image)
    grouping = segmenter.segment(encoded, labels, checked(question.threshold))
    return Answer(image, encoded.digest, grouping, time.perf_counter() - start)


# --- endpoint --------------------------------------------------------------------------------------------


def groupvit_segment(
    image: gr.FileData,
    labels: list[str] | str,
    threshold: float | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Segment an image into groups that a GroupViT names with your labels; its training used no masks.

    Args:
        image: an image file, or a data URI.
        labels: a list, or one string with commas; at most 100, in a language of the checkpoint.
        threshold: 0 to 1; groups whose best score is lower are background. The checkpoint's own when left out.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "size", "threshold", "line", "results": [{"label", "share", "mask"}, ...], "groups":
        [{"group", "label", "score"}, ...]}; label null is background, masks are COCO run lengths {"size", "counts"};
        "merged" and "truncated" as in clip_classify.
    """
    with api_errors():
        names = inputs.labels(labels)
        picture = inputs.image(files_in.uploaded(image))
        segmenter = model(checkpoint)
        least = start_threshold(segmenter.checkpoint) if threshold is None else checked(threshold)
        grouping = segmenter.segment(picture, names, least)
        return {**grouping.to_json(), "line": grouping.line, "results": masks_of(grouping)}


def masks_of(grouping: Grouping) -> list[dict[str, Any]]:
    """The results of an answer with the run lengths of each label's mask."""
    from core import masks as rle

    count = len(grouping.labels)
    places = {name: i for i, name in enumerate([*grouping.labels, None])}
    mask = draw.with_background(grouping.mask, count)
    size = list(grouping.mask.shape)
    return [
        {**row, "mask": {"size": size, "counts": rle.encode(mask == places[row["label"]])}}
        for row in grouping.to_json()["results"]
    ]


# --- handlers --------------------------------------------------------------------------------------------


def line_of(answer: Answer, lang: str) -> str:
    """The result line."""
    grouping = answer.grouping
    parts = " + ".join(f"{text.get(lang)} {grouping.timings[name]:.0f} ms" for name, text in PARTS.items())
    return results.line(answer.seconds, grouping.checkpoint, grouping.device, lang, parts)


def picture(answer: Answer, lang: str) -> dict[str, Any]:
    """What follows the threshold: the mask over the image, the chart, the table."""
    return {
        "mask": draw.overlay(answer.image, answer.grouping, lang),
        "chart": draw.chart(answer.grouping, lang),
        "table": draw.group_table(answer.grouping, lang),
    }


def segment(question: Question, lang: str) -> dict[str, Any]:
    """The mask over the image, each group's score against the threshold, the table, the line."""
    answer = run(question)
    return {
        **picture(answer, lang),
        "line": line_of(answer, lang),
        **results.notes(
            answer.grouping.checkpoint,
            lang,
            digest=answer.digest,
            page=PAPER,
            unknown=library.unknown_labels(answer.grouping.labels),
            more=answer.grouping.notes.sentences(lang),
        ),
    }


def follow(layout: Layout) -> None:
    """Draws the mask again while the slider moves; only its newest value counts."""

    def repaint(question: Question, lang: str) -> dict[str, Any]:
        return picture(run(question), lang)

    place = layout.places[0]
    layout.update(layout.components["threshold"].input, place, repaint, trigger_mode="always_last")


def files(question: Question, lang: str) -> str:
    """Download links: overlay, label map, run lengths, the table of groups."""
    answer = run(question)
    return draw.files(answer.image, answer.grouping, lang)


def many(question: Question) -> Callable[[Any], Outcome]:
    """The question of the page for each of many images."""
    names, threshold = inputs.labels(question.labels), checked(question.threshold)
    segmenter = model(question.checkpoint)

    def verb(image: Image.Image) -> Outcome:
        grouping = segmenter.segment(image, names, threshold)
        shares = grouping.shares.tolist()[: len(names)]
        return batch.segmented(names, shares, grouping.mask, grouping.to_json(), image)

    return verb


def homes(answer: Answer, lang: str) -> dict[str, int]:
    """Each thing of a drawn example and the group that has most of its pixels; empty for other images."""
    from core.classroom.world import labelled

    if answer.digest not in scenes():
        return {}
    row = examples()[scenes()[answer.digest]]
    truth = labelled.stored(row)
    own = [answer.grouping.groups[truth == at] for at in range(len(row["names"]["en"]))]
    return {
        name: int(np.bincount(groups).argmax())
        for name, groups in zip(row["names"]["zh" if lang == "zh" else "en"], own, strict=True)
        if len(groups)
    }


# --- opening, examples -----------------------------------------------------------------------------------


def own_threshold(question: Question, lang: str) -> dict[str, Any]:
    """The slider at the threshold that the question's checkpoint recommends."""
    return {"threshold": start_threshold(question.checkpoint)}


def fill(name: str, question: Question, lang: str) -> dict[str, Any]:
    """The fields that an example sets: its image, and labels in a language that the checkpoint reads."""
    row = examples()[name]
    return {"image": row["path"], "labels": row["labels"][label_language(PAPER, question.checkpoint, lang)]}


def scene(opened: SceneOpened, question: Question, lang: str) -> dict[str, Any]:
    """The fields that a scene of the classroom sets."""
    return {"labels": ", ".join(opened.names)}
