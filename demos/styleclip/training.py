"""*Train it* of the StyleCLIP page: a mapper learns a sentence of one's own while one watches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core import inputs
from core.errors import Refusal
from demos.draw import frames
from demos.kit import form, library, runs
from demos.kit.html import tag
from demos.kit.language import pick
from demos.kit.menu import label_language
from demos.kit.train import Curve, Live, Moment
from demos.styleclip import answer
from demos.styleclip.words import PAPER, say, text

SETTING_UP = 1.0  # minutes that the seat is held beside the training
NEW = (101, 102, 103, 104)  # seeds of images that the mapper has not seen


@dataclass(frozen=True)
class Settings:
    """What a visitor chooses."""

    sentence: str = form.words(text("sentence"), default="", placeholder=text("sentence_hint"), longest=300)
    steps: int = form.slider(20, 400, 120, text("mapper_steps"), step=20, place="top")


def lesson(settings: Settings, lang: str, cancel: Any) -> Iterator[Moment]:
    """The moments of a mapper's training, and at last what it makes of images that it has not seen."""
    name = runs.miniature(PAPER)  # it alone learns in a minute
    target = inputs.text(settings.sentence or say("sentence_own", label_language(PAPER, name, lang)))
    row = answer.model(name)
    start = row.start(image=inputs.image(library.examples(PAPER)[answer.OPENING]["path"]))
    # With a seed of its own no remembered mapper is used; with the same one again it is.
    chosen = row.settings("mapper", steps=settings.steps, seed=inputs.seed(-1))
    rows: list[dict[str, float]] = []
    moment = look(rows, 0.0, None, lang)
    try:
        for frame in row.edit(start, target, chosen, cancel):
            if frame.losses:
                rows.append({"step": float(frame.step), "seconds": frame.seconds, **frame.losses})
            slots = {} if frame.image is None else {"pair": frames.pair(start.image, frame.image, lang)}
            moment = look(rows, frame.step / frame.steps, frame.seconds_left, lang, slots=slots)
            yield moment
    except Refusal as refusal:
        if refusal.code != "cancelled":
            raise
        yield look(rows, moment.share, None, lang, state="stopped")
        return
    edits = [row.result(row.start(seed=seed), target, chosen) for seed in NEW]
    fresh = [(i, say(side, lang)) for e in edits for i, side in ((e.start, "start"), (e.image, "result"))]
    unseen = {"unseen": tag("h4", say("unseen", lang)) + frames.strip(fresh)}
    yield look(rows, 1.0, 0.0, lang, state="done", slots={**moment.slots, **unseen})


def look(
    rows: Sequence[Mapping[str, float]], share: float, left: float | None, lang: str, **more: Any
) -> Moment:
    """Where the training stands; `more`: as of `Moment`."""
    facts = pick(lang, f"{len(rows)} steps", f"{len(rows)} 步")
    if not rows:
        return Moment(share, left, facts, **more)
    curves = [
        Curve(
            title,
            [(title, [(row["step"], row[name]) for row in rows])],
            say("steps_axis", lang),
            rows[-1]["step"],
        )
        for name, title in (("clip", say("curve_clip", lang)), ("distance", say("curve_distance", lang)))
    ]
    cosine = (f"{1 - rows[-1]['clip']:.3f}", say("cosine_now", lang))
    return Moment(share, left, facts, numbers=[cosine], curves=curves, rows=rows, **more)


LIVE = Live(
    PAPER,
    text("live"),
    Settings,
    lesson,
    lambda settings: settings.steps / 60 + SETTING_UP,
    {"pair": frames.stage, "unseen": frames.stage},
)
