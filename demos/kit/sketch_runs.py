"""What the pages of CLIPasso and CLIPDraw share: runs into slots, Continue, downloads, recorded runs, answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from core import inputs
from core.errors import Refusal
from core.runtime import Cancel
from demos.draw import base as draw
from demos.draw import strokes
from demos.kit import library, records, results, runs
from demos.kit.html import tag
from demos.kit.jobs import Progress
from demos.kit.language import Text, pick

if TYPE_CHECKING:
    from core.clip import Classification
    from core.drawing.strokes import Drawn, Frame, Painting, Sketch
    from demos.kit.layout import Layout
    from demos.kit.places import Handler

MAX_LABELS = 50


@dataclass(frozen=True)
class Made:
    """The last run of a visitor.

    Attributes:
        result: of the run.
        labels: that its drawings were given.
        opinions: what models read in each drawing, by row; the guide first.
        image: what was drawn after; None for a prompt.
        source: the page's image field of that image.
    """

    result: Any  # a Sketch or a Painting
    labels: tuple[str, ...]
    opinions: tuple[Mapping[str, Classification], ...] = ()
    image: Any = None
    source: str | None = None


def require(made: Made | None) -> Made:
    """The last run; Refusal("no_sketch") where there is none."""
    if made is None:
        raise Refusal("no_sketch")
    return made


def of_image(made: Made | None, source: str | None) -> Made:
    """The last run; Refusal("no_sketch") where there is none of this image."""
    if require(made).source != source:
        raise Refusal("no_sketch")
    return require(made)


def label_list(text: str | None) -> list[str]:
    """The labels of a box, none where it is empty."""
    return inputs.labels(text, limit=MAX_LABELS) if (text or "").strip() else []


def named(features: Any, names: Sequence[str], checkpoint: str | None) -> Classification:
    """Zero-shot labels of a drawing by its features [D]."""
    from core.drawing import questions

    return questions.name(features, names, checkpoint)


def best(features: Any, made: Made) -> dict[str, Any] | None:
    """The first label that the guide of a run gives to features [D]; None where it was given no labels."""
    if not made.labels:
        return None
    return named(features, made.labels, made.result.checkpoint).to_json()["results"][0]


# --- a run as it goes ----------------------------------------------------------------------------------------


def guide_alone(one: Drawn, names: Sequence[str], guide: str) -> dict[str, Classification]:
    """The opinion of the guide on its own drawing."""
    return {guide: named(one.features, names, guide)}


def watch(
    frames: Iterator[Frame],
    guide: str,
    names: Sequence[str],
    lang: str,
    *,
    titles: Sequence[str] = ("",),
    edit: bool = False,
    judges: Callable[[Drawn, Sequence[str], str], dict[str, Classification]] = guide_alone,
    image: Image.Image | None = None,
    source: str | None = None,
) -> Iterator[dict[str, Any]]:
    """A run as slots: "view" and "line" of each frame; the last ones have "made" as well.

    Args:
        guide: the row that guides the strokes.
        names: labels for every frame.
        titles: of the columns.
        edit: whether the finished strokes can be edited and what stands below them is offered, as in the first tab.
        judges: whose opinions on a finished drawing are asked.
        image, source: as of `Made`.
    """
    run = str(time.time_ns())
    for frame in frames:
        after = draw.data_uri(Image.fromarray(frame.start.picture)) if frame.start else ""
        result = frame.result
        if result is None:
            labels = [{"": named(row, names, guide)} for row in frame.features] if names else []
            view = strokes.message(run, frame, titles, labels, after)
            yield {"view": view, "line": runs.progress(frame, lang).bar}
        else:
            opinions = tuple(judges(one, names, guide) for one in result.drawn) if names else ()
            labels = [headed(one, lang) for one in opinions]
            view = strokes.finished(run, result.drawn, result.steps, titles, labels, after, edit=edit)
            made = Made(result, tuple(names), opinions, image, source)
            below_it = {"below": gr.update(visible=True)} if edit else {}
            yield {"view": view, "line": line(result, lang), "made": made, **below_it}


def headed(opinions: Mapping[str, Any], lang: str) -> dict[str, Any]:
    """Opinions by a heading in place of the row; one alone needs none."""
    if len(opinions) == 1:
        return {"": next(iter(opinions.values()))}
    guide = next(iter(opinions))
    return {
        library.kit("guide" if row == guide else "not_involved", lang, title=runs.title(row, lang)): one
        for row, one in opinions.items()
    }


def line(result: Sketch | Painting, lang: str) -> str:
    """The result line of a run."""
    seeds = len(result.drawn[0].losses)
    parts = [
        pick(lang, "stopped", "已停止") if result.stopped else "",
        pick(lang, f"{result.steps} steps", f"{result.steps} 步"),
        pick(lang, f"{seeds} seeds", f"{seeds} 个种子") if seeds > 1 else "",
        pick(lang, f"rasterizer: {result.rasterizer}", f"光栅化：{result.rasterizer}"),
    ]
    details = " · ".join(part for part in parts if part)
    return results.line(result.seconds, result.checkpoint, result.device, lang, details)


# --- what stands below a drawing -----------------------------------------------------------------------------


def below(name: str, go_on: Handler, judge: Handler | None = None) -> Callable[[Layout], None]:
    """Lays out what the first tab has below its drawing: Continue and the downloads.

    Args:
        name: of the files.
        go_on: `go_on(question, made, edited, lang, cancel)`, the job of Continue; it fills the slots of the tab.
        judge: `judge(question, made, edited, lang)` sets slots after each edit of a stroke.
    """

    def lay_out(layout: Layout) -> None:
        place = layout.places[0]
        # A recorded run is neither continued nor written to files.
        with gr.Column(visible=False) as place.slots["below"]:
            again = gr.Button(Text("Continue from here", "从这里继续").tr, size="sm", elem_id="continue")
            runs.downloads(layout, place, partial(files, name))
        run = [place.slots["made"], place.slots["view"]]
        layout.ask(again.click, place, go_on, run, in_turn=True)
        if judge is not None:
            layout.update(place.slots["view"].input, place, judge, run)

    return lay_out


def files(
    name: str, question: Any, made: Made | None, lang: str, cancel: Cancel
) -> Iterator[Progress | dict[str, Any]]:
    """Downloads of a run: its drawings at once, then its films."""
    result = require(made).result
    facts = {"checkpoint": result.checkpoint, "steps": result.steps, "seconds": round(result.seconds, 2)}
    links = strokes.links(name, result.drawn, facts, lang)
    yield {"out": links}
    for share, html in strokes.films(name, result.drawn, lang):
        if html:
            yield {"out": links + html}
        elif cancel.is_set():
            return
        else:
            yield Progress(share, pick(lang, "GIF and MP4 are being made …", "正在生成 GIF 和 MP4……"))


# --- recorded runs -------------------------------------------------------------------------------------------


def record(
    result: Sketch | Painting,
    names: Mapping[str, Sequence[str]],
    judges: Callable[[Drawn, Sequence[str], str], dict[str, Classification]] = guide_alone,
) -> dict[str, Any]:
    """A run as a page shows it on opening.

    Args:
        result: of the run, with one drawing.
        names: labels of the drawing, by language.
        judges: as of `watch`.
    """
    (one,) = result.drawn
    after = draw.data_uri(Image.fromarray(result.start.picture)) if hasattr(result, "start") else ""
    message = strokes.finished("recorded", result.drawn, result.steps, [""], image=after)
    opinions = {lang: judges(one, some, result.checkpoint) for lang, some in names.items()}
    return {
        "checkpoint": result.checkpoint,
        "steps": result.steps,
        "loss": round(one.loss, 4),
        "opinions": {
            lang: {row: strokes.top(by) for row, by in some.items()} for lang, some in opinions.items()
        },
        "message": json.loads(message),
    }


def opening(page: str, button: Text, lang: str) -> dict[str, Any]:
    """The slots "view" and "line" that a page opens with; `button` makes a run of the visitor's own."""
    value = records.read(page)
    name, press = runs.title(value["checkpoint"], lang), button.get(lang)
    note = library.kit("run_recorded", lang, name=name, steps=value["steps"], press=press)
    labels = [strokes.opinions(headed(value["opinions"]["zh" if lang == "zh" else "en"], lang))]
    view = json.dumps({**value["message"], "labels": labels}, ensure_ascii=False)
    return {"view": view, "line": tag("p", note, class_="atlas-line")}


# --- endpoints -----------------------------------------------------------------------------------------------


def answers(result: Sketch | Painting, names: Sequence[str]) -> list[dict[str, Any]]:
    """Every drawing of a run as plain values."""
    rows = []
    for one in result.drawn:
        row = {
            "checkpoint": result.checkpoint,
            "seconds": round(result.seconds, 2),
            "steps": result.steps,
            "loss": round(one.loss, 5),
            "losses": one.losses.astype(float).round(5).tolist(),
            "svg": one.strokes.svg(),
            "points": one.strokes.points.astype(float).round(2).tolist(),
        }
        if names:
            row["labels"] = named(one.features, names, result.checkpoint).to_json()["results"]
        rows.append(row)
    return rows


def taken_seed(result: Sketch | Painting, seed: int) -> dict[str, int]:
    """The first seed of a run that was asked for any: for an endpoint's answer."""
    return {"seed": result.settings.first_seed} if seed != result.settings.first_seed else {}
