"""*Look inside* of the CLIPasso page: where strokes began and why, and how much each one lowers the loss."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from core.runtime import Cancel
from demos.clipasso.answer import PAGE, say
from demos.draw import base as draw
from demos.draw import strokes
from demos.kit import library, sketch_runs
from demos.kit.components import output
from demos.kit.jobs import Progress
from demos.kit.language import Text, pick

if TYPE_CHECKING:
    from demos.clipasso.page import Question
    from demos.kit.sketch_runs import Made

MOMENTS = 8


def under(name: str, make: Callable[[str], Any]) -> Callable[[str], Any]:
    """A slot below a heading."""

    def lay_out(elem_id: str) -> Any:
        text = library.text(PAGE, name)
        gr.Markdown(Text(f"### {text.en}", f"### {text.zh}").tr)
        return make(elem_id)

    return lay_out


SLOTS = {
    "maps": under("inside_maps", output),
    "view": under("inside_worth", strokes.surface),
    "growth": under("inside_growth", output),
}


def inside(
    question: Question, made: Made | None, lang: str, cancel: Cancel
) -> Iterator[Progress | dict[str, Any]]:
    """The maps before the first step, the sketch with the value of its strokes, and the labels during the run."""
    made = sketch_runs.of_image(made, question.image)
    yield {"maps": strokes.start_maps(made.result.start, lang), "view": "", "growth": ""}
    yield Progress(None, say("inside_busy", lang))
    if not cancel.is_set():
        yield {"view": worth(made), "growth": growth(made, lang), "line": sketch_runs.line(made.result, lang)}


def worth(made: Made) -> str:
    """The message of a surface on which strokes are pressed: the darker one is, the more it lowers the loss."""
    from core.drawing import questions

    drawing = made.result.strokes
    whole, change = questions.leave_one_out(made.image, drawing, made.result.settings)
    return strokes.valued(str(time.time_ns()), drawing, whole, change)


def growth(made: Made, lang: str) -> str:
    """What the guide read in the sketch at eight moments of the run."""
    from core.drawing import film, questions

    one = made.result.drawn[0]
    keep = strokes.spread(len(one.history), MOMENTS)
    images = film.pixels([one.history[i] for i in keep], 224)
    losses, features = questions.judged_drawings(made.image, list(images), made.result.settings)
    rows = []
    for i, image, loss, feature in zip(keep, images, losses, features, strict=True):
        step = one.history_steps[i]
        caption = strokes.caption(None, float(loss), sketch_runs.best(feature, made), lang)
        rows.append((draw.png_uri(image), pick(lang, f"Step {step}", f"第 {step} 步"), caption))
    return strokes.figures(rows)
