"""The GLIPv2 page: facts alone, because its weights were never released; what it adds to GLIP, and what runs instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from demos import catalog
from demos.kit import library
from demos.kit.components import output
from demos.kit.html import Markup, join, tag
from demos.kit.language import Text, both

ADDS = Text("What it adds to GLIP", "它在 GLIP 之上增加了什么")
INSTEAD = Text("What you can run today", "今天可以运行什么")


def _card(row: Mapping[str, Any]) -> Markup:
    """One fact, with a link where it has one."""
    link = ""
    if "link" in row:
        link = tag("p", tag("a", both(**row["word"]), " →", class_="atlas-chip", href=row["link"]))
    return tag("li", tag("b", both(**row["title"])), both(**row["text"]), link)


def body() -> Markup:
    """The page as HTML in both languages."""
    facts = library.data("glipv2")
    status = facts["status"]
    title = tag("strong", both(**status["title"]))
    parts = [tag("p", title, Markup("<br>"), both(**status["text"]), class_="atlas-verdict none")]
    for heading, rows in ((ADDS, facts["adds"]), (INSTEAD, facts["instead"])):
        parts.append(tag("h2", both(heading.en, heading.zh)))
        parts.append(tag("ul", join(map(_card, rows)), class_="gl-way"))
    return tag("div", *parts, class_="gl-facts")


def build() -> None:
    """Lays the page out; nothing on it runs."""
    output("glipv2", body())


PAGE = catalog.page("glipv2", build)
