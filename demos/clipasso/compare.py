"""*Compare* of the CLIPasso page: numbers of strokes, losses, start points, and Canny's edges with equal ink."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from core import inputs
from core.runtime import Cancel
from demos.clipasso import answer
from demos.clipasso.answer import PAGE, say
from demos.draw import base as draw
from demos.draw import strokes
from demos.kit import files, form, library, runs, sketch_runs
from demos.kit.html import tag
from demos.kit.language import Text

if TYPE_CHECKING:
    from core.drawing.clipasso import Variant
    from demos.clipasso.page import Question
    from demos.kit.layout import Layout
    from demos.kit.sketch_runs import Made

COUNTS = (1, 2, 4, 8, 16, 32, 64)

says = partial(library.text, PAGE)


def steps(default: int) -> Any:
    """The field of the steps of a comparison."""
    return form.slider(10, 2001, default, Text("Steps", "步数"))


@dataclass(frozen=True)
class Losses:
    """Inputs of the comparison of losses."""

    semantic: float = form.slider(0, 10, 1.0, says("semantic"), step=0.1, place="top")
    geometric: float = form.slider(0, 10, 1.0, says("geometric"), step=0.1, place="top")
    steps: int = steps(library.data(PAGE)["compare_steps"])


@dataclass(frozen=True)
class Starts:
    """Inputs of the comparison of start points."""

    seeds: int = form.slider(1, 8, 2, Text("Seeds", "种子数"), place="top")
    steps: int = steps(library.data(PAGE)["compare_steps"])


def last_run(layout: Layout) -> list[Any]:
    """The last run of the first tab as the input of another one."""
    return [layout.places[0].slots["made"]]


def columns(
    question: Question,
    variants: Sequence[Variant],
    titles: Sequence[str],
    lang: str,
    cancel: Cancel,
    **settings: Any,
) -> Iterator[dict[str, Any]]:
    """One run of several columns as slots."""
    image = inputs.image(files.image_source(question.image))
    wanted = answer.settings_of(question, image, tuple(variants), **settings)
    yield from answer.watch(question, wanted, lang, cancel, image=image, titles=titles)


def ladder(
    question: Question, counts: list[int], steps: float, lang: str, cancel: Cancel
) -> Iterator[dict[str, Any]]:
    """Several numbers of strokes side by side."""
    from core.drawing import clipasso

    variants = clipasso.ladder(*sorted(int(count) for count in counts) or library.data(PAGE)["ladder"])
    titles = [say("count", lang, count=variant.strokes) for variant in variants]
    yield {"files": ""}
    yield from columns(question, variants, titles, lang, cancel, steps=steps)


def losses(
    question: Question, semantic: float, geometric: float, steps: float, lang: str, cancel: Cancel
) -> Iterator[dict[str, Any]]:
    """Shape alone, the mixture, meaning alone."""
    from core.drawing.clipasso import Variant

    count = int(question.strokes)
    weights = ((0.0, 1.0), (float(semantic), float(geometric)), (1.0, 0.0))
    titles = [
        say("only_shape", lang),
        say("mixture", lang, semantic=semantic, geometric=geometric),
        say("only_meaning", lang),
    ]
    variants = [Variant(count, *pair) for pair in weights]
    for part in columns(question, variants, titles, lang, cancel, steps=steps):
        yield {name: part[name] for name in ("view", "line")}


def starts(
    question: Question, seeds: float, steps: float, lang: str, cancel: Cancel
) -> Iterator[dict[str, Any]]:
    """Saliency against random places; then the step at which the one is where the other ends."""
    from core.drawing.clipasso import Variant

    count = int(question.strokes)
    variants = Variant(count), Variant(count, start="random")
    titles = [say("saliency", lang), say("random", lang)]
    verdict = ""
    for part in columns(question, variants, titles, lang, cancel, seeds=seeds, steps=steps):
        if "made" in part:
            verdict = ahead(part["made"], lang)
        yield {"view": part["view"], "line": part["line"], "verdict": verdict}


def first_step(curves: np.ndarray, loss: float) -> int | None:
    """The first step at which the mean of the seeds' lowest losses so far is at most `loss`; None if it never is.

    Args:
        curves: [N, T] plain losses; nan where they were not judged.
    """
    lowest = np.minimum.accumulate(np.nan_to_num(curves, nan=np.inf), axis=1).mean(0)
    steps = np.flatnonzero(lowest <= loss)
    return int(steps[0]) if len(steps) else None


def ahead(made: Made, lang: str) -> str:
    """How many steps the start where CLIP looks is ahead."""
    salient, random = (one.curves for one in made.result.drawn)
    final = float(np.nanmin(random, axis=1).mean())
    step = first_step(salient, final)
    name = "starts_behind" if step is None else "starts_ahead"
    sentence = say(name, lang, loss=f"{final:.3f}", steps=made.result.steps, step=step)
    return tag("p", sentence, class_="atlas-verdict some")


def edges(question: Question, made: Made | None, lang: str) -> dict[str, Any]:
    """The image, its sketch, and Canny's drawing with the ink of the sketch; what the guide says of them."""
    from core.drawing import canny, questions

    made = sketch_runs.of_image(made, question.image)
    result, one = made.result, made.result.drawn[0]
    drawing = one.strokes.image()
    rival = canny.at_ink(result.start.picture, canny.ink(drawing), float(one.strokes.widths.mean()))
    drawings = [result.start.picture, drawing, rival]
    values, features = questions.judged_drawings(made.image, drawings, result.settings)
    count = len(one.strokes)
    titles = (
        Text("The image", "原图"),
        Text(f"CLIPasso, {count} strokes", f"CLIPasso，{count} 笔"),
        Text("Canny with equal ink", "同样墨量的 Canny"),
    )
    rows = []
    for title, image, loss, feature in zip(titles, drawings, values, features, strict=True):
        best = sketch_runs.best(feature, made)
        caption = strokes.caption(canny.ink(image), float(loss), best, lang)
        rows.append((draw.png_uri(image), title.get(lang), caption))
    return {"out": strokes.figures(rows), "line": sketch_runs.line(result, lang)}


# --- layout ----------------------------------------------------------------------------------------------------


def ladder_tab(layout: Layout) -> None:
    """Lays the ladder out with its downloads and wires it."""
    gr.Markdown(says("ladder_idea").tr)
    counts = gr.CheckboxGroup(
        [(str(count), count) for count in COUNTS],
        value=library.data(PAGE)["ladder"],
        label=says("ladder_counts").tr,
        elem_id="ladder-counts",
    )
    steps = gr.Slider(
        0,
        2001,
        0,
        step=1,
        label=Text("Steps", "步数").tr,
        info=says("steps").tr,
        elem_id="ladder-steps",
    )
    place = layout.place("ladder", says("ladder_button"), {"view": strokes.surface, "made": runs.kept})
    runs.downloads(layout, place, partial(sketch_runs.files, PAGE))
    layout.ask(place.button.click, place, ladder, [counts, steps], in_turn=True)
