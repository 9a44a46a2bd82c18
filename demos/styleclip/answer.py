"""What the StyleCLIP page answers: an edit step by step, sliders that answer at once, files, the named endpoints."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import checkpoints, inputs
from core.errors import Refusal
from core.runtime import Cancel
from demos.draw import base, frames
from demos.draw.frames import Film, Named
from demos.kit import files as files_in
from demos.kit import jobs, results, runs
from demos.kit.events import api_errors
from demos.kit.form import events_of
from demos.kit.jobs import Progress
from demos.kit.menu import label_language, start_row
from demos.kit.places import Last
from demos.styleclip import draw
from demos.styleclip.words import PAPER, data, examples, say

if TYPE_CHECKING:
    from PIL import Image

    from core.editing.model import Editor, Start
    from core.editing.result import Edit
    from core.editing.settings import EditSettings
    from demos.kit.layout import Layout
    from demos.styleclip.page import Question

OPENING = "dog"
DIRECTION = "global_direction"
INSTRUCTED = "instruct-pix2pix"  # reads what is to be done, not what is to be seen
PAUSE = 0.15  # seconds between two drawings of a run
STEPS = 9  # images on the way of a global direction


def model(checkpoint: str | None) -> Editor:
    """The row's editor, loaded on first use; the one that the page starts on where none is named."""
    from core.editing.model import Editor

    return Editor.load(checkpoint or start_row(PAPER))


class Inquiry:
    """A question while its row answers it: what is edited, its texts and settings, and the line under the answer."""

    def __init__(self, question: Question, lang: str) -> None:
        self.began, self.row = time.perf_counter(), model(question.checkpoint)
        self.question, self.lang = question, lang
        self.neutral, self.target = question.neutral, inputs.text(question.target)

    @cached_property
    def image(self) -> Image.Image | None:
        """The visitor's image, where it is what is edited."""
        if self.question.start != "image":
            return None
        return inputs.image(files_in.image_source(self.question.image))

    @cached_property
    def start(self) -> Start:
        """What is edited: the image, or one that the checkpoint generates."""
        seed = self.question.seed or 0
        if self.image is not None:
            return self.row.start(image=self.image)
        if self.question.start == "text":
            return self.row.start(text=inputs.text(self.question.neutral), seed=seed)
        return self.row.start(seed=seed)

    def settings(self, method: str, own: bool = True) -> EditSettings:
        """The settings of a method: what the page's fields leave open has its own value; `own`: the fields are this method's."""
        if method not in self.row.methods:
            offered = (one for one in data()["options"]["method"] if one in self.row.methods)
            titles = (draw.method_title(one, self.lang) for one in offered)
            raise Refusal(
                "unknown_method", name=draw.method_title(method, self.lang), known=", ".join(titles)
            )
        q = self.question
        distance = (q.distance,) if q.distance else None
        fields = {"steps": q.steps or None, "strength": q.strength or None, "distance": distance}
        shared = {"neutral": self.neutral, "alpha": q.alpha, "beta": q.beta, "seed": q.seed or 0}
        return self.row.settings(method, **shared, **(fields if own else {}))

    def slots(self, out: str) -> dict[str, Any]:
        """The slots of a tab: its answer and the line below."""
        seconds = time.perf_counter() - self.began
        return {"out": out, "line": results.line(seconds, self.row.checkpoint, self.row.device, self.lang)}


# --- a run ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """The last run of a visitor: its edit, and the images on the way with what each is called."""

    edit: Edit
    frames: tuple[Named, ...]


def finished(edit: Edit, way: Sequence[Named], lang: str) -> dict[str, Any]:
    """The slots of a finished edit; `way`: the images before it."""
    return {
        "view": draw.view(edit, lang),
        "film": frames.strip(frames.spread(way)) if way else "",
        "line": results.answer_line(PAPER, edit, edit.seconds, lang),
        "made": Made(edit, tuple(way)),
    }


def directed(inquiry: Inquiry) -> dict[str, Any]:
    """The slots of a global direction, with the images on its way."""
    s = inquiry.settings(DIRECTION)
    edit = inquiry.row.result(inquiry.start, inquiry.target, s)
    alphas = [s.alpha * step / (STEPS - 1) for step in range(STEPS)]
    images = inquiry.row.grid(inquiry.start, inquiry.neutral, inquiry.target, alphas, [s.beta]).images[0]
    names = [f"α = {value:.1f}" for value in alphas]
    return finished(edit, list(zip(images, names, strict=True)), inquiry.lang)


def edit(question: Question, lang: str, cancel: Cancel) -> Iterator[Any]:
    """The edit that the page asks for, as it appears."""
    inquiry = Inquiry(question, lang)
    settings, hints = inquiry.settings(question.method), notes(inquiry)
    if question.method == DIRECTION:
        yield Last({**directed(inquiry), **hints})
        return
    yield {**hints, "film": "", "line": Progress(0, say("loading", lang)).bar}
    yield from jobs.in_turn(cancel, jobs.PAGE_SECONDS, partial(watch, inquiry, settings, cancel))


def watch(inquiry: Inquiry, settings: EditSettings, cancel: Cancel) -> Iterator[dict[str, Any]]:
    """A run of any method as slots."""
    film, drawn, lang = Film(), 0.0, inquiry.lang
    for frame in inquiry.row.edit(inquiry.start, inquiry.target, settings, cancel):
        if frame.image is not None:
            film.add(frame.step, frame.image)
        if frame.result is not None:
            yield finished(frame.result, film.frames, lang)
        elif time.monotonic() - drawn > PAUSE:
            drawn = time.monotonic()
            slots = (
                {} if frame.image is None else {"view": frames.pair(inquiry.start.image, frame.image, lang)}
            )
            yield {**slots, "line": runs.progress(frame, lang).bar}


def follow(question: Question, lang: str) -> dict[str, Any]:
    """The answer while strength or disentanglement moves; only a global direction has one."""
    if question.method != DIRECTION:
        return {}
    slots = directed(Inquiry(question, lang))
    return {name: value for name, value in slots.items() if name != "line"}


def more(layout: Layout) -> None:
    """What the first tab has below its answer: sliders that are followed, and the downloads of the last run."""
    place = layout.places[0]
    moves = [event for name in ("alpha", "beta") for event in events_of(layout.components[name])]
    runs.downloads(layout, place, downloads)
    layout.update(moves, place, follow, trigger_mode="always_last")


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


def notes(inquiry: Inquiry) -> dict[str, Any]:
    """The hints above the answer."""
    from core.classroom.recipes.styleclip import scenes
    from core.classroom.world.vocabulary import unread

    question, lang, name = inquiry.question, inquiry.lang, inquiry.row.checkpoint
    bundled = checkpoints.row(name).bundled is not None
    both = f"{question.neutral} {question.target}"
    hints = results.unreadable(name, both, lang)
    unknown = unread(both) if bundled else ()
    if bundled and not unknown and not scenes.names_a_thing(question.target):
        hints.append(say("no_thing", lang))
    if name == INSTRUCTED:
        hints.append(say("instruction", lang))
    digest = "" if inquiry.image is None else inputs.digest(inquiry.image)
    return results.notes(name, lang, digest=digest, page=PAPER, unknown=unknown, more=hints)


def fill(name: str, question: Question, lang: str) -> dict[str, Any]:
    """The fields that an example sets."""
    row = examples()[name]
    code = label_language(PAPER, question.checkpoint, lang)
    target = row["target"][code]
    if question.checkpoint == INSTRUCTED:
        target = row.get("instruction", target)
    return {"image": row["path"], "start": "image", "neutral": row["neutral"][code], "target": target}


def own_fields(question: Question, lang: str) -> dict[str, Any]:
    """The start and the method that a chosen row can have, where it cannot have those of the page."""
    from core.editing import rows

    name, changed = question.checkpoint, {}
    starts, methods = rows.starts(name), rows.methods(name)
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
        row = model(checkpoint)
        chosen = row.settings(
            method, neutral=neutral or None, steps=steps, strength=strength, alpha=alpha, beta=beta, seed=seed
        )
        given = {"seed": seed} if image is None else {"image": inputs.image(files_in.uploaded(image))}
        made = runs.finish(partial(row.edit, row.start(**given), text, chosen))
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
            "seed": start.seed,
            "image": base.png_uri(start.image),
            "latent": latent,
        }
