"""*Compare* of the StyleCLIP page: all methods on one start, strength against disentanglement, the way between two images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.runtime import Cancel
from demos.draw import frames
from demos.kit import form, runs
from demos.kit.jobs import Progress
from demos.styleclip import draw
from demos.styleclip.answer import Inquiry
from demos.styleclip.words import data, line, say, text

if TYPE_CHECKING:
    from core.editing.result import Edit
    from demos.styleclip.page import Question

ALPHAS, BETAS = (-2.0, 0.0, 1.0, 2.0, 3.0, 4.0, 6.0), (0.0, 0.08, 0.15, 0.25, 0.4)
BETWEEN = 9  # images from one latent to the other


@dataclass(frozen=True)
class Other:
    """The image at the other end."""

    other: int = form.number(7, text("other"), place="top")


def methods(question: Question, lang: str, cancel: Cancel) -> Iterator[Progress | dict[str, Any]]:
    """The same start and text by every method of the checkpoint that the page offers, quick ones first."""
    inquiry = Inquiry(question, lang)
    names = [name for name in data()["quickest"] if name in inquiry.row.methods]
    edits: list[tuple[str, Edit]] = []
    for at, name in enumerate(names):
        # The sliders of the first tab belong to its own method.
        title, settings = draw.method_title(name, lang), inquiry.settings(name, name == question.method)
        for frame in inquiry.row.edit(inquiry.start, inquiry.target, settings, cancel):
            share = (at + frame.step / frame.steps) / len(names)
            yield Progress(share, f"{title}: {runs.progress(frame, lang).text}")
            if frame.result is not None:
                edits.append((title, frame.result))
        yield {"out": draw.methods_table(edits, inquiry.start.image, lang)}
    yield inquiry.slots(draw.methods_table(edits, inquiry.start.image, lang) + line("methods_note", lang))


def plane(question: Question, lang: str) -> dict[str, Any]:
    """One start by strength and disentanglement."""
    inquiry = Inquiry(question, lang)
    made = inquiry.row.grid(inquiry.start, inquiry.neutral, inquiry.target, ALPHAS, BETAS)
    return inquiry.slots(draw.grid_table(made, ALPHAS, BETAS, lang) + line("grid_note", lang))


def between(question: Question, other: int, lang: str) -> dict[str, Any]:
    """The images on the straight way between two latents."""
    inquiry = Inquiry(question, lang)
    images = inquiry.row.interpolate(inquiry.start, inquiry.row.start(seed=int(other or 0)), BETWEEN)
    names = [f"{100 * share:.0f} %" for share in np.linspace(0, 1, BETWEEN)]
    way = list(zip(images, names, strict=True))
    return inquiry.slots(frames.flip(way, say("between", lang), BETWEEN // 2) + frames.strip(way))
