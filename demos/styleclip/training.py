"""*Train it* of the StyleCLIP page: a mapper learns a sentence of one's own while one watches."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from core import checkpoints, inputs
from core.errors import Refusal
from demos.draw import frames
from demos.kit import form, library
from demos.kit.html import tag
from demos.kit.language import pick
from demos.kit.menu import label_language
from demos.kit.train import Curve, Live, Moment
from demos.styleclip import answer
from demos.styleclip.words import PAPER, say, text

SETTING_UP = 1.0  # minutes that the seat is held beside the training
NEW = (101, 102, 103, 104)  # seeds of images that the mapper has not seen
PAUSE = 0.4  # seconds between two looks


@dataclass(frozen=True)
class Settings:
    """What a visitor chooses."""

    sentence: str = form.words(text("sentence"), default="", placeholder=text("sentence_hint"), longest=300)
    steps: int = form.slider(20, 400, 120, text("mapper_steps"), step=20, place="top")


def miniature() -> str:
    """The bundled row, which alone learns in a minute."""
    return next(row.name for row in checkpoints.rows(PAPER) if row.bundled)


def lesson(settings: Settings, lang: str, cancel: Any) -> Iterator[Moment]:
    """The moments of a mapper's training, and at last what it makes of images that it has not seen."""
    name = miniature()
    target = inputs.text(settings.sentence or say("sentence_own", label_language(PAPER, name, lang)))
    row, began, shown = answer.model(name), time.monotonic(), 0.0
    start = row.start(image=inputs.image(library.examples(PAPER)[answer.OPENING]["path"]))
    # With a seed of its own no remembered mapper is used; with the same one again it is.
    chosen = row.settings("mapper", steps=int(settings.steps), seed=inputs.seed(-1))
    rows: list[dict[str, float]] = []
    moment = Moment(0.0, None, "")
    try:
        for frame in row.edit(start, target, chosen, cancel=cancel):
            if frame.losses:
                rows.append({"step": float(frame.step), "seconds": time.monotonic() - began, **frame.losses})
            if frame.result is None and time.monotonic() - shown < PAUSE:
                continue
            shown = time.monotonic()
            image = frame.image if frame.result is None else frame.result.image
            slots = {} if image is None else {"pair": frames.pair(start.image, image, lang)}
            moment = look(rows, frame.step / max(1, frame.steps), frame.seconds_left, slots, lang)
            yield moment
    except Refusal as refusal:
        if refusal.code != "cancelled":
            raise
        yield look(rows, moment.share, None, {}, lang, "stopped")
        return
    fresh = []
    for seed in NEW:
        made = answer.result_of(row.edit(row.start(seed=seed), target, chosen))
        fresh += [(made.start, say("start", lang)), (made.image, say("result", lang))]
    unseen = {"unseen": tag("h4", say("unseen", lang)) + frames.strip(fresh)}
    yield look(rows, 1.0, 0.0, {**moment.slots, **unseen}, lang, "done")


def look(
    rows: list[dict[str, float]],
    share: float,
    left: float | None,
    slots: dict[str, Any],
    lang: str,
    state: str = "running",
) -> Moment:
    """Where the training stands."""
    points = {name: [(row["step"], row[name]) for row in rows] for name in ("clip", "distance")}
    end = float(rows[-1]["step"]) if rows else 1.0
    axis = pick(lang, "steps", "步数")
    curves = [
        Curve(say(f"curve_{name}", lang), [(say(f"curve_{name}", lang), line)], axis, end)
        for name, line in points.items()
    ]
    figures = [(f"{1 - rows[-1]['clip']:.3f}", say("cosine_now", lang))] if rows else []
    facts = pick(lang, f"{len(rows)} steps", f"{len(rows)} 步")
    return Moment(share, left, facts, state, figures, curves if rows else (), rows, slots)


LIVE = Live(
    PAPER,
    text("live"),
    Settings,
    lesson,
    lambda settings: settings.steps / 60 + SETTING_UP,
    {"pair": frames.stage, "unseen": frames.stage},
)
