"""What the GroupViT page answers: a mask for labels and a threshold, its files, the named endpoint.

An image is encoded once, before any label is known. Labels and the threshold only read a table of groups and labels.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from core import inputs
from core.batch import Outcome, segmented
from demos.groupvit import draw
from demos.groupvit.words import PAPER, examples
from demos.kit import files as files_in
from demos.kit import results
from demos.kit.events import api_errors
from demos.kit.layout import Layout
from demos.kit.menu import start_row
from demos.kit.page import labelled

if TYPE_CHECKING:
    from PIL import Image

    from core.segmentation import Grouping, GroupViT
    from demos.groupvit.page import Question

EXAMPLES = labelled(PAPER, "tree_and_teddy_bear")


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


@dataclass(frozen=True)
class Answer:
    """The groups of one image under labels and a threshold."""

    image: Image.Image
    digest: str
    grouping: Grouping
    seconds: float

    def line(self, lang: str) -> str:
        """The result line."""
        return results.answer_line(PAPER, self.grouping, self.seconds, lang)


def run(question: Question) -> Answer:
    """The answer to the page's question."""
    labels = inputs.labels(question.labels)
    image = inputs.image(files_in.image_source(question.image))
    segmenter = model(question.checkpoint)
    start = time.perf_counter()
    encoded = segmenter.encode(image)
    grouping = segmenter.segment(encoded, labels, inputs.number("threshold", question.threshold))
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
        own = start_threshold(segmenter.checkpoint)
        least = inputs.number("threshold", own if threshold is None else threshold)
        grouping = segmenter.segment(picture, names, least)
        return {**grouping.to_json(), "line": grouping.line, "results": masks_of(grouping)}


def masks_of(grouping: Grouping) -> list[dict[str, Any]]:
    """The results of an answer with the run lengths of each label's mask."""
    from core import masks as rle

    places: dict[str | None, int] = {name: i for i, name in enumerate(grouping.labels)}
    places[None] = -1
    size = list(grouping.mask.shape)
    return [
        {**row, "mask": {"size": size, "counts": rle.encode(grouping.mask == places[row["label"]])}}
        for row in grouping.to_json()["results"]
    ]


# --- handlers --------------------------------------------------------------------------------------------


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
    grouping = answer.grouping
    hints = results.unreadable(grouping.checkpoint, " ".join(grouping.labels), lang)
    return {
        **picture(answer, lang),
        "line": answer.line(lang),
        **results.answer_notes(PAPER, grouping, answer.digest, grouping.labels, lang, hints),
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
    names, threshold = inputs.labels(question.labels), inputs.number("threshold", question.threshold)
    segmenter = model(question.checkpoint)

    def verb(image: Image.Image) -> Outcome:
        grouping = segmenter.segment(image, names, threshold)
        shares = grouping.shares.tolist()[: len(names)]
        return segmented(names, shares, grouping.mask, grouping.to_json(), image)

    return verb


def homes(answer: Answer, lang: str) -> dict[str, int]:
    """Each thing of a drawn example and the group that has most of its pixels; empty for other images."""
    from core.classroom.world import labelled

    if answer.digest not in scenes():
        return {}
    row = examples()[scenes()[answer.digest]]
    truth = labelled.stored(row)
    own = {name: answer.grouping.groups[truth == at] for at, name in enumerate(row["names"][lang])}
    return {name: int(np.bincount(groups).argmax()) for name, groups in own.items() if len(groups)}


def own_threshold(question: Question, lang: str) -> dict[str, Any]:
    """The slider at the threshold that the question's checkpoint recommends."""
    return {"threshold": start_threshold(question.checkpoint)}
