"""The lessons of the ViLT page: how the outcome of a step is computed by the chosen checkpoint."""

from __future__ import annotations

from typing import Any

from demos.kit.html import tag
from demos.kit.walkthrough import Case, Outcome
from demos.vilt import draw
from demos.vilt.answer import language, model
from demos.vilt.words import say


def texts(case: Case, name: str = "text") -> str:
    """The text of a step in a language of the checkpoint."""
    return str(case.step[name][language(case.checkpoint, case.lang)])


def prior(case: Case) -> Outcome:
    """How certain the model is of its answer to a question without the image."""
    row = model(case.checkpoint)
    seen, unseen = row.answer(case.image, texts(case)), row.answer(None, texts(case))
    body = draw.side_by_side(
        {
            say("with_image", case.lang): draw.bars(seen, case.lang),
            say("without_image", case.lang): draw.bars(unseen, case.lang),
        }
    )
    return Outcome(int(seen.order[0] != unseen.order[0]), body)


def other_question(case: Case) -> Outcome:
    """Whether the same image gets another answer to another question."""
    row = model(case.checkpoint)
    first, second = row.answer(case.image, texts(case)), row.answer(case.image, texts(case, "other"))
    body = draw.side_by_side(
        {texts(case): draw.bars(first, case.lang), texts(case, "other"): draw.bars(second, case.lang)}
    )
    return Outcome(int(first.order[0] == second.order[0]), body)


def cheapest(case: Case) -> Outcome:
    """Which way of reading an image takes least time before the transformer, measured now."""
    from core.vqa.vilt import costs

    measured = costs.measure()
    least = min(range(len(measured)), key=lambda at: measured[at].embedding)
    return Outcome(least, draw.cost_table(measured, case.lang))


def pairs(case: Case) -> Outcome:
    """How many passes ranking 5,000 images and 25,000 texts takes."""
    from core.vqa.vilt.costs import passes

    together, alone = passes(5_000, 25_000)
    told: Any = tag("p", say("passes_of", case.lang, pairs=f"{together:,}", alone=f"{alone:,}"))
    return Outcome(0 if together < 10 * alone else 1 if together < 1000 * alone else 2, told)


KINDS = {kind.__name__: kind for kind in (prior, other_question, cheapest, pairs)}
