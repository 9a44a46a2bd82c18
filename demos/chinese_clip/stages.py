"""*Train it* of the Chinese-CLIP page: the paper's two stages as a figure, and small enough to run while one watches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core import checkpoints
from core.runtime import Cancel
from demos.chinese_clip import draw
from demos.chinese_clip.draw import say, text
from demos.kit import form, library
from demos.kit.components import output
from demos.kit.html import Markup, tag
from demos.kit.train import Curve, Live
from demos.kit.train import Moment as Look

if TYPE_CHECKING:
    from core.classroom.recipes.chinese_clip.live import Moment

SEAT_MINUTES = 3.0  # after which an abandoned training makes room for another
STEPS = 240
LOCKED = {"two": STEPS // 2, "both": 0}  # steps with the image tower locked


@dataclass(frozen=True)
class Settings:
    """What a visitor chooses."""

    way: str = form.choice(library.options(draw.PAGE, "order"), "two", text("way"))


def miniature() -> str:
    """The row whose image tower is taken: the bundled one, which every server has."""
    return next(row.name for row in checkpoints.rows("clip") if row.bundled)


def lesson(settings: Settings, lang: str, cancel: Cancel) -> Iterator[Look]:
    """The training as it goes."""
    from core.classroom.recipes.chinese_clip.live import TwoStages

    locked = LOCKED.get(settings.way, LOCKED["two"])
    for moment in TwoStages(miniature(), locked, STEPS - locked).run(cancel):
        yield look(moment, locked, lang)


def look(moment: Moment, locked: int, lang: str) -> Look:
    """A moment of the training for the page."""
    state = "running" if not moment.done else "stopped" if moment.stopped else "done"
    if not moment.exams:
        return Look(moment.share, None, say("encoding", lang), state)
    now = moment.exams[-1]
    tower = say("locked" if moment.locked else "moving", lang)
    rows = [
        {
            "step": one.step,
            "image_tower": "locked" if one.step <= locked else "moving",
            "chinese": round(one.chinese, 4),
            "english": round(one.english, 4),
            "cosine_with_before": round(one.kept, 4),
        }
        for one in moment.exams
    ]
    lines = [
        (say("chinese", lang), [(one.step, one.chinese) for one in moment.exams]),
        (say("english_line", lang), [(one.step, one.english) for one in moment.exams]),
    ]
    ended = moment.done and len(moment.exams) > 1
    return Look(
        moment.share,
        moment.left if moment.left < 3600 else None,
        say("facts", lang, step=moment.step, steps=moment.steps, tower=tower),
        state,
        numbers=[
            (f"{now.chinese:.0%}", say("new_tower", lang)),
            (f"{now.english:.0%}", say("old_tower", lang)),
            (f"{now.kept:.3f}", say("kept", lang)),
        ],
        curves=[Curve(say("accuracy", lang), lines, say("steps", lang), moment.steps, 1.0)],
        rows=rows,
        slots={"verdict": verdict(moment, locked, lang) if ended else ""},
    )


def verdict(moment: Moment, locked: int, lang: str) -> Markup:
    """What the run showed, in sentences."""
    start, end = moment.exams[0], moment.exams[-1]
    held = [one for one in moment.exams if one.step <= locked]
    sentences = []
    if locked:
        last = held[-1]
        sentences.append(say("was_locked", lang, steps=last.step, start=start, last=last))
    if end.step > locked:
        before = held[-1] if held else start
        sentences.append(say("both_moved", lang, steps=end.step - before.step, start=before, last=end))
    paragraphs = (tag("p", Markup(sentence)) for sentence in sentences)
    note = tag("p", say("small_copy", lang), class_="atlas-line")
    return tag("div", *paragraphs, class_="atlas-verdict some") + note


def figure_slot(elem_id: str) -> Any:
    """The paper's two stages as a figure; the place of what a run showed is below it."""
    output(f"{elem_id}-figure", draw.two_stages())
    return output(elem_id)


LIVE = Live("chinese-clip", text("train"), Settings, lesson, lambda _: SEAT_MINUTES, {"verdict": figure_slot})
