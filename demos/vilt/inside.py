"""*Look inside* of the ViLT page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from demos.vilt.answer import run

if TYPE_CHECKING:
    from demos.vilt.page import Question


def values(question: Question, lang: str) -> tuple[dict[str, Any], str]:
    """What the templates of shapes in data.toml ask for, and the line."""
    answer = run(question)
    result = answer.result
    rows, columns = result.grid
    words = len(result.tokens)
    return {
        "seen": f"{result.seen[1]}, {result.seen[0]}",
        "grid": f"{rows}, {columns}",
        "patches": rows * columns,
        "images": rows * columns + 1,
        "words": words,
        "inner": words - 2,
        "all": words + rows * columns + 1,
        "width": result.pooled.shape[0],
        "tokens": " ".join(result.tokens),
        "distance": result.aligned.distance,
    }, answer.line(lang)
