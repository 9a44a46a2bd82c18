"""What the ViLT page answers: answers to a question, whether a text fits, words for gaps; files, many files, named endpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import checkpoints, inputs
from core.batch import Outcome
from core.errors import Refusal
from demos.draw import base
from demos.kit import components, results
from demos.kit import files as files_in
from demos.kit.events import api_errors
from demos.kit.language import Text
from demos.kit.layout import Layout
from demos.kit.menu import label_language, start_row
from demos.vilt import draw
from demos.vilt.words import PAPER, data, examples

if TYPE_CHECKING:
    from PIL import Image

    from core.vqa.vilt.model import ViLT
    from core.vqa.vilt.results import Answers, Filled, Match, Read
    from demos.vilt.page import Question

OPENING = "cat_left_of_car"


@dataclass(frozen=True)
class Answer:
    """The answer to the page's question."""

    image: Image.Image
    digest: str
    result: Read
    seconds: float

    def line(self, lang: str) -> str:
        """The result line."""
        return results.answer_line(PAPER, self.result, self.seconds, lang)


def model(checkpoint: str | None) -> ViLT:
    """The row's ViLT, loaded on first use."""
    from core.vqa.vilt.model import ViLT

    return ViLT.load(checkpoint or start_row(PAPER))


def verb_of(row: ViLT, task: str) -> Callable[[Any, str], Answers | Match | Filled]:
    """What answers a task."""
    verbs: dict[str, Callable[[Any, str], Any]] = {"answer": row.answer, "match": row.match, "fill": row.fill}
    if task not in verbs:
        raise Refusal("unknown_method", name=task[:40], known=", ".join(verbs))
    return verbs[task]


def run(question: Question) -> Answer:
    """The answer to the page's question."""
    image = inputs.image(files_in.image_source(question.image))
    row = model(question.checkpoint)
    start = time.perf_counter()
    result = verb_of(row, question.task)(image, question.text)
    return Answer(image, inputs.digest(image), result, time.perf_counter() - start)


# --- endpoints -------------------------------------------------------------------------------------------


def vilt_answer(image: gr.FileData, question: str, checkpoint: str | None = None) -> dict[str, Any]:
    """Answer a question about an image (ViLT).

    Args:
        image: an image file, or a data URI.
        question: in English, or in a language of the checkpoint; at most 300 characters.
        checkpoint: a ViLT row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "question", "results": [{"answer", "probability"}, ...]} the five best answers, best first.
    """
    with api_errors():
        picture = inputs.image(files_in.uploaded(image))
        return model(checkpoint).answer(picture, question).to_json()


def vilt_match(image: gr.FileData, text: str, checkpoint: str | None = None) -> dict[str, Any]:
    """Tell how well a text fits an image (ViLT).

    Args:
        image: an image file, or a data URI.
        text: a sentence; at most 300 characters.
        checkpoint: a ViLT row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "text", "score"}: without bounds, higher for a better fit; and "probability" where the
        checkpoint tells yes from no.
    """
    with api_errors():
        picture = inputs.image(files_in.uploaded(image))
        return model(checkpoint).match(picture, text).to_json()


def vilt_fill(image: gr.FileData, text: str, checkpoint: str | None = None) -> dict[str, Any]:
    """Fill in the words of a sentence that are written as [MASK], looking at an image (ViLT).

    Args:
        image: an image file, or a data URI.
        text: a sentence with one or more [MASK]; at most 300 characters.
        checkpoint: a ViLT row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "text", "filled", "gaps": a list of {"word", "probability"} for each [MASK], best first}.
    """
    with api_errors():
        picture = inputs.image(files_in.uploaded(image))
        return model(checkpoint).fill(picture, text).to_json()


# --- handlers --------------------------------------------------------------------------------------------


def run_task(question: Question, lang: str) -> dict[str, Any]:
    """The answer to the chosen task, and its words over the patches."""
    answer = run(question)
    return {
        "answer": draw.answer(answer.result, lang),
        "map": draw.words_over_patches(answer.image, answer.result, lang),
        "line": answer.line(lang),
        **notes(answer, lang),
    }


def notes(answer: Answer, lang: str) -> dict[str, Any]:
    """The hints above the answer."""
    from core.classroom.world.vocabulary import unread

    result = answer.result
    bundled = checkpoints.row(result.checkpoint).bundled is not None
    more = [*result.notes.sentences(lang), *results.unreadable(result.checkpoint, result.text, lang)]
    return results.notes(
        result.checkpoint,
        lang,
        digest=answer.digest,
        unknown=unread(result.text) if bundled else (),
        more=more,
    )


def language(checkpoint: str | None, lang: str) -> str:
    """The language of texts: the page's where the checkpoint reads it."""
    return label_language(PAPER, checkpoint or start_row(PAPER), lang)


def rows() -> dict[str, dict[str, Any]]:
    """The example images of the page."""
    return examples()


def fill(name: str, question: Question, lang: str) -> dict[str, Any]:
    """The fields that an example sets."""
    row = examples()[name]
    code = language(question.checkpoint, lang)
    return {"image": row["path"], "task": row.get("task", "answer"), "text": row["ask"][code]}


def suggestions(layout: Layout) -> None:
    """Questions and sentences that one press asks."""
    given = data()["suggestions"]
    titles = {name: Text(row["en"], row["zh"]) for name, row in given.items()}
    buttons = components.button_row("suggest", titles)
    place = layout.places[0]
    for name, button in buttons.items():
        filled = layout.fill(button.click, partial(suggested, name))
        layout.answer(place, behind=filled)


def suggested(name: str, question: Question, lang: str) -> dict[str, Any]:
    """The fields that a suggestion sets."""
    row = data()["suggestions"][name]
    return {"task": row.get("task", "answer"), "text": row[language(question.checkpoint, lang)]}


def files(question: Question, lang: str) -> str:
    """Download links: the answer as JSON, the plan of words and patches as CSV."""
    answer = run(question)
    aligned = answer.result.aligned
    table = base.csv_of(
        ("word", "row", "column", "share"),
        (
            (word, i + 1, j + 1, float(aligned.share[at, i, j]))
            for at, word in enumerate(aligned.words)
            for i in range(aligned.share.shape[1])
            for j in range(aligned.share.shape[2])
        ),
    )
    return files_in.downloads(
        [
            ("vilt.json", "application/json", base.to_json(answer.result.to_json()).encode()),
            ("words_and_patches.csv", "text/csv", table.encode("utf-8-sig")),
        ]
    )


def many(question: Question) -> Callable[[Any], Outcome]:
    """The question of the page for each of many images."""
    row, words = model(question.checkpoint), inputs.text(question.text)
    verb_of_task = verb_of(row, question.task)

    def verb(image: Image.Image) -> Outcome:
        answer = verb_of_task(image, words).to_json()
        cells: dict[str, str | float]
        if question.task == "answer":
            cells = dict(answer["results"][0])
        elif question.task == "match":
            cells = {"score": answer["score"]}
        else:
            cells = {"filled": answer["filled"]}
        return Outcome(cells, answer, inputs.size_of(image), image=image)

    return verb


def blind(question: Question) -> tuple[Any, Any]:
    """The answers to the page's question with its image and without."""
    asked = replace(question, task="answer")
    seen = run(asked)
    row = model(question.checkpoint)
    return seen, row.answer(None, question.text)
