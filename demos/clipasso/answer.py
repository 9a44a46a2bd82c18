"""What the CLIPasso page answers: a sketch that draws itself, its continuation, the named endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import checkpoints, inputs
from core.errors import Refusal
from core.runtime import Cancel
from demos.draw import base as draw
from demos.draw import strokes
from demos.kit import files, library, results, runs, sketch_runs
from demos.kit.events import api_errors
from demos.kit.html import tag
from demos.kit.language import Text
from demos.kit.sketch_runs import Made

if TYPE_CHECKING:
    from PIL import Image

    from core.drawing.clipasso import SketchSettings, Variant
    from core.drawing.strokes import Strokes
    from demos.clipasso.page import Question

PAGE = "clipasso"
OPENING = "red_envelope"
SKETCH = Text("Sketch", "画")
MAX_RUNGS = 8  # of a ladder through the endpoint

say = partial(library.say, PAGE)


@cache
def examples() -> dict[str, dict[str, Any]]:
    """The page's example images by id; photos are marked as examples for real weights."""
    shared = library.shared()
    return {
        name: {**shared[name], "real": not shared[name]["classroom"]}
        for name in library.data(PAGE)["examples"]
    }


# --- endpoints -------------------------------------------------------------------------------------------------


def clipasso_sketch(
    image: gr.FileData,
    strokes: int = 16,
    seeds: int = 1,
    steps: int | None = None,
    width: float = 3.0,
    colour: bool = False,
    cut_out: bool = False,
    start: str = "saliency",
    semantic: float = 1.0,
    geometric: float = 1.0,
    seed: int = 0,
    labels: list[str] | str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Sketch an image with a few strokes that keep what CLIP sees in it (CLIPasso).

    Args:
        image: an image file, or a data URI.
        strokes: 1 to 64; fewer is more abstract.
        seeds: how many beginnings are tried, 1 to 8; the best one is the answer.
        steps: of the optimisation, 1 to 5000; the checkpoint's own number when left out.
        width: of the strokes in pixels of the 224 canvas, 0.5 to 20.
        colour: strokes learn a colour instead of being black.
        cut_out: the background is removed first.
        start: strokes begin at "saliency" (where CLIP looks, on edges) or "random" places.
        semantic: weight of what the image means, 0 to 10.
        geometric: weight of where things are, 0 to 10.
        seed: the same number gives the same sketch, -1 any, which the answer then names.
        labels: names to choose from for the finished sketch, at most 50; none when left out.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "steps", "loss", "losses" of the seeds, "svg", "points" [strokes][points][x, y], "labels"}.
    """
    with api_errors():
        from core.drawing.clipasso import SketchSettings, Variant

        picture = inputs.image(files.uploaded(image))
        names = inputs.labels(labels, limit=sketch_runs.MAX_LABELS) if labels else []
        variant = Variant(int(strokes), float(semantic), float(geometric), _start(start))
        settings = SketchSettings(
            variants=(variant,),
            seeds=int(seeds),
            first_seed=int(seed),
            steps=None if steps is None else int(steps),
            width=float(width),
            colour=bool(colour),
            cut_out=bool(cut_out),
            checkpoint=checkpoint,
        )
        result = _finish(picture, settings)
        return {**sketch_runs.answers(result, names)[0], **sketch_runs.taken_seed(result, seed)}


def clipasso_ladder(
    image: gr.FileData,
    strokes: list[int] | None = None,
    steps: int | None = None,
    seed: int = 0,
    labels: list[str] | str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Sketch an image with several numbers of strokes in one run: the abstraction ladder of CLIPasso.

    Args:
        image: an image file, or a data URI.
        strokes: the numbers, at most 8 of 1 to 64; 4, 8, 16 and 32 when left out.
        steps: of the optimisation, 1 to 5000; the checkpoint's own number when left out.
        seed: the same number gives the same sketches, -1 any, which the answer then names.
        labels: names to choose from for each finished sketch, at most 50; none when left out.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "steps", "sketches": [{"strokes", "loss", "svg", "points", "labels"}, ...]}.
    """
    with api_errors():
        from core.drawing.clipasso import SketchSettings, ladder

        picture = inputs.image(files.uploaded(image))
        names = inputs.labels(labels, limit=sketch_runs.MAX_LABELS) if labels else []
        counts = [int(count) for count in (library.data(PAGE)["ladder"] if strokes is None else strokes)]
        if not 1 <= len(counts) <= MAX_RUNGS:
            raise Refusal("sketch_setting", name="variants", value=len(counts), low=1, high=MAX_RUNGS)
        settings = SketchSettings(
            variants=ladder(*counts),
            seeds=1,
            first_seed=int(seed),
            steps=None if steps is None else int(steps),
            checkpoint=checkpoint,
        )
        result = _finish(picture, settings)
        first, *_ = answers = sketch_runs.answers(result, names)
        run = {key: first[key] for key in ("checkpoint", "seconds", "steps")}
        kept = ("loss", "svg", "points", "labels")
        sketches = [
            {"strokes": len(one["points"]), **{key: one[key] for key in kept if key in one}}
            for one in answers
        ]
        return {**run, "sketches": sketches, **sketch_runs.taken_seed(result, seed)}


def _start(text: str) -> Any:
    """How strokes begin; whatever is not "random" begins where CLIP looks."""
    return "random" if text == "random" else "saliency"


def _finish(picture: Image.Image, settings: SketchSettings) -> Any:
    """A whole run in its turn."""
    from core.drawing import clipasso

    clipasso.check(settings)
    return runs.finish(lambda cancel: clipasso.sketch(picture, settings, cancel=cancel))


# --- runs --------------------------------------------------------------------------------------------------------


def settings_of(
    question: Question, image: Image.Image, variants: tuple[Variant, ...], **more: Any
) -> SketchSettings:
    """The settings of a run of the page.

    Args:
        variants: the columns.
        more: settings in place of those of the question; no steps means the checkpoint's own number.
    """
    from core.drawing.clipasso import SketchSettings

    fields = {"seeds": 1, "first_seed": int(question.seed or 0), "steps": question.steps, **more}
    return SketchSettings(
        variants,
        cut_out=removes_background(question.background, image),
        checkpoint=question.checkpoint,
        **{**fields, "seeds": int(fields["seeds"]), "steps": int(fields["steps"]) or None},
    )


def removes_background(background: str, image: Image.Image) -> bool:
    """Whether the subject of an image is cut out before it is sketched; a photo is an image from outside the classroom."""
    is_photo = not results.is_classroom(inputs.digest(image))
    return background == "remove" or (background != "keep" and is_photo)


def watch(
    question: Question,
    settings: SketchSettings,
    lang: str,
    cancel: Cancel,
    *,
    image: Image.Image,
    begin: Strokes | None = None,
    **more: Any,
) -> Iterator[dict[str, Any]]:
    """A run of the page as slots.

    Args:
        begin: strokes to go on from.
        more: of `demos.kit.sketch_runs.watch`.
    """
    from core.drawing import clipasso

    frames = clipasso.sketch(image, settings, begin=begin, cancel=cancel)
    guide = settings.checkpoint or checkpoints.default("clip")
    names = sketch_runs.label_list(question.labels)
    yield from sketch_runs.watch(frames, guide, names, lang, image=image, source=question.image, **more)


def notes(question: Question, image: Image.Image, settings: SketchSettings, lang: str) -> dict[str, Any]:
    """What to know before one reads the sketch."""
    names = sketch_runs.label_list(question.labels)
    return results.notes(
        settings.checkpoint or checkpoints.default("clip"),
        lang,
        digest=inputs.digest(image),
        unknown=library.unknown_labels(names),
    )


def sketch(
    question: Question, lang: str, cancel: Cancel, *, begin: Strokes | None = None
) -> Iterator[dict[str, Any]]:
    """A sketch that draws itself."""
    from core.drawing.clipasso import Variant

    image = inputs.image(files.image_source(question.image))
    variant = Variant(len(begin) if begin else int(question.strokes), start=_start(question.start))
    settings = settings_of(
        question,
        image,
        (variant,),
        seeds=1 if begin else question.seeds,
        width=float(question.width),
        colour=bool(question.colour),
    )
    removed = settings.cut_out and question.background == "photos"
    verdict = tag("p", say("removed", lang), class_="atlas-line") if removed else ""
    yield {"verdict": verdict, "files": "", **notes(question, image, settings, lang)}
    yield from watch(question, settings, lang, cancel, image=image, begin=begin, edit=True)


def go_on(
    question: Question, made: Made | None, edited: str | None, lang: str, cancel: Cancel
) -> Iterator[dict[str, Any]]:
    """The question's image sketched further, from where a person left the strokes of the last sketch."""
    before = sketch_runs.require(made).result.strokes
    yield from sketch(question, lang, cancel, begin=strokes.edited(edited, before) or before)


def judge_edit(question: Question, made: Made | None, edited: str | None, lang: str) -> dict[str, Any]:
    """What the loss says of strokes that a person has moved."""
    from core.drawing import questions

    made = sketch_runs.require(made)
    drawn = made.result.strokes
    moved = strokes.edited(edited, drawn)
    if moved is None:
        return {"verdict": ""}
    settings = replace(made.result.settings, checkpoint=made.result.checkpoint)
    losses, features = questions.judged_drawings(made.image, [drawn.image(), moved.image()], settings)
    before, after = (float(loss) for loss in losses)
    kind = "better" if after < before else "worse"
    sentence = say(f"edit_{kind}", lang, before=f"{before:.3f}", after=f"{after:.3f}")
    if label := sketch_runs.best(features[1], made):
        sentence += say("edit_label", lang, label=label["label"], share=draw.percent(label["probability"]))
    mood = "some" if after <= before else "none"
    return {"verdict": tag("p", sentence, class_=f"atlas-verdict {mood}")}


# --- examples ------------------------------------------------------------------------------------------------------


def fill(name: str, question: Question, lang: str) -> dict[str, Any]:
    """The fields that an example sets."""
    row = examples()[name]
    return {"image": row["path"], "labels": row["labels"][lang]}
