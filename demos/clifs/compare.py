"""*Compare* on the CLIFS page: with and without squares; an index against comparing everything."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from demos.clifs import answer as answers
from demos.clifs import draw
from demos.clifs.words import line, say
from demos.kit.html import Markup, join, tag

if TYPE_CHECKING:
    from core.search.query import Found
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
    first = answers.run(question)  # reads what the others remember
    every, usual = (answers.ask(question, first.collection, exact=way).found for way in (True, False))
    return {"out": both_ways(every, usual, lang), "line": first.line(lang)}


def both_ways(every: Found, usual: Found, lang: str) -> Markup:
    """How many hits comparing every vector and the usual way share, and how long each takes."""
    shared = len({hit.row.id for hit in every.hits} & {hit.row.id for hit in usual.hits})
    times = {"exact": every.timings["search"], "indexed": usual.timings["search"]}
    told = tag("p", say("exact_told", lang, shared=shared, count=len(every.hits), **times))
    kind = "is_indexed" if usual.stats.is_indexed else "no_index"
    return told + line(kind, lang, pieces=usual.stats.pieces)
