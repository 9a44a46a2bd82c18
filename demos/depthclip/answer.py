"""What the DepthCLIP page answers: a depth map for words and their metres; files, many files, the named endpoint."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from core import checkpoints, inputs
from core.batch import Outcome
from core.errors import Refusal
from demos.depthclip import draw
from demos.depthclip.words import PAPER, examples
from demos.draw import base
from demos.kit import files as files_in
from demos.kit import library, results
from demos.kit.events import api_errors

if TYPE_CHECKING:
    from PIL import Image

    from core.spatial import DepthEstimate, DepthEstimator
    from core.spatial.depthclip import DepthWords
    from demos.depthclip.page import Question

OPENING = "dog_under_tree"
MAX_TEXT = 4000  # characters of the words
NEAR, FAR = 1.0, 3.0  # metres between which lines without metres lie


def model(checkpoint: str | None) -> DepthEstimator:
    """The estimator of a row, loaded on first use."""
    from core.spatial import DepthEstimator

    return DepthEstimator.load(checkpoint or checkpoints.default("clip"))


def rows() -> dict[str, dict[str, Any]]:
    """The example images of the page."""
    return examples()


def lines_of(words: DepthWords) -> str:
    """Words and metres as they stand in the text field: "far = 2.6"."""
    return "\n".join(f"{word} = {metres:g}" for word, metres in zip(words.words, words.bins, strict=True))


def words_of(text: str, template: str, thing: str, temperature: float) -> DepthWords:
    """The words of the text field, one "word = metres" a line.

    A line without metres gets its part of 1 to 3 m by its place among the lines; a sentence without {word} gets it at its end.

    Raises:
        Refusal: "depth_line" for a line whose metres are no number, and what `check_words` refuses.
    """
    from core.spatial.depthclip import DepthWords, check_words

    lines = [line.strip() for line in (text or "")[:MAX_TEXT].replace("＝", "=").splitlines() if line.strip()]
    names, bins = [], []
    for place, line in enumerate(lines):
        word, equals, metres = line.rpartition("=") if "=" in line else (line, "", "")
        try:
            value = float(metres) if equals else NEAR + (FAR - NEAR) * (place + 0.5) / len(lines)
        except ValueError:
            value = float("nan")
        if not word.strip() or value != value:
            raise Refusal("depth_line", line=line[:40])
        names.append(inputs.text(word.strip()))
        bins.append(value)
    sentence = template if "{word}" in template else f"{template} {{word}}".strip()
    return check_words(DepthWords(tuple(names), tuple(bins), sentence, thing, temperature))


def own_words(question: Question, lang: str) -> dict[str, Any]:
    """The fields of the words that a row starts with."""
    from core.spatial.depthclip import words_for

    words = words_for(question.checkpoint or checkpoints.default("clip"), lang)
    return {
        "words": lines_of(words),
        "template": words.template,
        "thing": words.thing,
        "temperature": words.temperature,
    }


@dataclass(frozen=True)
class Answer:
    """The depth map of one image."""

    image: Image.Image
    digest: str
    result: DepthEstimate
    seconds: float

    def line(self, lang: str) -> str:
        """The result line."""
        return results.answer_line(PAPER, self.result, self.seconds, lang)


def run(question: Question) -> Answer:
    """The answer to the page's question."""
    image = inputs.image(files_in.image_source(question.image))
    words = words_of(question.words, question.template, question.thing, question.temperature)
    start = time.perf_counter()
    result = model(question.checkpoint).estimate(image, words)
    return Answer(image, inputs.digest(image), result, time.perf_counter() - start)


# --- endpoint --------------------------------------------------------------------------------------------


def depthclip_estimate(
    image: gr.FileData,
    words: list[str] | None = None,
    metres: list[float] | None = None,
    template: str | None = None,
    temperature: float | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Estimate depth from words: DepthCLIP compares each place of an image with sentences about distance.

    Args:
        image: an image file, or a data URI.
        words: depth words, such as "close" and "far"; those of the checkpoint when left out.
        metres: the depth of each word, set by hand: CLIP knows no metres.
        template: a sentence with {word}, and {object} where the thing goes.
        temperature: divides the logits.
        checkpoint: a CLIP row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "size", "near", "far", "mean", "words": [{"word", "metres", "share"}, ...], "places": rows of
        metres, one for each place of the feature map}.
    """
    from dataclasses import replace

    from core.spatial.depthclip import check_words, words_for

    with api_errors():
        picture = inputs.image(files_in.uploaded(image))
        estimator = model(checkpoint)
        own = words_for(estimator.checkpoint)
        if words or metres:
            own = replace(own, words=tuple(words or own.words), bins=tuple(metres or own.bins))
        own = replace(
            own,
            template=template or own.template,
            temperature=own.temperature if temperature is None else temperature,
        )
        return estimator.estimate(picture, check_words(own)).to_json()


# --- handlers --------------------------------------------------------------------------------------------


def estimate(question: Question, lang: str) -> dict[str, Any]:
    """The map over the image with its scale, the words with their share."""
    answer = run(question)
    return {
        "map": draw.overlay(answer.image, answer.result, lang),
        "table": draw.word_table(answer.result, lang),
        "line": answer.line(lang),
        **results.notes(
            answer.result.checkpoint,
            lang,
            digest=answer.digest,
            unknown=library.unknown_labels([*answer.result.words, question.thing]),
            more=answer.result.notes.sentences(lang),
            paper="clip",
        ),
    }


def fill(name: str, question: Question, lang: str) -> dict[str, Any]:
    """The image that an example sets; words and metres stay."""
    return {"image": examples()[name]["path"]}


def files(question: Question, lang: str) -> str:
    """Download links: the coloured map, millimetres as 16-bit PNG, metres, the cloud, JSON."""
    from PIL import Image

    answer = run(question)
    depth = answer.result.depth
    metres, millimetres = io.BytesIO(), io.BytesIO()
    np.save(metres, depth)
    Image.fromarray((1000 * depth).clip(0, 65_535).round().astype(np.uint16)).save(millimetres, "PNG")
    return files_in.downloads(
        [
            ("depth.png", "image/png", base.png(draw.coloured(depth, answer.result.bins))),
            ("millimetres.png", "image/png", millimetres.getvalue()),
            ("metres.npy", "application/octet-stream", metres.getvalue()),
            ("cloud.xyz", "text/plain", draw.cloud_file(answer.image, depth)),
            ("depthclip.json", "application/json", base.to_json(answer.result.to_json()).encode()),
        ]
    )


def many(question: Question) -> Callable[[Any], Outcome]:
    """The question of the page for each of many images."""
    words = words_of(question.words, question.template, question.thing, question.temperature)
    estimator = model(question.checkpoint)

    def verb(image: Image.Image) -> Outcome:
        answer = estimator.estimate(image, words).to_json()
        cells = {f"{name} (m)": answer[name] for name in ("near", "mean", "far")}
        return Outcome(cells, answer, inputs.size_of(image), image=image)

    return verb
