"""The *Map* tab: images and texts of one joint space in two or three dimensions, and the texts nearest to an image."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from core import checkpoints, inputs
from core.errors import Refusal
from core.runtime import Cancel
from demos.clip import answer as answers
from demos.clip import draw as views
from demos.clip.words import examples, options, say, text
from demos.draw import base as draw
from demos.kit import classifier, form
from demos.kit import files as files_in
from demos.kit.events import api_errors
from demos.kit.jobs import timed

if TYPE_CHECKING:
    from demos.clip.page import Question

NEAREST = 10
MAX_POOL = 1000


@dataclass(frozen=True)
class Settings:
    """Dimensions, whether the gap is closed, and the texts among which the nearest are looked for."""

    dimensions: str = form.choice(options("dimensions"), "2", text("dimensions"))
    centred: bool = form.switch(False, text("centred"), place="top")
    kind: str = form.choice(options("pools"), "concepts", text("pool"), place="settings")
    own: str = form.words(text("pool_own"), lines=3, place="settings")


def clip_map(
    images: list[gr.FileData],
    texts: list[str],
    dimensions: int = 2,
    centred: bool = False,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """A map of images and texts in the joint space, and for each image its texts by nearness.

    Args:
        images: 1 to 64 image files, or data URIs.
        texts: 1 to 1,000 texts.
        dimensions: 2 or 3 principal components.
        centred: whether images and texts are each moved to a mean of zero, which closes the gap between them.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "points": images first, then texts, "explained": share of the variance by axis, "gap":
        distance between the two means, "nearest": for each image [{"text", "cosine"}, ...], at most 10, best first}.
    """
    from core.clip import atlas

    with api_errors():
        count = len(images) if isinstance(images, list) else 0
        if not 1 <= count <= 64:
            raise Refusal("batch_size", low=1, high=64, count=count)
        names = inputs.labels(texts, limit=MAX_POOL)
        sources = [inputs.image(files_in.uploaded(image)) for image in images]
        result = atlas.chart(classifier.model(checkpoint), sources, names, dimensions, centred)
        return result.to_json(NEAREST)


def pool_of(kind: str, own: str, captions: Sequence[str], lang: str) -> list[str]:
    """The texts among which the nearest are looked for: the visitor's, or the things of the classroom and all captions."""
    if kind == "own":
        return inputs.labels(own, limit=MAX_POOL)
    from core.classroom.world.concepts import concepts
    from core.classroom.world.wording import phrase

    things = [phrase(concept.name(lang), lang) for concept in concepts()]
    return list(dict.fromkeys([*captions, *things]))


def lay_map(
    question: Question, dimensions: str, centred: bool, kind: str, own: str, lang: str, cancel: Cancel
) -> Iterator[Any]:
    """The job of the tab: the figure, what it leaves out, the nearest texts."""
    from core.clip import atlas

    image, labels, model = answers.read(question)
    language = classifier.language(model.checkpoint, lang)
    # A miniature knows the images of the classroom, real weights know photos as well.
    is_miniature = checkpoints.row(model.checkpoint).bundled is not None
    rows = [row for row in examples().values() if row["classroom"] or not is_miniature]
    texts = pool_of(kind, own, [row["caption"][language] for row in rows], language)
    others = [(row, inputs.image(row["path"])) for row in rows]
    others = [(row, one) for row, one in others if inputs.digest(one) != inputs.digest(image)]
    captions = [row["caption"][language] for row, _ in others]
    images, sentences = [image, *(one for _, one in others)], [*labels, *captions]
    start, count = time.perf_counter(), len(images) + len(sentences)
    encoding = atlas.encoding(model, images, [*sentences, *texts], cancel)
    vectors = yield from timed(encoding, partial(say, "encoding", lang))
    made = atlas.project(vectors[:count], np.arange(count) >= len(images), int(dimensions), centred)
    counts = [1, len(others), len(labels), len(captions)]
    kinds = np.repeat(list(views.KINDS), counts).tolist()
    names = [say("this_image", lang), *(row["caption"][lang] for row, _ in others), *sentences]
    thumbnails = [*(draw.data_uri(one, 96) for one in images), *[None] * len(sentences)]
    pairs = [(1 + i, len(images) + len(labels) + i) for i in range(len(others))]
    cosines = vectors[count:] @ vectors[0]
    best = np.argsort(-cosines, kind="stable")[:NEAREST].tolist()
    result = model.classify(image, labels)
    yield {
        "plot": gr.update(value=views.map_figure(made, names, kinds, thumbnails, pairs, lang), visible=True),
        "note": views.map_note(made, centred, lang),
        "nearest": views.nearest_table([texts[i] for i in best], cosines[best].tolist(), len(texts), lang),
        "line": answers.below([(result, inputs.digest(image))], time.perf_counter() - start, lang),
    }
