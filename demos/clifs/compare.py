"""*Compare* on the CLIFS page: with and without squares; an index against comparing everything."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from demos.clifs import answer as answers
from demos.clifs import draw
from demos.clifs.words import line, say
from demos.kit.html import join, tag

if TYPE_CHECKING:
    from demos.clifs.page import Question


def patches(question: Question, lang: str) -> dict[str, Any]:
    """The same question with squares, as CLIFS has them, and with whole frames alone."""
    first = answers.run(replace(question, patches=True, page=1))
    second = answers.ask(replace(question, patches=False, page=1), first.collection)
    parts = [
        tag("p", tag("b", say(name, lang))) + draw.hit_table(answer.found, lang)
        for name, answer in (("with_patches", first), ("without_patches", second))
    ]
    return {"out": join(parts), "line": second.line(lang)}


def exact(question: Question, lang: str) -> dict[str, Any]:
    """The same question by comparing every vector and by the index, where there is one."""
    first = answers.run(question)
    lists, times = [], []
    for is_exact in (True, False):
        start = time.perf_counter()
        lists.append(
            [hit.row.id for hit in answers.ask(question, first.collection, exact=is_exact).found.hits]
        )
        times.append(1000 * (time.perf_counter() - start))
    shared = len(set(lists[0]) & set(lists[1]))
    stats = first.found.stats
    told = say("exact_told", lang, shared=shared, count=len(lists[0]), exact=times[0], indexed=times[1])
    kind = line("is_indexed" if stats.is_indexed else "no_index", lang, pieces=stats.pieces)
    return {"out": tag("p", told) + kind, "line": first.line(lang)}
