"""*Look inside* of the StyleCLIP page: channels of a text, one channel by hand, layers, noise, tensors, numbers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from core import inputs
from core.runtime import Cancel
from demos.draw import frames
from demos.kit import form, numbers
from demos.kit.html import Markup, tag
from demos.kit.jobs import Progress
from demos.kit.train import Curve
from demos.styleclip import answer as answers
from demos.styleclip import draw
from demos.styleclip.words import PAPER, data, say, text

if TYPE_CHECKING:
    from demos.styleclip.page import Question

DRAWN = 4  # channels of a text whose images are shown
AMOUNTS = (-8.0, -6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0, 8.0)  # deviations
NOISY = ("instruct", "sdedit", "inversion")  # methods whose images with noise are known


@dataclass(frozen=True)
class Place:
    """One style channel."""

    layer: int = form.slider(0, 25, 2, text("layer_number"), place="top")
    number: int = form.number(0, text("channel_number"), place="top", minimum=0, maximum=511)
    strongest: bool = form.switch(True, text("strongest"), place="top")


def channels(question: Question, lang: str) -> dict[str, Any]:
    """The style channels that the texts switch on, and what the strongest of them do to the image."""
    began, row = time.perf_counter(), answers.model(question.checkpoint)
    way = row.direction(
        inputs.text(question.neutral), inputs.text(question.target), beta=float(question.beta)
    )
    names = [one.name for one in row.layers()]
    told = say("few" if way.few else "many", lang, count=way.count, all=len(way.scores))
    head = tag("p", told, class_=f"atlas-verdict {'none' if way.few else 'some'}")
    start, shown = answers.begin(question), []
    for one in way.channels[:DRAWN]:
        far = AMOUNTS[-1] if one.score > 0 else AMOUNTS[0]
        (image,) = row.channel(start, one.layer, one.channel, [far])
        shown.append(
            (image, say("moved_by", lang, name=f"{names[one.layer]} · {one.channel}", amount=f"{far:+g}"))
        )
    first = [(start.origin, say("start", lang))]
    out = head + draw.channel_table(way, names, lang) + (frames.figures(first + shown) if shown else Markup())
    return {"out": out, "line": answers.below(began, row, lang)}


def channel(question: Question, layer: int, number: int, strongest: bool, lang: str) -> dict[str, Any]:
    """One style channel moved by hand, all others as they are."""
    began, row = time.perf_counter(), answers.model(question.checkpoint)
    start, known = answers.begin(question), row.layers()
    at, place = min(int(layer), len(known) - 1), int(number or 0)
    if strongest:
        way = row.direction(inputs.text(question.neutral), inputs.text(question.target), beta=0.0)
        at, place = way.channels[0].layer, way.channels[0].channel
    place = int(inputs.number("number", place, 0, known[at].channels - 1))
    images = row.channel(start, at, place, AMOUNTS)
    names = [
        say("moved_by", lang, name=f"{known[at].name} · {place}", amount=f"{value:+g}") for value in AMOUNTS
    ]
    moved = list(zip(images, names, strict=True))
    told = tag(
        "p",
        say("channel_is", lang, name=known[at].name, number=place, side=known[at].side),
        class_="atlas-line",
    )
    return {
        "out": told + frames.flip(moved, say("amount", lang), len(AMOUNTS) // 2),
        "line": answers.below(began, row, lang),
    }


def layers(question: Question, other: int, lang: str) -> dict[str, Any]:
    """What coarse, medium and fine layers decide: each taken from another image."""
    began, row = time.perf_counter(), answers.model(question.checkpoint)
    start, end = answers.begin(question), row.start(seed=int(other or 0))
    shown = [(start.origin, say("start", lang))]
    shown += [(image, say(f"from_{level}", lang)) for level, image in row.mix(start, end).items()]
    shown.append((end.image, say("the_other", lang)))
    out = frames.figures(shown) + draw.layer_table(row.layers(), lang)
    return {"out": out, "line": answers.below(began, row, lang)}


def noise(question: Question, lang: str, cancel: Cancel) -> Iterator[Progress | dict[str, Any]]:
    """The schedule of the noise, and at every step the image with its noise beside the one that is foreseen."""
    began, row = time.perf_counter(), answers.model(question.checkpoint)
    asked = (
        question if question.method in NOISY else replace(question, method=NOISY[0], steps=0, strength=0.0)
    )
    settings = answers.settings_of(asked, lang)
    plan, start = row.schedule(settings.steps, settings.strength), answers.begin(asked)
    steps = range(1, len(plan.times) + 1)
    kept = [(float(i), float(value**2)) for i, value in zip(steps, plan.signal, strict=True)]
    added = [(float(i), float(value**2)) for i, value in zip(steps, plan.noise, strict=True)]
    lines = [(say("signal", lang), kept), (say("noise", lang), added)]
    curve = Markup(
        Curve(say("schedule", lang), lines, say("steps_axis", lang), float(len(plan.times)), 1.0).figure
    )
    noisy, foreseen = [], []
    for frame in row.edit(start, inputs.text(question.target), settings, cancel=cancel):
        yield answers.progress(frame, lang)
        name = say("at_step", lang, step=frame.step, steps=frame.steps)
        if frame.noisy is not None and frame.image is not None:
            noisy.append((frame.noisy, name))
            foreseen.append((frame.image, name))
    parts = [
        tag("div", tag("h4", say(title, lang)), frames.flip(way, say(title, lang), len(way) - 1))
        for title, way in (("with_noise", noisy), ("foreseen", foreseen))
        if way
    ]
    yield {"out": curve + tag("div", *parts, class_="fr-beside"), "line": answers.below(began, row, lang)}


def values(question: Question, lang: str) -> tuple[dict[str, Any], str]:
    """What the templates of shapes in data.toml ask for, and the line; none where the row has no generator."""
    began, row = time.perf_counter(), answers.model(question.checkpoint)
    start = answers.begin(question)
    if start.latent is None:
        return {}, answers.below(began, row, lang)
    known = row.layers()
    count, width = start.latent.shape
    return {
        "latents": count,
        "width": width,
        "side": start.image.shape[0],
        "vectors": len(known),
        "channels": sum(one.channels for one in known),
        "widths": ", ".join(str(one.channels) for one in known),
        "own": sum(one.channels for one in known if not one.to_rgb),
    }, answers.below(began, row, lang)


def published(lang: str) -> Markup:
    """The published numbers, and the miniature's own where the report card has them."""
    return numbers.number_table(data()["published"], numbers.report_rows(PAPER, lang), lang)
