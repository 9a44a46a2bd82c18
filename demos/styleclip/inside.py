"""*Look inside* of the StyleCLIP page: channels of a text, one channel by hand, layers, noise, tensors, numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core import inputs
from core.runtime import Cancel
from demos.draw import frames
from demos.kit import form, runs
from demos.kit.html import Markup, tag
from demos.kit.jobs import Progress
from demos.kit.train import Curve
from demos.styleclip import draw
from demos.styleclip.answer import Inquiry
from demos.styleclip.words import line, say, text

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
    inquiry = Inquiry(question, lang)
    row, start = inquiry.row, inquiry.start
    way = row.direction(inquiry.neutral, inquiry.target, question.beta)
    names = [one.name for one in row.layers()]
    count = say("few" if way.few else "many", lang, count=way.count, all=len(way.scores))
    shown = [(start.origin, say("start", lang))]
    for one in way.channels[:DRAWN]:
        far = AMOUNTS[-1] if one.score > 0 else AMOUNTS[0]
        (image,) = row.channel(start, one.layer, one.channel, [far])
        shown.append((image, amount_of(names[one.layer], one.channel, far, lang)))
    head = tag("p", count, class_=f"atlas-verdict {'none' if way.few else 'some'}")
    return inquiry.slots(head + draw.channel_table(way, names, lang) + frames.figures(shown))


def amount_of(layer: str, number: int, far: float, lang: str) -> str:
    """What the image of a moved channel is called."""
    return say("moved_by", lang, name=f"{layer} · {number}", amount=f"{far:+g}")


def channel(question: Question, layer: int, number: int, strongest: bool, lang: str) -> dict[str, Any]:
    """One style channel moved by hand, all others as they are."""
    inquiry = Inquiry(question, lang)
    row, known = inquiry.row, inquiry.row.layers()
    at, place = min(int(layer), len(known) - 1), int(number or 0)
    if strongest:
        first = row.direction(inquiry.neutral, inquiry.target, 0.0).channels[0]
        at, place = first.layer, first.channel
    place = int(inputs.number("channel", place, 0, known[at].channels - 1))
    images = row.channel(inquiry.start, at, place, AMOUNTS)
    names = [amount_of(known[at].name, place, far, lang) for far in AMOUNTS]
    moved = list(zip(images, names, strict=True))
    which = line("channel_is", lang, name=known[at].name, number=place, side=known[at].side)
    return inquiry.slots(which + frames.flip(moved, say("amount", lang), len(AMOUNTS) // 2))


def layers(question: Question, other: int, lang: str) -> dict[str, Any]:
    """What coarse, medium and fine layers decide: each taken from another image."""
    inquiry = Inquiry(question, lang)
    row, start = inquiry.row, inquiry.start
    end = row.start(seed=int(other or 0))
    shown = [(start.origin, say("start", lang))]
    shown += [(image, say(f"from_{level}", lang)) for level, image in row.mix(start, end).items()]
    shown.append((end.image, say("the_other", lang)))
    return inquiry.slots(frames.figures(shown) + draw.layer_table(row.layers(), lang))


def noise(question: Question, lang: str, cancel: Cancel) -> Iterator[Progress | dict[str, Any]]:
    """The schedule of the noise, and at every step the image with its noise beside the one that is foreseen."""
    inquiry, own = Inquiry(question, lang), question.method in NOISY
    settings = inquiry.settings(question.method if own else NOISY[0], own)
    plan = inquiry.row.schedule(settings.steps, settings.strength)
    steps = range(1, len(plan.times) + 1)
    lines = [
        (say(name, lang), [(float(i), float(value**2)) for i, value in zip(steps, values, strict=True)])
        for name, values in (("signal", plan.signal), ("noise", plan.noise))
    ]
    curve = Curve(say("schedule", lang), lines, say("steps_axis", lang), float(len(plan.times)), 1.0)
    noisy, foreseen = [], []
    for frame in inquiry.row.edit(inquiry.start, inquiry.target, settings, cancel):
        yield runs.progress(frame, lang)
        name = say("at_step", lang, step=frame.step, steps=frame.steps)
        if frame.noisy is not None and frame.image is not None:
            noisy.append((frame.noisy, name))
            foreseen.append((frame.image, name))
    parts = [
        tag("div", tag("h4", say(title, lang)), frames.flip(way, say(title, lang), len(way) - 1))
        for title, way in (("with_noise", noisy), ("foreseen", foreseen))
    ]
    yield inquiry.slots(Markup(curve.figure) + tag("div", *parts, class_="fr-beside"))


def values(question: Question, lang: str) -> tuple[dict[str, Any], str]:
    """What the templates of shapes in data.toml ask for, and the line; none where the row has no generator."""
    inquiry = Inquiry(question, lang)
    start, facts = inquiry.start, {}
    if start.latent is not None:
        known = inquiry.row.layers()
        count, width = start.latent.shape
        facts = {
            "latents": count,
            "width": width,
            "side": start.image.shape[0],
            "vectors": len(known),
            "channels": sum(one.channels for one in known),
            "widths": ", ".join(str(one.channels) for one in known),
            "own": sum(one.channels for one in known if not one.to_rgb),
        }
    return facts, inquiry.slots("")["line"]
