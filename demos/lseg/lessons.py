"""The *Walkthrough* tab of the LSeg page: the lecture's cases in steps that ask for a prediction first.

Questions are data (`lseg.toml`); what is true is computed by the checkpoint that the page is on.
"""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from core import inputs
from demos.draw import masks as segment_draw
from demos.kit import components, shell
from demos.kit import old_walk as walk
from demos.kit.shell import pick
from demos.lseg import answer as handlers
from demos.lseg.examples import examples, words
from demos.lseg.shared import Common

Step = dict[str, Any]
SHARES = (0.005, 0.05)  # nothing, a little, a lot
SAME = 0.5  # IoU of two masks that are one place
IDEA = (
    "Each step sets the picture and the labels, **asks you first**, then runs and explains. What is true depends on the "
    "model above: nothing here is recorded.",
    "每一步都会设好图片和标签，**先问你**，再运行、解释。结果取决于上面选的模型：这里没有任何事先录好的答案。",
)


def lessons() -> dict[str, dict[str, Any]]:
    """The lessons by name."""
    return {row["name"]: row for row in words()["lessons"]}


# --- how a step's outcome is read off --------------------------------------------------------------------


def choices_of(step: Step, lang: str) -> list[str]:
    """What may be predicted."""
    if step["kind"] == "at":
        return inputs.labels(step["labels"][lang])
    if step["kind"] == "share":
        low, high = (f"{share:.1%}".replace(".0%", "%") for share in SHARES)
        return list(
            pick(
                lang,
                (f"nothing (under {low})", f"a little ({low} to {high})", f"a lot (over {high})"),  # type: ignore[arg-type]
                (f"几乎没有（不到 {low}）", f"一点（{low} 到 {high}）", f"很多（超过 {high}）"),  # type: ignore[arg-type]
            )
        )
    return [
        pick(lang, "yes, the same place", "会，是同一处"),
        pick(lang, "no, another place", "不会，是别处"),
    ]


def image_of(step: Step) -> Image.Image:
    """The step's picture."""
    return inputs.image(examples()[step["example"]]["path"])


def place_of(step: Step, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where an "at" step looks, in pixels: its box, or the inner half of what it names."""
    width, height = size
    if "box" in step:
        left, top, right, bottom = step["box"]
        return round(left * width), round(top * height), round(right * width), round(bottom * height)
    objects = examples()[step["example"]]["objects"]
    left, top, right, bottom = next(one["visible_box"] for one in objects if one["en"] == step["thing"])
    across, down = (right - left) // 4, (bottom - top) // 4
    return left + across, top + down, right - across, bottom - down


def _shown(found: handlers.Run, lang: str) -> str:
    names = found.result.labels
    painted = handlers.colours(names, handlers.slots(names, []))
    return segment_draw.overlay(
        found.image, found.result.mask, names, painted, handlers.OPACITY, lang, found.sure
    )


def at(ask: Callable[[str], handlers.Run], step: Step, lang: str) -> walk.Outcome:
    """Which label wins a place."""
    found = ask(step["labels"][lang])
    left, top, right, bottom = place_of(step, found.result.size)
    inside = found.result.mask[top:bottom, left:right]
    return walk.Outcome(int(np.bincount(inside.ravel()).argmax()), _shown(found, lang))


def share(ask: Callable[[str], handlers.Run], step: Step, lang: str) -> walk.Outcome:
    """How much of the picture a label wins."""
    found = ask(step["labels"][lang])
    index = int(np.searchsorted(SHARES, found.result.shares[step["label"]]))
    return walk.Outcome(index, _shown(found, lang))


def same(ask: Callable[[str], handlers.Run], step: Step, lang: str) -> walk.Outcome:
    """Whether two words win the same place."""
    first, second = ask(step["labels"][lang]), ask(step["other"][lang])
    a, b = first.result.mask == step["label"], second.result.mask == step["other_label"]
    overlap = float((a & b).sum() / max((a | b).sum(), 1))
    said = pick(
        lang, f"Overlap of the two places (IoU): {overlap:.2f}", f"两处的重合度（IoU）：{overlap:.2f}"
    )
    body = f'<div class="atlas-seg-two">{_shown(first, lang)}{_shown(second, lang)}</div><p class="atlas-line">{said}</p>'
    return walk.Outcome(0 if overlap >= SAME else 1, body)


KINDS: dict[str, Callable[[Callable[[str], handlers.Run], Step, str], walk.Outcome]] = {
    "at": at,
    "share": share,
    "same": same,
}


# --- handlers --------------------------------------------------------------------------------------------


def turn_to(where: str, lang: str) -> tuple[Any, ...]:
    """Where we are, the question, its choices, an empty answer, whether there is a next step; picture, labels, example."""
    step = walk.step_of(where, lessons())
    title, number = walk.heading(where, lessons(), lang)
    offered = pick(lang, "Labels: ", "标签：") + step["labels"][lang]
    card = (
        f'<div class="atlas-step"><p><b>{title}</b> <span>{number}</span></p><h3>{html.escape(step["ask"][lang])}</h3>'
        f'<p class="atlas-line">{html.escape(offered)}</p></div>'
    )
    return (
        *walk.turned(where, lessons(), card, choices_of(step, lang)),
        examples()[step["example"]]["path"],
        step["labels"][lang],
        step["example"],
    )


def reveal(
    where: str, predicted: str | None, way: str, plain: str, checkpoint: str, lang: str
) -> tuple[Any, ...]:
    """What happened beside what was predicted, the explanation, and the way onwards."""
    step = walk.step_of(where, lessons())
    choices = choices_of(step, lang)
    guess = walk.prediction(predicted, choices)
    path = examples()[step["example"]]["path"]
    last: list[handlers.Run] = []

    def ask(labels: str) -> handlers.Run:
        last.append(handlers.run(path, labels, way, plain, checkpoint))
        return last[-1]

    start = time.perf_counter()
    outcome = KINDS[step["kind"]](ask, step, lang)
    result = last[-1].result
    line = shell.result_line(time.perf_counter() - start, result.checkpoint, result.device, lang)
    return walk.answered(outcome, guess, choices, step["why"][lang], line, lang)


def walk_tab(common: Common) -> None:
    """Lays the tab out and wires it."""
    filled = [common.picture, common.labels, common.example]
    asked = [common.way, common.plain, common.checkpoint]
    walk.tab(
        common.page,
        IDEA,
        lessons(),
        turn_to,
        reveal,
        asked,
        filled,
        components.mask_stage,
    )
