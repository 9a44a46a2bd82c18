"""*Compare* and *Look inside* of the PointCLIP page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from demos.draw import base
from demos.kit import tensors
from demos.pointclip import draw
from demos.pointclip.answer import rows_of, run
from demos.pointclip.words import say

if TYPE_CHECKING:
    from demos.pointclip.page import Question

SIDES = ("v1", "v2")


def both(question: Question, lang: str) -> dict[str, Any]:
    """The same cloud and labels under both projections."""
    answers = [run(question, name) for name in SIDES]
    columns = [
        (
            say(f"side_{name}", lang),
            base.probability_bars(rows_of(answer.result), lang, 5)
            + draw.views(answer.result, answer.projection, lang),
        )
        for name, answer in zip(SIDES, answers, strict=True)
    ]
    return {"out": draw.both(columns), "line": answers[-1].line(lang)}


def values(question: Question, lang: str) -> tuple[dict[str, Any], str]:
    """What the templates of shapes in data.toml ask for, and the line."""
    answer = run(question)
    result = answer.result
    views, height, width = result.views.shape
    found = {
        "points": len(answer.cloud.points),
        "view_count": views,
        "side": f"{height}, {width}",
        "dimension": result.text_features.shape[1],
        "labels": len(result.labels),
        "template": result.template,
        "scale": result.logit_scale,
        "covered": float((result.views != result.views[0, 0, 0]).mean()),
        "depths": tensors.shape(result.views),
        "best": ", ".join(f"{value:.2f}" for value in result.view_logits.max(1).tolist()),
    }
    return found, answer.line(lang)
