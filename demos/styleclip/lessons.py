"""The lessons of the StyleCLIP page: how the outcome of a step is computed by the chosen checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from core import inputs
from demos.draw import base, frames
from demos.draw.strokes import rows_table
from demos.kit.html import tag
from demos.kit.walkthrough import Case, Outcome
from demos.styleclip import answer, draw
from demos.styleclip.words import line, say

if TYPE_CHECKING:
    from core.editing.model import Editor, Start
    from core.editing.result import Edit

TRIAL = 12  # steps of a mapper's training whose time is measured
PRICED = ("optimization", "mapper", "global_direction")
STRENGTHS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 10.0, 16.0)
GENTLE, HARD = 0.3, 0.9  # shares of the noise schedule


def opened(case: Case) -> tuple[Editor, Start]:
    """The editor of the chosen checkpoint, and the image of the step as its start."""
    row = answer.model(case.checkpoint)
    return row, row.start(image=case.image)


def words(case: Case, name: str) -> str:
    """A text of the step in a language of the checkpoint."""
    return str(case.step[name][case.language])


def run(case: Case, method: str, **chosen: Any) -> Edit:
    """An edit of the step's image."""
    row, start = opened(case)
    settings = row.settings(method, neutral=words(case, "neutral"), **chosen)
    return row.result(start, words(case, "target"), settings)


def price(case: Case) -> Outcome:
    """Which of the three ways takes least time for another image and another text, measured now."""
    # A whole training would be waited for: some of its steps tell how long each takes.
    whole = answer.model(case.checkpoint).settings("mapper").steps
    training = run(case, "mapper", steps=TRIAL, seed=inputs.seed(-1)).seconds * whole / TRIAL
    seconds = [run(case, "optimization").seconds, training, run(case, "global_direction").seconds]
    rows = [
        (draw.method_title(name, case.lang), say("seconds", case.lang, value=f"{value:.2f}"))
        for name, value in zip(PRICED, seconds, strict=True)
    ]
    table = rows_table([say(name, case.lang) for name in ("method", "time")], rows)
    note = line("price_note", case.lang, steps=TRIAL, whole=whole)
    return Outcome(seconds.index(min(seconds)), table + note)


def separable(case: Case) -> Outcome:
    """How many channels two texts tell apart."""
    row = answer.model(case.checkpoint)
    way = row.direction(words(case, "neutral"), words(case, "target"), beta=case.step["beta"])
    body = tag("p", say("few" if way.few else "many", case.lang, count=way.count, all=len(way.scores)))
    names = [one.name for one in row.layers()]
    return Outcome(0 if way.few else 1, body + draw.channel_table(way, names, case.lang))


def stretched(case: Case) -> Outcome:
    """What more and more strength does: to the target, or past it."""
    row, start = opened(case)
    made = row.grid(start, words(case, "neutral"), words(case, "target"), STRENGTHS, [case.step["beta"]])
    judge = made.guide if made.other is None else made.other
    scores = np.zeros(len(STRENGTHS)) if judge is None else judge[0]
    best = int(scores.argmax())
    names = [f"α = {value:g}: {score:+.2f}" for value, score in zip(STRENGTHS, scores, strict=True)]
    body = frames.strip(list(zip(made.images[0], names, strict=True)))
    note = line("stretched", case.lang, alpha=f"{STRENGTHS[best]:g}")
    return Outcome(2 if best == len(STRENGTHS) - 1 else 1 if best else 0, body + note)


def unlearned(case: Case) -> Outcome:
    """Whether the CLIP that did not guide sees a thing that the generator has never learned."""
    from core.clip import ZeroShot
    from core.editing import rows

    made, row = run(case, "optimization"), answer.model(case.checkpoint)
    target = words(case, "target")
    names = [*row.factors()["thing"], target]
    seen = ZeroShot.load(rows.other(row.checkpoint)).classify(Image.fromarray(made.image), names)
    listed = seen.to_json()["results"]
    bars = base.probability_bars(listed, case.lang, limit=4)
    return Outcome(int(listed[0]["label"] != target), draw.view(made, case.lang) + bars)


def fooled(case: Case) -> Outcome:
    """Which of two CLIPs an optimisation convinces more: its guide, or the other one."""
    made = run(case, "optimization")
    gains = [
        (one.share_after or 0.0) - (one.share_before or 0.0)
        for one in (made.guide, made.other)
        if one is not None
    ]
    difference = gains[0] - gains[-1]
    index = 2 if abs(difference) < 0.05 else 0 if difference > 0 else 1
    return Outcome(index, draw.view(made, case.lang))


def kept(case: Case) -> Outcome:
    """How much of an image is left behind little and behind much noise."""
    edits = [run(case, "sdedit", strength=share) for share in (GENTLE, HARD)]
    shown = [(edits[0].start, say("start", case.lang))]
    for share, one in zip((GENTLE, HARD), edits, strict=True):
        told = say("noise_share", case.lang, share=f"{100 * share:.0f}", changed=f"{one.changed:.4f}")
        shown.append((one.image, told))
    return Outcome(int(edits[0].changed > edits[1].changed), frames.figures(shown))


KINDS = {kind.__name__: kind for kind in (price, separable, stretched, unlearned, fooled, kept)}
