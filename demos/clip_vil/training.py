"""*Train it* of the CLIP-ViL page: the same head learns from 1,000 questions on three encoders while one watches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from demos.clip_vil.words import PAPER, text
from demos.kit import form, library
from demos.kit.language import Text
from demos.kit.train import Live, Moment, timed

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
    frames = live.Lesson(given, cancel).run()
    yield from timed(
        frames, given.minutes, lang, lambda frame: frame.right, Titles(), text("right"), apart=True
    )


class Titles(dict[str, Text]):
    """The titles of encoders; a row of the Hub has its own name."""

    def __missing__(self, name: str) -> Text:
        known = ("random", "supervised", "clip")
        return text(f"encoder_{name}") if name in known else Text(name, name)


LIVE = Live(
    "clip-vil", text("live"), Settings, lesson, lambda settings: float(settings.minutes) + SETTING_UP, {}
)
