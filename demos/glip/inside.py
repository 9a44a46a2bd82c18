"""*Look inside* and *Train it* of the GLIP page: alignment, shapes, code, measured numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core import checkpoints, inputs
from demos.glip import draw
from demos.glip.answer import FLOOR, run
from demos.glip.words import PAPER, data, say, text
from demos.kit import numbers
from demos.kit.html import Markup, join
from demos.kit.language import Text

if TYPE_CHECKING:
    from demos.glip.page import Question

BEST_SCORES = 6  # in the card of the boxes


def alignment(question: Question, lang: str) -> dict[str, Any]:
    """The slots of *Alignment*: both matrices and the line."""
    answer = run(question)
    threshold = inputs.number("threshold", question.threshold)
    matrices = draw.alignment(answer.image, answer.grounding, threshold, lang)
    return {"out": matrices, "line": answer.line(lang)}


def values(question: Question, lang: str) -> tuple[dict[str, Any], str]:
    """What the templates of shapes in data.toml ask for, and the line; nothing for another architecture than GLIP's."""
    from core.detection.glip.network import architectures

    answer = run(question)
    grounding = answer.grounding
    architecture = checkpoints.row(grounding.checkpoint).options.get("architecture", "")
    shape = architectures().get(architecture)
    if shape is None:
        return {}, answer.line(lang)
    levels = [level.shape[1:] for level in answer.encoded.levels]
    high, wide = (side * shape["strides"][0] for side in levels[0])
    best = [f"{value:.3f}" for value in grounding.scores[:BEST_SCORES].tolist()]
    several = len(grounding.prompts)
    longest = Text(say("longest_prompt", "en", count=several), say("longest_prompt", "zh", count=several))
    found = {
        "high": high,
        "wide": wide,
        "levels": len(levels),
        "places": " + ".join(f"{rows} × {columns}" for rows, columns in levels),
        "maps": ", ".join(f"[1, {shape['channels']}, {rows}, {columns}]" for rows, columns in levels),
        "regions": sum(rows * columns for rows, columns in levels),
        "width": shape["channels"],
        "words": max(end - first for first, end in grounding.prompts),
        "text_width": shape["language"]["width"],
        "prompts": longest if several > 1 else text("one_prompt"),
        "blocks": shape["head"]["blocks"],
        "heads": shape["head"]["fusion_heads"],
        "phrases": len(grounding.phrases),
        "first_phrases": ", ".join(
            f"{one.text} = {list(one.words)}" for one in grounding.phrases[:BEST_SCORES]
        ),
        "boxes": len(grounding.boxes),
        "best": ", ".join([*best, "…"] if len(grounding.scores) > BEST_SCORES else best),
        "floor": FLOOR,
    }
    return found, answer.line(lang)


def training(lang: str) -> Markup:
    """*Train it*: the steps of self-training, the ablations, the miniature's other numbers beside the published ones."""
    rows = numbers.report_rows(PAPER, lang)
    compared: dict[str, list[dict[str, Any]]] = {table["measure"]: [] for table in data()["compared"]}
    plain: list[dict[str, Any]] = []
    for row in rows:
        compared.get(row["measure"].partition(":")[0], plain).append(row)
    tables = join(
        draw.comparison(table["title"][lang], compared[table["measure"]], lang)
        for table in data()["compared"]
    )
    steps = draw.training(data()["training"], rows, lang)
    return steps + tables + numbers.number_table(data()["published"], plain, lang)
