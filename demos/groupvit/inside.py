"""*Look inside* and the numbers of the GroupViT page: a group across images, every shape, the code, published values."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from core import checkpoints, inputs
from demos.groupvit import draw
from demos.groupvit.answer import model, run
from demos.groupvit.tabs import CROWD, progress
from demos.groupvit.words import PAPER, data, examples, say
from demos.kit import files, numbers, results, tensors
from demos.kit.components import surface
from demos.kit.html import Markup

if TYPE_CHECKING:
    from core.runtime import Cancel
    from demos.groupvit.page import Question

ROW_SLOTS = {"out": partial(surface, script="groups.js", template="${value}")}


# --- one group across images -----------------------------------------------------------------------------


def across(question: Question, lang: str, cancel: Cancel) -> Iterator[Any]:
    """The groups of the page's image and of several examples, drawn ones for a miniature and photos for real weights.

    Stop keeps the images that are done.
    """
    own = inputs.image(files.image_source(question.image))
    segmenter = model(question.checkpoint)
    images = {inputs.digest(own): (say("your_image", lang), own)}
    drawn = checkpoints.row(segmenter.checkpoint).bundled is not None
    for name, row in examples().items():
        if row["classroom"] == drawn and name != CROWD:
            image = inputs.image(row["path"])
            images[inputs.digest(image)] = row["caption"][lang], image
    made: list[draw.RowImage] = []
    counts, start = (0, 0), time.perf_counter()
    for caption, image in images.values():
        if cancel.is_set():
            break
        encoded = segmenter.encode(image)
        counts = len(encoded.stages[0]), len(encoded.stages[-1])
        made.append(draw.row_image(image, encoded, caption))
        yield progress(len(made), len(images), start, lang)
    if made:
        line = results.line(time.perf_counter() - start, segmenter.checkpoint, segmenter.device, lang)
        yield {"out": draw.group_row(made, counts, lang), "line": line}


# --- tensors and code ------------------------------------------------------------------------------------


def values(question: Question, lang: str) -> tuple[dict[str, Any], str]:
    """What the templates of shapes in data.toml ask for, and the line."""
    answer = run(question)
    grouping, widths = answer.grouping, model(question.checkpoint).widths
    tokens, high, wide = grouping.stages[0].shape
    labels, dimension = grouping.text_features.shape
    found = {
        "grouping": grouping,
        "widths": widths,
        "tokens": tokens,
        "slots": len(grouping.stages[-1]),
        "used": [len(np.unique(grouping.stages[stage].argmax(0))) for stage in (0, -1)],
        "labels": labels,
        "dimension": dimension,
        "grid": (high, wide),
        "patches": high * wide,
        "pixels": f"{high * widths.patch}, {wide * widths.patch}",
        "depths": " + ".join(map(str, widths.depths)),
        "mask": tensors.shape(grouping.mask),
        "best": ", ".join(f"{value:.3f}" for value in grouping.scores.max(1).tolist()),
    }
    return found, answer.line(lang)


def published(lang: str) -> Markup:
    """The published numbers of the real models, and the miniature's own where the report card has them."""
    ours = [row for row in numbers.report_rows(PAPER, lang) if "mIoU" in row["measure"]]
    return numbers.number_table(data()["published"], ours, lang)
