"""What the CLIP-ViL page answers: one question to three encoders; files, many files, the named endpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import checkpoints, inputs
from core.batch import Outcome
from demos.clip_vil import draw
from demos.clip_vil.words import PAPER, examples
from demos.draw import base
from demos.kit import files as files_in
from demos.kit import results
from demos.kit.events import api_errors
from demos.kit.menu import label_language

if TYPE_CHECKING:
    from PIL import Image

    from core.vqa.clip_vil import CLIPViL
    from core.vqa.clip_vil.blip import BlipVQA
    from core.vqa.clip_vil.models import VisualAnswer
    from demos.clip_vil.page import Question

OPENING = "cat_left_of_car"
BEST = "clip"  # the encoder that answers where there is room for one answer


def model(checkpoint: str | None) -> CLIPViL | BlipVQA:
    """The model of a row, loaded on first use."""
    from core.vqa import clip_vil

    return clip_vil.load(checkpoint or checkpoints.default(PAPER))


def rows() -> dict[str, dict[str, Any]]:
    """The example images of the page."""
    return examples()


@dataclass(frozen=True)
class Answer:
    """The answers of every encoder of a row to one question."""

    image: Image.Image
    digest: str
    found: dict[str, VisualAnswer]
    seconds: float

    @property
    def main(self) -> VisualAnswer:
        """The answer that stands for all: CLIP's."""
        return self.found.get(BEST) or next(iter(self.found.values()))

    def line(self, lang: str) -> str:
        """The result line."""
        return results.answer_line(PAPER, self.main, self.seconds, lang)


def put(image: Image.Image, question: str, checkpoint: str | None) -> Answer:
    """The answers to a question about an image."""
    answering = model(checkpoint)
    start = time.perf_counter()
    found = {name: answering.answer(image, question, name) for name in answering.encoders}
    return Answer(image, inputs.digest(image), found, time.perf_counter() - start)


def run(question: Question) -> Answer:
    """The answer to the page's question."""
    image = inputs.image(files_in.image_source(question.image))
    return put(image, inputs.text(question.question), question.checkpoint)


# --- endpoint --------------------------------------------------------------------------------------------


def clip_vil_answer(
    image: gr.FileData, question: str, encoder: str | None = None, checkpoint: str | None = None
) -> dict[str, Any]:
    """Answer a question about an image (CLIP-ViL).

    Args:
        image: an image file, or a data URI.
        question: in a language of the checkpoint.
        encoder: "clip", "supervised" or "random" of a miniature; CLIP's when left out.
        checkpoint: a registry row of CLIP-ViL that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "encoder", "seconds", "question", "answer", "results": [{"answer", "probability"}, ...] best first,
        "attention": rows of shares, how far the head looks at each place of the grid}.
    """
    with api_errors():
        picture = inputs.image(files_in.uploaded(image))
        answering = model(checkpoint)
        return answering.answer(picture, question, encoder or answering.encoders[-1]).to_json()


# --- handlers --------------------------------------------------------------------------------------------


def ask(question: Question, lang: str) -> dict[str, Any]:
    """A card for every encoder: its answers, and where it looks."""
    from core.classroom.world.vocabulary import unread

    answer = run(question)
    found = answer.main
    more = [
        *found.notes.sentences(lang),
        *results.unreadable(found.checkpoint, found.question, lang),
    ]
    return {
        "answers": draw.cards(answer.image, answer.found, lang),
        "line": answer.line(lang),
        **results.notes(
            found.checkpoint,
            lang,
            digest=answer.digest,
            unknown=unread(found.question),
            more=more,
            paper=PAPER,
        ),
    }


def fill(name: str, question: Question, lang: str) -> dict[str, Any]:
    """The image and the question that an example sets."""
    row = examples()[name]
    return {
        "image": row["path"],
        "question": row["question"][label_language(PAPER, question.checkpoint, lang)],
    }


def files(question: Question, lang: str) -> str:
    """Download links: the answers of all encoders as CSV and JSON."""
    answer = run(question)
    lines = [
        [name, one["answer"], one["probability"]]
        for name, found in answer.found.items()
        for one in found.to_json()["results"]
    ]
    whole = {name: found.to_json() for name, found in answer.found.items()}
    return files_in.downloads(
        [
            (
                "answers.csv",
                "text/csv",
                base.csv_of(["encoder", "answer", "probability"], lines).encode("utf-8-sig"),
            ),
            ("answers.json", "application/json", base.to_json(whole).encode()),
        ]
    )


def many(question: Question) -> Callable[[Any], Outcome]:
    """The question of the page for each of many images."""
    text, answering = inputs.text(question.question), model(question.checkpoint)

    def verb(image: Image.Image) -> Outcome:
        found = answering.answer(image, text, answering.encoders[-1])
        cells: dict[str, str | float] = {
            "answer": found.best,
            "probability": float(found.probabilities.max()),
        }
        return Outcome(cells, found.to_json(), inputs.size_of(image), image=image)

    return verb
