"""*Compare* of the StyleCLIP page: all methods on one start, strength against disentanglement, the way between two images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from core.runtime import Cancel
from demos.draw import frames
from demos.kit import form
from demos.kit.jobs import Progress
from demos.styleclip import answer, draw
from demos.styleclip.answer import Inquiry
from demos.styleclip.words import data, line, say, text

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

    asked = Inquiry(question, lang)
    _, target = asked.texts
    known = rows.methods(asked.row.checkpoint)
    names = [name for name in data()["quickest"] if name in known]
    edits: list[tuple[str, Edit]] = []
    for at, name in enumerate(names):
        # The sliders of the first tab belong to its own method.
        own = question if name == question.method else replace(question, steps=0, strength=0.0, distance=0.0)
        title, settings = draw.method_title(name, lang), answer.settings_of(own, lang, name)
        for frame in asked.row.edit(asked.start, target, settings, cancel=cancel):
            share = (at + frame.step / max(1, frame.steps)) / len(names)
            yield Progress(share, f"{title}: {answer.progress(frame, lang).text}")
            if frame.result is not None:
                edits.append((title, frame.result))
        yield {"out": draw.methods_table(edits, asked.start.image, lang)}
    yield asked.slots(draw.methods_table(edits, asked.start.image, lang) + line("methods_note", lang))


def plane(question: Question, lang: str) -> dict[str, Any]:
    """One start by strength and disentanglement."""
    asked = Inquiry(question, lang)
    made = asked.row.grid(asked.start, *asked.texts, ALPHAS, BETAS)
    return asked.slots(draw.grid_table(made, ALPHAS, BETAS, lang) + line("grid_note", lang))


def between(question: Question, other: int, lang: str) -> dict[str, Any]:
    """The images on the straight way between two latents."""
    asked = Inquiry(question, lang)
    images = asked.row.interpolate(asked.start, asked.row.start(seed=int(other or 0)), BETWEEN)
    names = [f"{100 * share:.0f} %" for share in np.linspace(0, 1, BETWEEN)]
    way = list(zip(images, names, strict=True))
    return asked.slots(frames.flip(way, say("between", lang), BETWEEN // 2) + frames.strip(way))
