"""What the StyleCLIP page answers: an edit step by step, sliders that answer at once, files, the named endpoints."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import gradio as gr

from core import checkpoints, inputs
from core.errors import Refusal
from core.runtime import Cancel
from demos.draw import base, frames
from demos.draw.frames import Film, Named
from demos.kit import files as files_in
from demos.kit import jobs, results
from demos.kit.components import output
from demos.kit.events import api_errors
from demos.kit.form import events_of
from demos.kit.jobs import Progress
from demos.kit.language import Text
from demos.kit.menu import label_language, start_row
from demos.kit.places import Last
from demos.styleclip import draw
from demos.styleclip.words import PAPER, data, examples, say

if TYPE_CHECKING:
    from core.editing.model import Editor, Start
    from core.editing.result import Edit, Frame
    from core.editing.settings import EditSettings
    from demos.kit.page import Layout
    from demos.styleclip.page import Question

OPENING = "car"
METHODS = tuple(data()["options"]["method"])
DIRECTION = "global_direction"
INSTRUCTED = "instruct-pix2pix"  # reads what is to be done, not what is to be seen
PAUSE = 0.15  # seconds between two drawings of a run
STEPS = 9  # images on the way of a global direction


def row_of(checkpoint: str | None) -> str:
    """The row that is asked: the chosen one, or the one that the page starts on."""
    return checkpoint or start_row(PAPER)


def model(checkpoint: str | None) -> Editor:
    """The row's editor, loaded on first use."""
    from core.editing.model import Editor

    return Editor.load(row_of(checkpoint))


def begin(question: Question) -> Start:
    """What is edited: the image, or one that the checkpoint generates."""
    seed = int(question.seed or 0)
    if question.start == "image":
        return model(question.checkpoint).start(image=inputs.image(files_in.image_source(question.image)))
    if question.start == "text":
        return model(question.checkpoint).start(text=inputs.text(question.neutral), seed=seed)
    return model(question.checkpoint).start(seed=seed)


def settings_of(question: Question, lang: str, method: str | None = None) -> EditSettings:
    """The settings of a method: what the page's fields leave open has the method's own value."""
    from core.editing import rows, settings

    name, method = row_of(question.checkpoint), method or question.method
    known = rows.methods(name)
    if method not in known:
        offered = (draw.method_title(one, lang) for one in METHODS if one in known)
        raise Refusal("unknown_method", name=draw.method_title(method, lang), known=", ".join(offered))
    return settings.of(
        name,
        method,
        steps=int(question.steps) or None,
        strength=float(question.strength) or None,
        distance=(float(question.distance),) if question.distance else None,
        neutral=inputs.text(question.neutral),
        alpha=float(question.alpha),
        beta=float(question.beta),
        seed=int(question.seed or 0),
    )


# --- a run ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """The last run of a visitor: its edit, and the images on the way with what each is called."""

    edit: Edit
    frames: tuple[Named, ...]


def result_of(run: Iterable[Any]) -> Edit:
    """What a whole run comes to; numbers among its frames say how many jobs were before it."""
    *_, last = (frame for frame in run if not isinstance(frame, int))
    return cast("Edit", last.result)


def progress(frame: Frame, lang: str) -> Progress:
    """How far a run is, with the time that is left."""
    text = say("step", lang, step=frame.step, steps=frame.steps, left=f"{frame.seconds_left:.0f}")
    return Progress(frame.step / max(1, frame.steps), text)


def finished(edit: Edit, way: Sequence[Named], lang: str) -> dict[str, Any]:
    """The slots of a finished edit; `way`: the images before it."""
    return {
        "view": draw.view(edit, lang),
        "film": frames.strip(frames.spread(way)) if way else "",
        "line": results.answer_line(PAPER, edit, edit.seconds, lang),
        "made": Made(edit, tuple(way)),
    }


def below(began: float, row: Editor, lang: str) -> str:
    """The line under what a row has computed since `began`."""
    return results.line(time.perf_counter() - began, row.checkpoint, row.device, lang)


def directed(question: Question, start: Start, lang: str) -> dict[str, Any]:
    """The slots of a global direction, with the images on its way."""
    row, target = model(question.checkpoint), inputs.text(question.target)
    neutral, alpha, beta = inputs.text(question.neutral), float(question.alpha), float(question.beta)
    edit = row.directed(start, neutral, target, alpha, beta)
    alphas = [alpha * step / (STEPS - 1) for step in range(STEPS)]
    images = row.grid(start, neutral, target, alphas, [beta]).images[0]
    names = [f"α = {value:.1f}" for value in alphas]
    return finished(edit, list(zip(images, names, strict=True)), lang)


def edit(question: Question, lang: str, cancel: Cancel) -> Iterator[Any]:
    """The edit that the page asks for, as it appears."""
    inputs.text(question.target)
    settings = settings_of(question, lang)
    start = begin(question)
    hints = notes(question, lang)
    if question.method == DIRECTION:
        yield Last({**directed(question, start, lang), **hints})
        return
    yield {**hints, "film": "", "line": Progress(0, say("loading", lang)).bar}
    run = partial(watch, question, start, settings, lang, cancel)
    yield from jobs.in_turn(cancel, jobs.PAGE_SECONDS, run)


def watch(
    question: Question, start: Start, settings: EditSettings, lang: str, cancel: Cancel
) -> Iterator[dict[str, Any]]:
    """A run of any method as slots."""
    film, drawn = Film(), 0.0
    for frame in model(question.checkpoint).edit(start, question.target, settings, cancel=cancel):
        if frame.image is not None:
            film.add(frame.step, frame.image)
        if frame.result is not None:
            yield finished(frame.result, film.frames, lang)
        elif time.monotonic() - drawn > PAUSE:
            drawn = time.monotonic()
            slots = {} if frame.image is None else {"view": frames.pair(start.image, frame.image, lang)}
            yield {**slots, "line": progress(frame, lang).bar}


def follow(question: Question, lang: str) -> dict[str, Any]:
    """The answer while strength or disentanglement moves; only a global direction has one."""
    if question.method != DIRECTION:
        return {}
    slots = directed(question, begin(question), lang)
    return {name: value for name, value in slots.items() if name != "line"}


def more(layout: Layout) -> None:
    """What the first tab has below its answer: sliders that are followed, and the downloads of the last run."""
    place = layout.places[0]
    moves = [event for name in ("alpha", "beta") for event in events_of(layout.components[name])]
    layout.update(moves, place, follow, trigger_mode="always_last")
    with gr.Accordion(Text("Download", "下载").tr, open=False, elem_id="downloads"):
        files = layout.place("files", Text("Make the files", "生成文件"), {"out": output})
    layout.ask(files.button.click, files, downloads, [place.slots["made"]])


def downloads(question: Question, made: Made | None, lang: str) -> dict[str, Any]:
    """Links to the files of the last run: both images, its steps as a film, its numbers."""
    if made is None:
        raise Refusal("no_edit")
    links: list[files_in.File] = [
        ("start.png", "image/png", base.png(made.edit.start), say("start", lang)),
        ("edit.png", "image/png", base.png(made.edit.image), say("result", lang)),
        ("edit.json", "application/json", base.to_json(made.edit.to_json()).encode()),
    ]
    if made.frames:
        links.append(("steps.gif", "image/gif", frames.gif(made.frames)))
    return {"out": files_in.downloads(links)}


# --- hints ---------------------------------------------------------------------------------------------------


def notes(question: Question, lang: str) -> dict[str, Any]:
    """The hints above the answer."""
    from core.classroom.recipes.styleclip import scenes
    from core.classroom.world.vocabulary import unread

    name = row_of(question.checkpoint)
    bundled = checkpoints.row(name).bundled is not None
    both = f"{question.neutral} {question.target}"
    hints = results.unreadable(name, both, lang)
    unknown = unread(both) if bundled else ()
    if bundled and not unknown and not scenes.names_a_thing(question.target):
        hints.append(say("no_thing", lang))
    if name == INSTRUCTED:
        hints.append(say("instruction", lang))
    digest = ""
    if question.start == "image":
        digest = inputs.digest(inputs.image(files_in.image_source(question.image)))
    return results.notes(name, lang, digest=digest, page=PAPER, unknown=unknown, more=hints)


# --- fields --------------------------------------------------------------------------------------------------


def fill(name: str, question: Question, lang: str) -> dict[str, Any]:
    """The fields that an example sets."""
    row = examples()[name]
    code = label_language(PAPER, row_of(question.checkpoint), lang)
    target = row["target"][code]
    if row_of(question.checkpoint) == INSTRUCTED:
        target = row.get("instruction", target)
    return {"image": row["path"], "start": "image", "neutral": row["neutral"][code], "target": target}


def own_fields(question: Question, lang: str) -> dict[str, Any]:
    """The start and the method that a chosen row can have, where it cannot have those of the page."""
    from core.editing import rows

    name = row_of(question.checkpoint)
    starts, methods = rows.starts(name), rows.methods(name)
    changed = {}
    if question.start not in starts:
        changed["start"] = "image" if "image" in starts else starts[0]
    if question.method not in methods:
        changed["method"] = methods[0]
    return changed


# --- endpoints -----------------------------------------------------------------------------------------------


def styleclip_edit(
    text: str,
    image: gr.FileData | None = None,
    seed: int = 0,
    neutral: str = "",
    method: str | None = None,
    steps: int | None = None,
    strength: float | None = None,
    alpha: float | None = None,
    beta: float | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Change an image as a text says (StyleCLIP and what diffusion made of it).

    Args:
        text: what the edited image shows; for InstructPix2Pix what is to be done.
        image: an image file, or a data URI; left out, the checkpoint makes the start from the seed.
        seed: of the start, or of the noise.
        neutral: what the start shows, for a global direction, an inversion, and the probabilities of the answer.
        method: one that the checkpoint has; its first one when left out.
        steps: the method's own number when left out.
        strength: how much of the noise schedule is run, or how far a mapper goes.
        alpha: strength of a global direction.
        beta: its threshold: more leaves more channels as they are.
        checkpoint: a row of the page that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "method", "seconds", "moved", "changed", "guide", "other", ..., "start" and "image" as data URIs (PNG)}.
    """
    with api_errors():
        from core.editing import settings

        name = row_of(checkpoint)
        row = model(name)
        numbers = {"steps": steps, "strength": strength, "alpha": alpha, "beta": beta, "seed": seed}
        chosen = settings.of(name, method, neutral=neutral or None, **numbers)
        given = {"seed": seed} if image is None else {"image": inputs.image(files_in.uploaded(image))}
        start, cancel = row.start(**given), Cancel()
        run = partial(row.edit, start, text, chosen, cancel=cancel)
        job = jobs.in_turn(cancel, jobs.ENDPOINT_SECONDS, run)
        made = result_of(job)
        return {**made.to_json(), "start": base.png_uri(made.start), "image": base.png_uri(made.image)}


def styleclip_generate(
    seed: int = 0, text: str | None = None, checkpoint: str | None = None
) -> dict[str, Any]:
    """Make an image that can be edited: from a seed, or, by the miniature, from a text.

    Args:
        seed: the same one gives the same image.
        text: what it shows; left out, the seed alone decides.
        checkpoint: a row of the page that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seed", "image" as a data URI (PNG), "latent": rows of its W+, or null}.
    """
    with api_errors():
        row = model(checkpoint)
        start = row.start(text=text, seed=seed) if text else row.start(seed=seed)
        latent = None if start.latent is None else start.latent.astype(float).round(4).tolist()
        return {
            "checkpoint": row.checkpoint,
            "seed": seed,
            "image": base.png_uri(start.image),
            "latent": latent,
        }
