"""The report card: what every miniature reached, paper by paper, as it is recorded in `assets/report_card.json`.

A paper appears as soon as it has rows there; nothing here knows which papers there are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import gradio as gr

from core.classroom import report
from core.classroom.report import Card, Line
from core.errors import Refusal
from demos import catalog
from demos.draw import base as draw
from demos.kit import headline, library
from demos.kit.components import code_of, output
from demos.kit.events import api_errors
from demos.kit.files import downloads
from demos.kit.html import escape
from demos.kit.language import Text, both, both_of

words = partial(library.html, "report")
LANGUAGES = library.options("report", "languages")
FIELDS = library.options("report", "fields")
# Of the chart's columns, from the theme; a fifth begins again. Both languages of the second checkpoint are paler.
COLOURS = (
    "var(--atlas-bar)",
    "var(--atlas-mark)",
    "color-mix(in srgb, var(--atlas-bar) 45%, var(--atlas-paper))",
    "color-mix(in srgb, var(--atlas-mark) 45%, var(--atlas-paper))",
)
EMPTY = "<td></td>"


def report_rows(paper: str | None = None) -> list[dict[str, Any]]:
    """Every measured row of the report card.

    Args:
        paper: the slug of one paper ("clip"); all papers when left out.

    Returns:
        Rows {"paper", "measure", "split", "language", "value", "unit", "checkpoint", "published", "command", "seed",
        "commit", "minutes", "hardware"}; "minutes" is the training time, "command" measures the row again.
    """
    with api_errors():
        found = report.rows()
        known = list(dict.fromkeys(row["paper"] for row in found))
        if paper is not None and paper not in known:
            raise Refusal("unknown_paper", name=str(paper)[:40], known=", ".join(known))
        return [row for row in found if paper in (None, row["paper"])]


def build() -> None:
    """Lays the page out; it has no handlers, because everything on it is recorded."""
    rows = report.rows()
    order = {row.slug: at for at, row in enumerate(catalog.PAGES)}
    cards = sorted(report.cards(rows), key=lambda card: order.get(card.paper, len(order)))
    output("report", whole(cards, rows), js_on_load=code_of("report.js"))
    gr.api(report_rows, api_name="report_rows")


def whole(cards: Sequence[Card], rows: Sequence[dict[str, Any]]) -> str:
    """Everything on the page: how to read it, downloads, the choice of papers, and a card each."""
    files = [
        ("report_card.json", "application/json", draw.to_json(rows).encode()),
        ("report_card.csv", "text/csv", to_csv(rows).encode("utf-8-sig")),
    ]
    papers = [
        ("", words("all"), len(rows)),
        *((c.paper, title(c), len(c.rows)) for c in cards),
    ]
    choice = "".join(
        f'<button type="button" class="atlas-chip" data-only="{escape(paper)}" aria-pressed="{str(not paper).lower()}">'
        f"{name} <small>{count}</small></button>"
        for paper, name, count in papers
    )
    return (
        f'<div class="atlas-report"><p class="atlas-report-note">{words("note")}</p>{downloads(files)}'
        f'<p class="atlas-downloads">{words("show")} {choice}</p>{"".join(map(section, cards))}</div>'
    )


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """The rows with a head; a cell that a spreadsheet would run as a formula is disarmed."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(report.FIELDS)
    for row in rows:
        cells = ["" if row[name] is None else str(row[name]) for name in report.FIELDS]
        writer.writerow(["'" + cell if cell[:1] in ("=", "+", "@") else cell for cell in cells])
    return buffer.getvalue()


# --- one paper -----------------------------------------------------------------------------------------------


def title(card: Card) -> str:
    """The name of a card's page, or its slug where there is none."""
    row = next((row for row in catalog.PAGES if row.slug == card.paper), None)
    return both_of(row.title) if row else escape(card.paper)


def section(card: Card) -> str:
    """A paper: its lesson, chart, table, what was counted, how to measure again, and all that is recorded."""
    row = next((row for row in catalog.PAGES if row.slug == card.paper), None)
    lesson = card.lesson or ({"en": row.idea.en, "zh": row.idea.zh} if row else {"en": "", "zh": ""})
    name = f'<a href="{row.slug}">{title(card)}</a>' if row and row.ready else title(card)
    reached, bars = card.marked
    score = both(
        f"{reached} of {bars} goals reached in every column",
        f"{bars} 个目标中有 {reached} 个在每一列都达到",
    )
    commands = "".join(
        f'<div class="atlas-command"><pre id="command-{card.paper}-{at}" tabindex="0">{escape(command)}</pre>'
        f'<button type="button" class="atlas-chip" data-copy="command-{card.paper}-{at}">{words("copy")}</button></div>'
        for at, command in enumerate(card.commands)
    )
    return (
        f'<section class="atlas-paper-card" id="report-{card.paper}" data-paper="{escape(card.paper)}"><h2>{name}</h2>'
        f'<div class="atlas-report-head">{headline.figure(card)}<div><p class="atlas-idea">{both_of(Text(**lesson))}</p>'
        f"{f'<p class=atlas-score>{score}</p>' if bars else ''}</div></div>{chart(card)}"
        f'<details class="atlas-measures"><summary>{words("measures")}</summary>'
        f"{table(card)}{counted(card)}"
        f"<h3>{words('again')}</h3>{commands}{training(card)}{recorded(card)}</details></section>"
    )


def table(card: Card) -> str:
    """The lines with a column a checkpoint and language; beside them chance, bar and published number."""
    checkpoints = list(dict.fromkeys(checkpoint for checkpoint, _ in card.columns))
    extra = [
        ("chance", both("Chance", "随机猜测"), any(line.chance is not None for line in card.lines)),
        ("bar", both("Goal", "目标"), any(line.bar is not None for line in card.lines)),
        ("published", both("Published", "论文公布"), any(line.published is not None for line in card.lines)),
    ]
    shown = [(name, title) for name, title, used in extra if used]
    spans = "".join(
        f'<th scope="colgroup" colspan="{sum(c == name for c, _ in card.columns)}">{escape(name)}</th>'
        for name in checkpoints
    )
    heads = "".join(f'<th scope="col">{_language(lang)}</th>' for _, lang in card.columns)
    first = both("Measure", "指标")
    sides = "".join(f'<th scope="col" rowspan="2">{title}</th>' for _, title in shown)
    names = [name for name, _ in shown]
    body = "".join(
        _group(measure, [line for line in card.lines if line.measure == measure], card, names)
        for measure in dict.fromkeys(line.measure for line in card.lines)
    )
    return _scrolls(
        words("scrolls"),
        f'<thead><tr><th scope="col" rowspan="2">{first}</th>{spans}{sides}</tr><tr>{heads}</tr></thead>{body}',
    )


def _scrolls(name: str, inner: str) -> str:
    """A table in a box of its own that scrolls, also by keyboard."""
    return (
        f'<div class="atlas-scroll" tabindex="0" role="region"><span class="atlas-only-read">{name}</span>'
        f'<table class="atlas-grid">{inner}</table></div>'
    )


def _language(lang: str) -> str:
    return both_of(LANGUAGES[lang]) if lang in LANGUAGES else escape(str(lang))


def _group(measure: str, lines: Sequence[Line], card: Card, extra: Sequence[str]) -> str:
    """The lines of one measure: under its name, or one line with both names."""
    if len(lines) == 1:
        name = f"{_name(measure)}<small>{split_name(lines[0])}</small>"
        return f"<tbody>{_row(name, lines[0], card, extra)}</tbody>"
    head = f'<tr class="measure"><th scope="rowgroup" colspan="{1 + len(card.columns) + len(extra)}">{_name(measure)}</th></tr>'
    return f"<tbody>{head}{''.join(_row(split_name(line), line, card, extra) for line in lines)}</tbody>"


def _row(name: str, line: Line, card: Card, extra: Sequence[str]) -> str:
    cells = "".join(_value(line, line.values.get(column)) for column in card.columns)
    bar = EMPTY
    if line.bar is not None:
        aim = f"<small>{both('aim', '争取')} {number(line.aim, line.unit)}</small>" if line.aim else ""
        least = "" if line.unit.startswith("yes") else "≥ "
        bar = f"<td>{least}{number(line.bar, line.unit)}{aim}</td>"
    chance = EMPTY if line.chance is None else f"<td>{number(line.chance, line.unit)}</td>"
    published = EMPTY
    if line.published is not None:
        note = f"<small>{both_of(Text(**line.note))}</small>" if line.note else ""
        published = f"<td>{number(line.published, line.unit)}{note}</td>"
    sides = {"chance": chance, "bar": bar, "published": published}
    return f'<tr><th scope="row">{name}</th>{cells}{"".join(sides[name] for name in extra)}</tr>'


def _value(line: Line, value: float | None) -> str:
    if value is None:
        return EMPTY
    share = f' style="--share:{100 * min(max(value, 0), 1):.1f}%"' if line.unit == "share" else ""
    reached = line.bar is not None and value >= line.bar
    mark = f'<span aria-hidden="true">✓ </span><span class="atlas-only-read">{both("goal reached", "已达目标")}: </span>'
    return f"<td{' class=best' if reached else ''}{share}>{mark if reached else ''}{number(value, line.unit)}</td>"


def number(value: float | str, unit: str) -> str:
    """A value as people read it: shares as percent, yes or no, anything else with its unit."""
    if isinstance(value, str):
        return escape(value)
    if unit == "share":
        if 0 < value < 0.0005:
            return f"{100 * value:.2g}%"
        return f"{value:.1%}"
    if unit.startswith("yes"):
        return both("yes", "是") if value >= 1 else both("no", "否")
    return f"{value:.4g} {escape(unit)}"


def split_name(line: Line) -> str:
    """What a line was measured on; labels that differ between the languages are both shown, each in its own."""
    words = dict.fromkeys(line.splits.values())
    if len(words) == 1:
        return _name(next(iter(words)))
    tags = {"en": "en", "zh": "zh-CN"}
    return " / ".join(
        f'<span class="atlas-said" lang="{tags.get(lang, "en")}">{escape(split)}</span>'
        for lang, split in line.splits.items()
    )


def _name(word: str) -> str:
    return both_of(Text(report.named(word, "en"), report.named(word, "zh")))


def counted(card: Card) -> str:
    """Events that were counted, such as pairs of labels taken for one another, by language."""
    parts = []
    for measure in dict.fromkeys(row["measure"] for row in card.counted):
        items = "".join(
            f'<li class="atlas-chip atlas-said" lang="{"zh-CN" if row["language"] == "zh" else "en"}">'
            f"{escape(row['split']).replace('&gt;', '→')} ×{row['value']:g}</li>"
            for row in card.counted
            if row["measure"] == measure
        )
        parts.append(f'<h3>{_name(measure)}</h3><ul class="atlas-counted">{items}</ul>')
    return "".join(parts)


def training(card: Card) -> str:
    """What each checkpoint was trained with."""
    facts = ""
    for row in card.training:
        what: list[str] = []
        if row["minutes"] is not None:
            what.append(both(f"{row['minutes']:g} minutes", f"{row['minutes']:g} 分钟"))
        what += [escape(str(row["hardware"]))] if row["hardware"] else []
        what.append(
            f"{both('measured at commit', '测量时的提交')} <code>{escape(str(row['commit']))}</code>, "
            f"{both('seed', '种子')} {escape(str(row['seed']))}"
        )
        facts += f"<dt>{escape(row['checkpoint'])}</dt><dd>{' · '.join(what)}</dd>"
    return f"<h3>{both('Trained with', '训练条件')}</h3><dl class='atlas-facts'>{facts}</dl>"


def recorded(card: Card) -> str:
    """Every row of the card with all its fields as they are in the file, behind a summary."""
    names = [name for name in report.FIELDS if name != "paper"]
    heads = "".join(f'<th scope="col">{both_of(FIELDS[name])}</th>' for name in names)
    body = "".join(
        f"<tr>{''.join(f'<td>{_plain(row[name])}</td>' for name in names)}</tr>" for row in card.rows
    )
    count = len(card.rows)
    label = both(
        f"Every row with every field, as recorded ({count})", f"全部原始记录，含所有字段（{count} 行）"
    )
    inner = f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody>"
    scroll = _scrolls(words("recorded"), inner)
    return f'<details class="atlas-recorded"><summary>{label}</summary>{scroll}</details>'


def _plain(value: Any) -> str:
    return "" if value is None else escape(f"{value:g}" if isinstance(value, float) else str(value))


def chart(card: Card) -> str:
    """The measure with most splits as bars, a group a split; its bar to reach as a tick. Nothing below three splits.

    The table says the same, so a screen reader passes over the bars.
    """
    shares = [line for line in card.lines if line.unit == "share" and len(set(line.splits.values())) == 1]
    measures = [line.measure for line in shares]
    best = max(dict.fromkeys(measures), key=measures.count, default="")
    lines = [line for line in shares if line.measure == best]
    if len(lines) < 3:
        return ""
    colours = {column: COLOURS[at % len(COLOURS)] for at, column in enumerate(card.columns)}
    rows = "".join(f"<span>{split_name(line)}</span><div>{_bars(line, colours)}</div>" for line in lines)
    names = "".join(
        f'<li><i style="background:{colour}"></i>{escape(checkpoint)}, {_language(lang)}</li>'
        for (checkpoint, lang), colour in colours.items()
    )
    goal = f'<li><i class="goal"></i>{both("goal", "目标")}</li>'
    goals = goal if any(line.bar is not None for line in lines) else ""
    return (
        f'<figure class="atlas-chart"><figcaption><strong>{_name(best)}</strong>'
        f'<ul class="atlas-legend">{names}{goals}</ul></figcaption>'
        f'<div class="atlas-chart-rows" aria-hidden="true">{rows}</div></figure>'
    )


def _bars(line: Line, colours: Mapping[tuple[str, str], str]) -> str:
    """The bars of one line, and its tick."""
    bars = "".join(
        f'<i style="width:{100 * min(max(line.values[column], 0), 1):.1f}%;background:{colour}">'
        f"<b>{line.values[column]:.0%}</b></i>"
        for column, colour in colours.items()
        if column in line.values
    )
    return bars + (f'<u style="--at:{line.bar:g}"></u>' if line.bar is not None else "")


PAGE = catalog.page("report", build)
