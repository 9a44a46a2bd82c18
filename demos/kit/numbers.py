"""Numbers of a paper: the rows of the report card, and a table of them beside the published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from demos.kit import library
from demos.kit.html import Markup, escape, grid, row, tag
from demos.kit.language import pick

Row = Mapping[str, Any]


def report_rows(paper: str, lang: str) -> list[dict[str, Any]]:
    """The rows of a paper on the report card, with "title" and "split_title", the names of measure and split."""
    from core.classroom import report

    return [
        {**row, "title": report.named(row["measure"], lang), "split_title": report.named(row["split"], lang)}
        for row in report.rows()
        if row["paper"] == paper
    ]


def of_page(page: str, lang: str) -> Markup:
    """The report card's numbers of a page's paper, then those of the table `published` of its data.toml."""
    return number_table(library.data(page)["published"], report_rows(page, lang), lang)


def number_table(published: Sequence[Mapping[str, Any]], ours: Sequence[Row], lang: str) -> Markup:
    """The report card's numbers of the miniature, then the published ones, marked as such."""
    code = "zh" if lang == "zh" else "en"
    body = []
    for one in ours:
        name = escape(one["title"]) + " " + tag("small", f"{one['split_title']}, {one['language']}")
        source = tag("td", f"{pick(lang, 'measured here', '本仓库测得')}: ", tag("code", one["command"]))
        body.append(row(name, tag("td", f"{one['value']:.3f}"), source, kind="ours"))
    for one in published:
        source = tag("td", f"{pick(lang, 'published', '已发表')}: {one['source'][code]}")
        body.append(row(one["what"][code], tag("td", one["value"]), source, kind="published"))
    head = pick(lang, "measure", "指标"), pick(lang, "value", "数值"), pick(lang, "source", "来源")
    note = tag("p", library.kit("not_comparable", lang), class_="atlas-line")
    return grid(head, body, "atlas-published") + note
