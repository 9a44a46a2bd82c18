"""*Train it* of the AudioCLIP page: a small audio tower learns eight sounds while one watches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from demos.audioclip.words import PAPER, say, text
from demos.kit import form, library
from demos.kit.train import Curve, Live, Moment

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
    rows: list[dict[str, float]] = []
    for frame in live.Lesson(given).run(cancel):
        row = {"seconds": frame.seconds, "step": frame.step, "text": frame.text, "image": frame.image}
        rows.append({**row, **({"loss": frame.loss} if frame.loss is not None else {})})
        yield moment(frame, rows, 60 * given.minutes, lang)


def moment(frame: Any, rows: list[dict[str, float]], budget: float, lang: str) -> Moment:
    """A look of the lesson as the page shows it."""

    def points(name: str) -> list[tuple[float, float]]:
        return [(row["seconds"], row[name]) for row in rows if name in row]

    seconds, end = say("seconds", lang), frame.seconds if frame.done else budget
    lines = [(say("finds_text", lang), points("text")), (say("finds_image", lang), points("image"))]
    return Moment(
        share=frame.seconds / budget,
        left=frame.left,
        facts=say("steps", lang, steps=frame.step),
        state="running" if not frame.done else "stopped" if frame.stopped else "done",
        numbers=[
            (f"{frame.text:.2f}", say("finds_text", lang)),
            (f"{frame.image:.2f}", say("finds_image", lang)),
        ],
        curves=[
            Curve(say("new_sounds", lang), lines, seconds, end, top=1.0),
            Curve(say("loss", lang), [(say("loss", lang), points("loss"))], seconds, end),
        ],
        rows=rows,
    )


LIVE = Live(PAPER, text("live"), Settings, lesson, lambda settings: float(settings.minutes) + SETTING_UP, {})
