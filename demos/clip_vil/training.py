"""*Train it* of the CLIP-ViL page: the same head learns from 1,000 questions on three encoders while one watches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from demos.clip_vil.words import PAPER, say, text
from demos.kit import form, library
from demos.kit.train import Curve, Live, Moment

SETTING_UP = 1.0  # minutes that the seat is held while scenes are encoded


@dataclass(frozen=True)
class Settings:
    """What a visitor chooses."""

    encoders: str = form.choice(library.options(PAPER, "encoders"), "", text("live_encoders"))
    questions: str = form.choice(library.options(PAPER, "questions"), "1000", text("live_questions"))
    minutes: float = form.slider(0.5, 5, 1, text("minutes"), step=0.5, place="top")


def lesson(settings: Settings, lang: str, cancel: Any) -> Iterator[Moment]:
    """The moments of a training."""
    from core.classroom.recipes.clip_vil import live

    given = live.LiveSettings(
        float(settings.minutes),
        int(settings.questions),
        "zh" if lang == "zh" else "en",
        row=settings.encoders,
    )
    rows: list[dict[str, float]] = []
    for frame in live.Lesson(given, cancel).run():
        loss = {} if frame.loss is None else {"loss": frame.loss}
        rows.append({"seconds": frame.seconds, "step": frame.step, **frame.right, **loss})
        yield moment(frame, rows, 60 * given.minutes, lang)


def title_of(name: str, lang: str) -> str:
    """The title of an encoder; a row's name where it is one of the Hub."""
    known = ("random", "supervised", "clip")
    return text(f"encoder_{name}").get(lang) if name in known else name


def moment(frame: Any, rows: list[dict[str, float]], budget: float, lang: str) -> Moment:
    """A look of the lesson as the page shows it."""

    def points(name: str) -> list[tuple[float, float]]:
        return [(row["seconds"], row[name]) for row in rows if name in row]

    end = frame.seconds if frame.done else budget
    curves = [
        Curve(title_of(name, lang), [(say("right", lang), points(name))], say("seconds", lang), end, 1.0)
        for name in frame.right
    ]
    state = "running" if not frame.done else "stopped" if frame.stopped else "done"
    return Moment(
        share=min(1.0, frame.seconds / budget),
        left=frame.left,
        facts=say("steps", lang, steps=frame.step),
        state=state,
        numbers=[(f"{share:.0%}", title_of(name, lang)) for name, share in frame.right.items()],
        curves=curves,
        rows=rows,
    )


LIVE = Live(
    "clip-vil", text("live"), Settings, lesson, lambda settings: float(settings.minutes) + SETTING_UP, {}
)
