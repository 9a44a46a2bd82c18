"""Numbers of a paper: the rows of the report card, and a table of them beside the published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from demos.kit.html import Markup, grid, tag
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


def number_table(published: Sequence[Mapping[str, Any]], ours: Sequence[Row], lang: str) -> Markup:
    """The report card's numbers of the miniature, then the published ones, marked as such."""
    code = "zh" if lang == "zh" else "en"
    body = []
    for row in ours:
        name = row["title"], " ", tag("small", f"{row['split_title']}, {row['language']}")
        source = f"{pick(lang, 'measured here', '本仓库测得')}: ", tag("code", row["command"])
        value = f"{row['value']:.3f}"
        body.append(
            tag("tr", tag("th", *name, scope="row"), tag("td", value), tag("td", *source), class_="ours")
        )
    for row in published:
        source_line = f"{pick(lang, 'published', '已发表')}: {row['source'][code]}"
        cells = (
            tag("th", row["what"][code], scope="row"),
            tag("td", row["value"]),
            tag("td", source_line),
        )
        body.append(tag("tr", *cells, class_="published"))
    head = pick(lang, "measure", "指标"), pick(lang, "value", "数值"), pick(lang, "source", "来源")
    note = pick(
        lang,
        "Do not compare the rows with each other: some were measured on photos, the others on drawn scenes.",
        "各行之间不能直接比较：有的在照片上测得，有的在绘制的场景上测得。",
    )
    return grid(head, body, "atlas-published") + tag("p", note, class_="atlas-line")
