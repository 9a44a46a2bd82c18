"""*Train it* of the CLIP4Clip page: one head learns from few clips while one watches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from demos.clip4clip.answer import OPENING_HEAD
from demos.clip4clip.words import PAPER, text
from demos.kit import form, library
from demos.kit.train import Live, Moment, timed

SETTING_UP = 1.0  # minutes that the seat is held while clips are encoded


@dataclass(frozen=True)
class Settings:
    """What a visitor chooses."""

    head: str = form.choice(library.options(PAPER, "heads"), OPENING_HEAD, text("head"))
    clips: str = form.choice(library.options(PAPER, "sizes"), "100", text("train_clips"))
    minutes: float = form.slider(0.5, 5, 1, text("minutes"), step=0.5, place="top")


def lesson(settings: Settings, lang: str, cancel: Any) -> Iterator[Moment]:
    """The moments of a training."""
    from core.classroom.recipes.clip4clip import live

    chosen: Any = settings.head
    given = live.LiveSettings(
        chosen, int(settings.clips), float(settings.minutes), "zh" if lang == "zh" else "en"
    )
    yield from timed(
        live.Lesson(given).run(cancel),
        given.minutes,
        lang,
        lambda frame: {"direction": frame.direction, "recall": frame.recall},
        {"direction": text("direction"), "recall": text("recall")},
        text("new_clips"),
    )


LIVE = Live(PAPER, text("live"), Settings, lesson, lambda settings: float(settings.minutes) + SETTING_UP, {})
