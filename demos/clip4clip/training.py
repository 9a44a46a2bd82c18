"""*Train it* of the CLIP4Clip page: one head learns from few clips while one watches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from demos.clip4clip.answer import OPENING_HEAD
from demos.clip4clip.words import PAPER, say, text
from demos.kit import form, library
from demos.kit.train import Curve, Live, Moment

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
    rows: list[dict[str, float]] = []
    for frame in live.Lesson(given).run(cancel):
        rows.append(
            {
                "seconds": frame.seconds,
                "step": frame.step,
                "recall": frame.recall,
                "direction": frame.direction,
                **({"loss": frame.loss} if frame.loss is not None else {}),
            }
        )
        yield moment(frame, rows, 60 * given.minutes, lang)


def moment(frame: Any, rows: list[dict[str, float]], budget: float, lang: str) -> Moment:
    """A look of the lesson as the page shows it."""

    def points(name: str) -> list[tuple[float, float]]:
        return [(row["seconds"], row[name]) for row in rows if name in row]

    seconds, end = say("seconds", lang), frame.seconds if frame.done else budget
    lines = [(say("direction", lang), points("direction")), (say("recall", lang), points("recall"))]
    return Moment(
        share=frame.seconds / budget,
        left=frame.left,
        facts=say("steps", lang, steps=frame.step),
        state="running" if not frame.done else "stopped" if frame.stopped else "done",
        numbers=[
            (f"{frame.direction:.2f}", say("direction", lang)),
            (f"{frame.recall:.2f}", say("recall", lang)),
        ],
        curves=[
            Curve(say("new_clips", lang), lines, seconds, end, top=1.0),
            Curve(say("loss", lang), [(say("loss", lang), points("loss"))], seconds, end),
        ],
        rows=rows,
    )


LIVE = Live(PAPER, text("live"), Settings, lesson, lambda settings: float(settings.minutes) + SETTING_UP, {})
