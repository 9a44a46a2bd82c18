"""*Look inside* of the DepthCLIP page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from demos.depthclip.answer import run
from demos.kit import tensors

if TYPE_CHECKING:
    from demos.depthclip.page import Question


def values(question: Question, lang: str) -> tuple[dict[str, Any], str]:
    """What the templates of shapes in data.toml ask for, and the line."""
    answer = run(question)
    result = answer.result
    count, rows, columns = result.probabilities.shape
    found = {
        "seen": f"{result.seen[0]}, {result.seen[1]}",
        "grid": f"{rows}, {columns}",
        "words": count,
        "dimension": result.text_features.shape[1],
        "sentence": result.sentences[0],
        "temperature": result.temperature,
        "map": tensors.shape(result.depth),
        "near": float(result.place_depth.min()),
        "far": float(result.place_depth.max()),
    }
    return found, answer.line(lang)
