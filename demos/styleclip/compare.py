"""*Compare* of the StyleCLIP page: all methods on one start, strength against disentanglement, the way between two images."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from core import inputs
from core.runtime import Cancel
from demos.draw import frames
from demos.kit import form, results
from demos.kit.html import tag
from demos.kit.jobs import Progress
from demos.styleclip import answer as answers
from demos.styleclip import draw
from demos.styleclip.words import data, say, text

if TYPE_CHECKING:
    from core.editing.result import Edit
    from demos.styleclip.page import Question

ALPHAS, BETAS = (-2.0, 0.0, 1.0, 2.0, 3.0, 4.0, 6.0), (0.0, 0.08, 0.15, 0.2, 0.25)
BETWEEN = 9  # images from one latent to the other


@dataclass(frozen=True)
class Other:
    """The image at the other end."""

    other: int = form.number(7, text("other"), place="top")


def methods(question: Question, lang: str, cancel: Cancel) -> Iterator[Progress | dict[str, Any]]:
    """The same start and text by every method of the checkpoint that the page offers, quick ones first."""
    from core.editing import rows

    target, began = inputs.text(question.target), time.perf_counter()
    known = rows.methods(answers.row_of(question.checkpoint))
    names = [name for name in data()["quickest"] if name in known]
    row, start = answers.model(question.checkpoint), answers.begin(question)
    edits: list[tuple[str, Edit]] = []
    for at, name in enumerate(names):
        # The sliders of the first tab belong to its own method.
        own = question if name == question.method else replace(question, steps=0, strength=0.0, distance=0.0)
        for frame in row.edit(start, target, answers.settings_of(own, lang, name), cancel=cancel):
            share = (at + frame.step / max(1, frame.steps)) / len(names)
            yield Progress(share, f"{draw.method_title(name, lang)}: " + answers.progress(frame, lang).text)
            if frame.result is not None:
                edits.append((draw.method_title(name, lang), frame.result))
        yield {"out": draw.methods_table(edits, start.image, lang)}
    lessons = tag("p", say("methods_note", lang), class_="atlas-line")
    line = results.line(time.perf_counter() - began, row.checkpoint, edits[-1][1].device, lang)
    yield {"out": draw.methods_table(edits, start.image, lang) + lessons, "line": line}


def plane(question: Question, lang: str) -> dict[str, Any]:
    """One start by strength and disentanglement."""
    began, row = time.perf_counter(), answers.model(question.checkpoint)
    start = answers.begin(question)
    made = row.grid(start, inputs.text(question.neutral), inputs.text(question.target), ALPHAS, BETAS)
    few = tag("p", say("grid_note", lang), class_="atlas-line")
    return {"out": draw.grid_table(made, ALPHAS, BETAS, lang) + few, "line": answers.below(began, row, lang)}


def between(question: Question, other: int, lang: str) -> dict[str, Any]:
    """The images on the straight way between two latents."""
    began, row = time.perf_counter(), answers.model(question.checkpoint)
    start, end = answers.begin(question), row.start(seed=int(other or 0))
    images = row.interpolate(start, end, BETWEEN)
    names = [f"{100 * share:.0f} %" for share in np.linspace(0, 1, BETWEEN)]
    way = list(zip(images, names, strict=True))
    made = frames.flip(way, say("between", lang), BETWEEN // 2) + frames.strip(way)
    return {"out": made, "line": answers.below(began, row, lang)}
