"""*Train it* of the AudioCLIP page: a small audio tower learns eight sounds while one watches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from demos.audioclip.words import PAPER, text
from demos.kit import form, library
from demos.kit.train import Live, Moment, timed

SETTING_UP = 1.0  # minutes that the seat is held while sounds are made


@dataclass(frozen=True)
class Settings:
    """What a visitor chooses."""

    pairs: str = form.choice(library.options(PAPER, "pairs"), "all", text("pairs"))
    minutes: float = form.slider(0.5, 5, 1, text("minutes"), step=0.5, place="top")


def lesson(settings: Settings, lang: str, cancel: Any) -> Iterator[Moment]:
    """The moments of a training."""
    from core.classroom.recipes.audioclip import live

    given = live.LiveSettings(float(settings.minutes), settings.pairs, "zh" if lang == "zh" else "en")
    titles = {"text": text("finds_text"), "image": text("finds_image")}
    yield from timed(
        live.Lesson(given).run(cancel),
        given.minutes,
        lang,
        lambda frame: {"text": frame.text, "image": frame.image},
        titles,
        text("new_sounds"),
    )


LIVE = Live(PAPER, text("live"), Settings, lesson, lambda settings: float(settings.minutes) + SETTING_UP, {})
