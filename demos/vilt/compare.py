"""*Compare* of the ViLT page: the question without the image, the cost of three ways to read an image, the price of retrieval."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core import inputs
from demos.kit import files as files_in
from demos.kit import form, results
from demos.kit.html import tag
from demos.vilt import answer as answers
from demos.vilt import draw
from demos.vilt.words import say, text

if TYPE_CHECKING:
    from demos.vilt.page import Question

MOST = 10_000_000  # of a collection


@dataclass(frozen=True)
class Collection:
    """How many images and texts are to be ranked; COCO's test has 5,000 and 25,000."""

    images: int = form.number(5_000, text("images"), place="top", minimum=1, maximum=MOST)
    texts: int = form.number(25_000, text("texts"), place="top", minimum=1, maximum=MOST)


def prior(question: Question, lang: str) -> dict[str, Any]:
    """The answers to the question with the image, and with a grey square in its place."""
    seen, unseen = answers.blind(question)
    made = draw.side_by_side(
        {
            say("with_image", lang): draw.bars(seen.result, lang),
            say("without_image", lang): draw.bars(unseen, lang),
        }
    )
    same = seen.result.order[0] == unseen.order[0]
    verdict = tag("p", say("prior_same" if same else "prior_other", lang), class_="atlas-hint")
    return {"out": made + verdict, "line": seen.line(lang)}


def cost(question: Question, lang: str) -> dict[str, Any]:
    """Milliseconds of an image read by regions, by a grid and by patches, measured now."""
    from core.vqa.vilt import costs

    start = time.perf_counter()
    measured = costs.measure()
    line = results.line(time.perf_counter() - start, "", "cpu", lang)
    return {"out": draw.cost_table(measured, lang), "line": line}


def retrieval(question: Question, images: int, texts: int, lang: str) -> dict[str, Any]:
    """What ranking every text for every image costs when pairs are read together, and when each is read alone."""
    from core.vqa.vilt.costs import passes

    count, lines = (
        int(inputs.number(name, value or 0, 1, MOST))
        for name, value in (("images", images), ("texts", texts))
    )
    row = answers.model(question.checkpoint)
    image = row.encode(inputs.image(files_in.image_source(question.image)))
    verb = answers.verb_of(row, "match" if "match" in row.tasks else row.tasks[0])
    words = question.text if row.tasks[0] != "fill" else f"{question.text} [MASK]"
    verb(image, words)
    result = verb(image, words)
    each = result.timings["transformer"] / 1000
    pairs, alone = passes(count, lines)
    table = draw.price_table(
        [
            (say("cross_encoder", lang), pairs, pairs * each),
            (say("two_encoders", lang), alone, alone * each),
        ],
        lang,
    )
    told = tag("p", say("price", lang, each=f"{1000 * each:.1f}", times=f"{pairs / alone:,.0f}"))
    return {"out": table + told, "line": results.line(result.seconds, result.checkpoint, result.device, lang)}
