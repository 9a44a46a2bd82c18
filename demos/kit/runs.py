"""What pages share whose runs take steps: how far a run is, the last run of a visitor and its downloads, a whole run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import checkpoints
from core.runtime import Cancel
from demos.kit import jobs, library
from demos.kit.jobs import Progress

if TYPE_CHECKING:
    from core.drawing.strokes import Frame
    from core.editing.result import Frame as EditFrame
    from demos.kit.layout import Layout
    from demos.kit.places import Handler, Place

KEPT_SECONDS = 1800  # how long the last run of a visitor stays on the server


def title(row: str, lang: str) -> str:
    """The title of a checkpoint."""
    return checkpoints.row(row).title["zh" if lang == "zh" else "en"]


def miniature(paper: str = "clip") -> str:
    """The row that pages open with, wherever else they may start."""
    return next(row.name for row in checkpoints.rows(paper) if row.bundled)


def progress(frame: Frame | EditFrame, lang: str) -> Progress:
    """How far a run is, with the time that is left."""
    spent, left = clock(frame.seconds), clock(frame.seconds_left)
    text = library.kit("run_progress", lang, step=frame.step, steps=frame.steps, spent=spent, left=left)
    return Progress(frame.step / frame.steps, text)


def clock(seconds: float) -> str:
    """ "12 s", or "3:07" from a minute on."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes else f"{rest} s"


def kept(elem_id: str) -> gr.State:
    """The slot "made" of a place: the last run, on the server."""
    return gr.State(None, time_to_live=KEPT_SECONDS)


def downloads(layout: Layout, place: Place, make: Handler) -> None:
    """Lays out the downloads of a place whose slot "made" has the last run; its slot "files" takes them away again.

    Args:
        make: the handler of their button, `make(question, made, lang)`.
    """
    files_place = layout.downloads("" if place.name == "try" else f"{place.name}-")
    place.slots["files"] = files_place.slots["out"]
    layout.ask(files_place.button.click, files_place, make, [place.slots["made"]])


def finish(start: Callable[[Cancel], Iterator[Frame | EditFrame]]) -> Any:
    """The result of a whole run in its turn.

    Args:
        start: begins the run with a stop flag.
    """
    cancel = Cancel()
    job = jobs.in_turn(cancel, jobs.ENDPOINT_SECONDS, lambda: start(cancel))
    *_, last = (frame for frame in job if not isinstance(frame, int))
    return last.result
