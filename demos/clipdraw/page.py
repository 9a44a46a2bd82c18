"""The CLIPDraw page: a prompt becomes a drawing of coloured strokes while one watches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from demos.clipdraw import answer
from demos.draw import strokes
from demos.kit import form, library, page, runs, sketch_runs
from demos.kit.components import output
from demos.kit.language import Text

says = partial(library.text, answer.PAGE)


@dataclass(frozen=True)
class Question:
    """What the page asks: a prompt and how it is to be drawn."""

    checkpoint: str = form.checkpoint("clip")
    prompt: str = form.words(says("prompt"), longest=300, place="side")
    strokes: int = form.slider(4, 256, 64, Text("Strokes", "笔画数"), step=4, place="side")
    labels: str = form.words(says("labels"), lines=2, place="settings")
    negatives: str = form.words(says("negatives"), says("negatives_info"), lines=2, place="settings")
    width: float = form.slider(0.5, 20, 2.0, says("width"), step=0.5)
    seeds: int = form.slider(1, 8, 1, says("seeds"))
    seed: int = form.number(0, Text("First seed", "第一个种子"))
    steps: int = form.slider(0, 2000, 0, Text("Steps", "步数"), says("steps"))


PAGE = page.declare(
    answer.PAGE,
    Question,
    try_it=page.Try(
        answer.draw_prompt,
        answer.DRAW,
        {"view": strokes.surface, "verdict": output, "made": runs.kept},
        opening=answer.opening,
        runs_on_opening=False,
        in_turn=True,
        idea=says("idea"),
        more=sketch_runs.below(answer.PAGE, answer.go_on),
    ),
    examples=page.Examples(answer.examples, answer.OPENING, answer.fill),
    opening=answer.first_labels,
    inside=[page.cards_tab(answer.PAGE)],
    endpoints=[answer.clipdraw_draw],
)
