"""The *Train CLIP live* tab: a CLIP of a few concepts is trained on this machine, and can be tried afterwards."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.context import Context

from core import inputs
from core.classroom.recipes.common import lessons
from core.classroom.world.concepts import find
from core.runtime import Cancel
from demos.clip.words import options, say, text
from demos.draw import base as draw
from demos.draw import charts
from demos.kit import files as files_in
from demos.kit import form
from demos.kit.components import output
from demos.kit.html import Markup, tag
from demos.kit.language import Text
from demos.kit.layout import Layout
from demos.kit.places import Place
from demos.kit.train import Curve, Kept, Live, Moment

if TYPE_CHECKING:
    from core.classroom.recipes.clip.live import Snapshot, Toy
    from demos.clip.page import Question

KEPT = Kept()


# The concepts that may be chosen.
OFFERED = {name: Text(one.en, one.zh) for name in lessons.NAMES if (one := find(name))}


@dataclass(frozen=True)
class Settings:
    """What a visitor chooses for a training."""

    concepts: tuple[str, ...] = form.several(OFFERED, list(OFFERED)[:16], text("concepts"))
    language: str = form.choice(options("languages"), "page", text("captions_in"))
    minutes: float = form.slider(1, 5, 2, text("minutes"), step=0.5, place="top")
    batch: float = form.slider(8, lessons.LIMITS["batch"][1], 48, text("pairs_a_batch"), step=8)
    rate: float = form.slider(0.0001, 0.01, 0.0015, text("rate"), step=0.0001)
    temperature: str = form.choice(
        options("temperatures"), "learned", text("temperature_kind"), place="settings"
    )
    scale: float = form.slider(1, 100, 10, text("first_scale"))


def lesson(settings: Settings, lang: str, cancel: Cancel) -> Iterator[Moment]:
    """The training, a moment about once a second."""
    given = lessons.LiveSettings(
        concepts=tuple(one.index for name in settings.concepts if name in OFFERED and (one := find(name))),
        language=lang if settings.language == "page" else settings.language,
        minutes=float(settings.minutes),
        batch=int(settings.batch),
        learning_rate=float(settings.rate),
        learn_scale=settings.temperature != "fixed",
        scale=float(settings.scale),
        seed=random.randrange(1 << 16),
    )
    given.check()
    from core.classroom.recipes.clip.live import Lesson

    running = Lesson(given)
    images = [draw.data_uri(image, 64) for image in running.fixed_batch()]
    waiting = {"trying": gr.update(visible=False)}
    yield Moment(0.0, None, say("drawing", lang), slots=waiting)
    for shot in running.run(cancel):
        yield moment(shot, images, running.names, given.minutes, running.toy() if shot.done else None, lang)


def moment(
    shot: Snapshot, images: list[str], names: tuple[str, ...], minutes: float, toy: Toy | None, lang: str
) -> Moment:
    """A moment of the training: numbers, curves, and the matrix of the fixed batch."""
    chance, end = 1 / len(names), shot.seconds if shot.done else 60 * minutes
    facts = say("facts", lang, step=shot.step, images=shot.pictures, scale=shot.scale)
    series = {
        "accuracy": (shot.accuracies, chance, 1.0),
        "loss": (shot.losses, shot.guess, 1.25 * shot.guess),
    }
    curves = [
        Curve(
            say(f"{name}_title", lang),
            [(say(name, lang), points), (say("guessing", lang), [(0.0, guess), (end, guess)])],
            say("seconds", lang),
            end,
            top,
        )
        for name, (points, guess, top) in series.items()
    ]
    trying = {"trying": gr.update(visible=True)} if toy else {}
    return Moment(
        share=shot.seconds / (60 * minutes),
        left=shot.left,
        facts=facts + (say("measured", lang, scenes=shot.tested) if shot.done else ""),
        state="running" if not shot.done else "stopped" if shot.stopped else "done",
        numbers=[
            (f"{shot.accuracy:.0%}", say("named", lang, chance=chance)),
            (f"{shot.loss:.2f}" if shot.losses else "–", say("loss_now", lang, guess=shot.guess)),
        ],
        curves=curves,
        rows=[{"seconds": at, name: value} for name, (points, *_) in series.items() for at, value in points],
        slots={"matrix": charts.live_matrix(shot.probabilities, images, names, lang), **trying},
        product=toy,
    )


# --- what it has learned ---------------------------------------------------------------------------------


def another(session: str, question: Question, lang: str) -> dict[str, Any]:
    """A scene that was not trained on, the answer, and whether it is correct."""
    toy = KEPT.of(session)
    image, name = toy.scene(random.randrange(len(toy.labels)))
    correct = answer(toy, image)[0]["label"] == name
    return {"out": tried(toy, image, say("correct" if correct else "wrong", lang, name=name), correct, lang)}


def own(session: str, question: Question, given: str | None, lang: str) -> dict[str, Any]:
    """The answer to an image of the visitor's own."""
    toy = KEPT.of(session)
    image = inputs.image(files_in.image_source(given))
    return {"out": tried(toy, image, say("knows", lang, count=len(toy.names)), True, lang)}


def answer(toy: Toy, image: Any) -> list[dict[str, Any]]:
    """The labels of a trained model, best first."""
    probabilities, cosines = toy.classify(image)
    rows = zip(toy.names, probabilities.tolist(), cosines.tolist(), strict=True)
    results = [{"label": name, "probability": p, "cosine": c} for name, p, c in rows]
    return sorted(results, key=lambda row: -row["probability"])


def tried(toy: Toy, image: Any, verdict: str, correct: bool, lang: str) -> Markup:
    """The image, the verdict and the first five labels."""
    sentence = tag("p", verdict, class_=f"atlas-verdict {'some' if correct else 'none'}")
    answers = tag("div", sentence, draw.probability_bars(answer(toy, image)[:5], lang))
    return tag("div", tag("img", alt="", src=draw.data_uri(image, 280)), answers, class_="live-try")


def lay_out(layout: Layout, place: Place) -> None:
    """Lays out what can be tried once a training has ended."""
    root: Any = Context.root_block
    with gr.Column(visible=False, elem_id="live-trying") as trying:
        gr.Markdown(text("try_it").tr)
        with gr.Row():
            with gr.Column(scale=4, min_width=280):
                image = files_in.image_input(height=220, elem_id="live-own", label=text("own_image").tr)
            with gr.Column(scale=6, min_width=320):
                scene = Text("Show it a new scene", "给它看一个新场景")
                answers = layout.place("tried", scene, {"out": output}, own_inputs=True)
    place.slots["trying"] = trying
    layout.ask(answers.button.click, answers, another, session=True)
    layout.ask([image.upload, image.input], answers, own, [image], session=True)
    root.unload(KEPT.leave)


LIVE = Live(
    "clip",
    text("train"),
    Settings,
    lesson,
    lambda settings: settings.minutes,
    {"matrix": output},
    keep=KEPT.keep,
    more=lay_out,
)
