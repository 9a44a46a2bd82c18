"""*Look inside* of the CLIFS page: where a hit's score comes from, the index on the disk, shapes, code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core import inputs
from demos.clifs import answer as answers
from demos.clifs import draw
from demos.clifs.words import line, say
from demos.kit.html import grid, row, tag

if TYPE_CHECKING:
    from demos.clifs.page import Question


def where_from(question: Question, lang: str) -> dict[str, Any]:
    """The squares of the first image among the hits, and their cosines with the question."""
    answer = answers.run(question)
    hit = next((hit for hit in answer.found.hits if hit.row.kind == "image"), None)
    if hit is None or answer.found.vector is None:
        return {"out": line("no_image", lang), "line": answer.line(lang)}
    table = answer.collection.store.table(answers.space(question.checkpoint).visual)
    pieces = table.pieces(hit.row.root, hit.row.path)
    values = np.array(
        [float(piece.vector @ answer.found.vector) for piece in pieces if piece.vector is not None]
    )
    image = inputs.image(answer.collection.file(hit.row), max_side=512)
    told = line("map_told", lang, whole=values[0], best=float(values.max()), count=len(values) - 1)
    figure = draw.squares(image, [piece.box for piece in pieces], values, lang)
    return {"out": figure + told, "line": answer.line(lang)}


def size(question: Question, lang: str) -> dict[str, Any]:
    """Files, pieces and bytes of the index."""
    answer = answers.run(question)
    stats = answer.found.stats
    part = answers.space(question.checkpoint).visual
    facts = {
        "files": stats.files,
        "pieces": stats.pieces,
        "refused": stats.failed,
        "numbers": part.dims,
        "vector_bytes": 2 * part.dims * stats.pieces,
        "disk_bytes": stats.bytes if stats.bytes is not None else "–",
        "table": part.name,
        "way": say("is_indexed" if stats.is_indexed else "no_index", lang, pieces=stats.pieces),
    }
    lines = [
        row(say(f"fact_{name}", lang), tag("td", f"{value:,}" if isinstance(value, int) else value))
        for name, value in facts.items()
    ]
    return {"out": grid(["", ""], lines) + draw.trade(lang), "line": answer.line(lang)}


def values(question: Question, lang: str) -> tuple[dict[str, Any], str]:
    """What the templates of shapes in data.toml ask for, and the line."""
    answer = answers.run(question)
    found, part = answer.found, answers.space(question.checkpoint).visual
    return {
        "width": part.dims,
        "pieces": found.stats.pieces,
        "files": found.stats.files,
        "hits": found.total,
        "random": len(found.random_fits),
        "level": f"{found.levels[0]:.2f}",
        "best": ", ".join(f"{hit.score:.3f}" for hit in found.hits[:5]),
        "fits": ", ".join(f"{hit.fit:.1f}" for hit in found.hits[:5]),
    }, answer.line(lang)
