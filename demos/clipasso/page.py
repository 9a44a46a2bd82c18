"""The CLIPasso page: an image becomes strokes while one watches; comparisons, a look inside and lessons."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from demos.clipasso import answer, compare, inside, lessons
from demos.draw import strokes
from demos.kit import form, library, page, runs, scenes_link, sketch_runs
from demos.kit.components import output
from demos.kit.language import Text
from demos.kit.walkthrough import Walkthrough

says = partial(library.text, answer.PAGE)
options = partial(library.options, answer.PAGE)


@dataclass(frozen=True)
class Question:
    """What the page asks: an image and how it is to be sketched."""

    checkpoint: str = form.checkpoint("clip")
    image: str | None = form.image(height=260)
    labels: str = form.words(says("labels"), lines=2, place="side")
    strokes: int = form.slider(1, 64, 16, says("strokes"), place="top")
    background: str = form.choice(options("backgrounds"), "photos", says("background"), place="settings")
    start: str = form.choice(options("starts"), "saliency", says("start"), place="settings")
    colour: bool = form.switch(False, Text("Strokes have colours", "笔画带颜色"))
    width: float = form.slider(0.5, 12, 3.0, Text("Width of a stroke", "笔画粗细"), step=0.5)
    seeds: int = form.slider(1, 8, 1, says("seeds"))
    seed: int = form.number(0, Text("First seed", "第一个种子"))
    steps: int = form.slider(0, 2001, 0, Text("Steps", "步数"), says("steps"))


PAGE = page.declare(
    answer.PAGE,
    Question,
    try_it=page.Try(
        answer.sketch,
        answer.SKETCH,
        {"view": strokes.surface, "verdict": output, "made": runs.kept},
        opening=partial(sketch_runs.opening, answer.PAGE, answer.SKETCH),
        runs_on_opening=False,
        in_turn=True,
        more=sketch_runs.below(answer.PAGE, answer.go_on, answer.judge_edit),
    ),
    examples=page.Examples(answer.examples, answer.OPENING, answer.fill, scenes_link.labels),
    compare=[
        page.Custom("ladder", says("ladder_title"), compare.ladder_tab),
        page.tab(
            answer.PAGE,
            "losses",
            compare.losses,
            slots={"view": strokes.surface},
            inputs=compare.Losses,
            in_turn=True,
        ),
        page.tab(
            answer.PAGE,
            "starts",
            compare.starts,
            slots={"view": strokes.surface, "verdict": output},
            inputs=compare.Starts,
            in_turn=True,
        ),
        page.tab(answer.PAGE, "edges", compare.edges, inputs=compare.last_run),
    ],
    inside=[
        page.tab(answer.PAGE, "strokes-worth", inside.inside, slots=inside.SLOTS, inputs=compare.last_run),
        page.cards_tab(answer.PAGE),
    ],
    walk=Walkthrough(
        lessons.lessons,
        lessons.choices,
        lessons.card,
        lessons.outcome,
        slots={"view": strokes.surface},
        in_turn=True,
    ),
    endpoints=[answer.clipasso_sketch, answer.clipasso_ladder],
)
