"""The report card: what every miniature reached, paper by paper, as it is recorded in `assets/report_card.json`.

A paper appears as soon as it has rows there; nothing here knows which papers there are.
"""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence
from typing import Any

import gradio as gr

from core.classroom import report
from core.classroom.report import Card, Line
from core.errors import Refusal
from demos import catalog, draw, shell
from demos.language import both, both_of
from demos.page import Text

LANGUAGES = {"en": Text("English", "英文"), "zh": Text("Chinese", "中文")}
ROW, BAR, LABEL, TRACK = 14, 11, 190, 400  # of the chart, in its own units
COLOURS = ("bar", "mark", "accent", "muted")  # of the chart's columns, from the theme; a fifth begins again
EMPTY = "<td></td>"


def report_rows(paper: str | None = None) -> list[dict[str, Any]]:
    """Every measured row of the report card.

    Args:
        paper: the slug of one paper ("clip"); all papers when left out.

    Returns:
        Rows {"paper", "measure", "split", "language", "value", "unit", "checkpoint", "published", "command", "seed",
        "commit", "minutes", "hardware"}; "minutes" is the training time, "command" measures the row again.
    """
    with shell.api_errors():
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
    files = [
        ("report_card.json", "application/json", draw.to_json(rows).encode()),
        ("report_card.csv", "text/csv", to_csv(rows).encode("utf-8-sig")),
    ]
    note = both(
        "Every figure was measured by the command under its table, on scenes from seeds that no training uses. A published "
        "number belongs to a full-size model on other data: it says what the row is about, not what it should equal.",
        "每个数字都由表格下方的命令测得，所用场景的种子不参与任何训练。“论文公布”一栏是完整模型在别的数据上的结果："
        "它说明这一行在考什么，不是要达到的数值。",
    )
    body = "".join(section(card) for card in cards)
    gr.HTML(
        f'<div class="atlas-report"><p class="atlas-line">{note}</p>{shell.downloads(files)}{body}</div>',
        padding=False,
        apply_default_css=False,
        elem_id="report",
    )
    gr.api(report_rows, api_name="report_rows")


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


def section(card: Card) -> str:
    """A paper: its lesson, chart, table, what was counted, and how to measure again."""
    row = next((row for row in catalog.PAGES if row.slug == card.paper), None)
    title = both_of(row.title) if row else html.escape(card.paper)
    if row and row.ready:
        title = f'<a href="{row.slug}">{title}</a>'
    lesson = card.lesson or ({"en": row.idea.en, "zh": row.idea.zh} if row else {"en": "", "zh": ""})
    commands = "".join(
        f'<div class="atlas-command"><pre id="command-{card.paper}-{at}" tabindex="0">{html.escape(command)}</pre>'
        f'<button type="button" class="atlas-chip" data-copy="command-{card.paper}-{at}">{both("Copy", "复制")}</button></div>'
        for at, command in enumerate(card.commands)
    )
    return (
        f'<section class="atlas-paper-card" id="report-{card.paper}"><h2>{title}</h2>'
        f'<p class="atlas-idea">{_pair(lesson)}</p>{chart(card)}{table(card)}{counted(card)}'
        f"<h3>{both('Measure it again', '重新测一遍')}</h3>{commands}{training(card)}</section>"
    )


def table(card: Card) -> str:
    """The lines with a column a checkpoint and language; beside them chance, bar and published number."""
    checkpoints = list(dict.fromkeys(checkpoint for checkpoint, _ in card.columns))
    extra = [
        ("chance", both("Guessing", "瞎猜"), any(line.chance is not None for line in card.lines)),
        ("bar", both("Bar", "目标"), any(line.bar is not None for line in card.lines)),
        ("published", both("Published", "论文公布"), any(line.published is not None for line in card.lines)),
    ]
    shown = [(name, title) for name, title, used in extra if used]
    spans = "".join(
        f'<th scope="colgroup" colspan="{sum(c == name for c, _ in card.columns)}">{html.escape(name)}</th>'
        for name in checkpoints
    )
    heads = "".join(
        f'<th scope="col">{both_of(LANGUAGES[lang]) if lang in LANGUAGES else html.escape(str(lang))}</th>'
        for _, lang in card.columns
    )
    first = both("Measure", "指标")
    sides = "".join(f'<th scope="col" rowspan="2">{title}</th>' for _, title in shown)
    body = "".join(_row(line, card, [name for name, _ in shown]) for line in card.lines)
    name = both("Measured rows, scrolls sideways", "测量结果，可横向滚动")
    return (
        f'<div class="atlas-scroll" tabindex="0" role="region"><span class="atlas-only-read">{name}</span>'
        f'<table class="atlas-grid"><thead><tr><th scope="col" rowspan="2">{first}</th>{spans}{sides}</tr>'
        f"<tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(line: Line, card: Card, extra: Sequence[str]) -> str:
    cells = "".join(_value(line, line.values.get(column)) for column in card.columns)
    bar = EMPTY
    if line.bar is not None:
        aim = f"<small>{both('aim', '争取')} {number(line.aim, line.unit)}</small>" if line.aim else ""
        bar = f"<td>≥ {number(line.bar, line.unit)}{aim}</td>"
    chance = EMPTY if line.chance is None else f"<td>{number(line.chance, line.unit)}</td>"
    published = EMPTY
    if line.published is not None:
        note = f"<small>{_pair(line.note)}</small>" if line.note else ""
        published = f"<td>{number(line.published, line.unit)}{note}</td>"
    sides = {"chance": chance, "bar": bar, "published": published}
    return (
        f'<tr><th scope="row">{_name(line.measure)}<small>{split_name(line)}</small></th>{cells}'
        f"{''.join(sides[name] for name in extra)}</tr>"
    )


def _value(line: Line, value: float | None) -> str:
    if value is None:
        return EMPTY
    share = f' style="--share:{100 * min(max(value, 0), 1):.1f}%"' if line.unit == "share" else ""
    reached = line.bar is not None and value >= line.bar
    mark = f'<span aria-hidden="true">✓ </span><span class="atlas-only-read">{both("bar reached", "已达目标")}: </span>'
    return f"<td{' class=best' if reached else ''}{share}>{mark if reached else ''}{number(value, line.unit)}</td>"


def number(value: float | str, unit: str) -> str:
    """A value as people read it: shares as percent, yes or no, anything else with its unit."""
    if isinstance(value, str):
        return html.escape(value)
    if unit == "share":
        if 0 < value < 0.0005:
            return f"{100 * value:.2g}%"
        return f"{value:.1%}"
    if unit.startswith("yes"):
        return both("yes", "是") if value >= 1 else both("no", "否")
    return f"{value:.4g} {html.escape(unit)}"


def split_name(line: Line) -> str:
    """What a line was measured on; labels that differ between the languages are both shown, each in its own."""
    words = dict.fromkeys(line.splits.values())
    if len(words) == 1:
        return _name(next(iter(words)))
    tags = {"en": "en", "zh": "zh-CN"}
    return " / ".join(
        f'<span class="atlas-said" lang="{tags.get(lang, "en")}">{html.escape(split)}</span>'
        for lang, split in line.splits.items()
    )


def _name(word: str) -> str:
    return both(html.escape(report.named(word, "en")), html.escape(report.named(word, "zh")))


def _pair(texts: dict[str, str]) -> str:
    return both(html.escape(texts["en"]), html.escape(texts["zh"]))


def counted(card: Card) -> str:
    """Events that were counted, such as pairs of labels taken for one another, by language."""
    parts = []
    for measure in dict.fromkeys(row["measure"] for row in card.counted):
        items = "".join(
            f'<li class="atlas-chip atlas-said" lang="{"zh-CN" if row["language"] == "zh" else "en"}">'
            f"{html.escape(row['split']).replace('&gt;', '→')} ×{row['value']:g}</li>"
            for row in card.counted
            if row["measure"] == measure
        )
        parts.append(f'<h3>{_name(measure)}</h3><ul class="atlas-counted">{items}</ul>')
    return "".join(parts)


def training(card: Card) -> str:
    """What each checkpoint was trained with."""
    facts = ""
    for checkpoint, row in card.training.items():
        what = []
        if row["minutes"] is not None:
            what.append(both(f"{row['minutes']:g} minutes", f"{row['minutes']:g} 分钟"))
        what += [html.escape(str(row["hardware"]))] if row["hardware"] else []
        what.append(
            f"{both('measured at commit', '测量时的提交')} <code>{html.escape(str(row['commit']))}</code>, "
            f"{both('seed', '种子')} {row['seed']}"
        )
        facts += f"<dt>{html.escape(checkpoint)}</dt><dd>{' · '.join(what)}</dd>"
    return f"<h3>{both('Trained with', '训练条件')}</h3><dl class='atlas-facts'>{facts}</dl>"


def chart(card: Card) -> str:
    """The measure with most splits as bars, a group a split; its bar to reach as a tick. Nothing below three splits."""
    shares = [line for line in card.lines if line.unit == "share" and len(set(line.splits.values())) == 1]
    measures = [line.measure for line in shares]
    best = max(dict.fromkeys(measures), key=measures.count, default="")
    lines = [line for line in shares if line.measure == best]
    if len(lines) < 3:
        return ""
    group = BAR * len(card.columns) + ROW
    parts = []
    for at, line in enumerate(lines):
        top = group * at + 4
        middle = top + BAR * len(card.columns) / 2 + 4
        split = next(iter(line.splits.values()))
        parts += [
            f'<text class="l-{lang}" x="{LABEL - 10}" y="{middle:.1f}" text-anchor="end">'
            f"{html.escape(report.named(split, lang))}</text>"
            for lang in ("en", "zh")
        ]
        for column, name in enumerate(card.columns):
            value = line.values.get(name)
            if value is None:
                continue
            y, width = top + BAR * column, TRACK * min(max(value, 0), 1)
            colour = COLOURS[column % len(COLOURS)]
            parts.append(
                f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR - 1}" rx="2" fill="var(--atlas-{colour})"/>'
                f'<text class="small" x="{LABEL + width + 5:.1f}" y="{y + BAR - 2}">{value:.0%}</text>'
            )
        if line.bar is not None:
            x, bottom = LABEL + TRACK * line.bar, top + BAR * len(card.columns) + 1
            parts.append(f'<path class="goal" d="M{x:.1f} {top - 3}V{bottom}"/>')
    names = "".join(
        f'<li><i style="background:var(--atlas-{COLOURS[at % len(COLOURS)]})"></i>{html.escape(checkpoint)}, '
        f"{both_of(LANGUAGES[lang]) if lang in LANGUAGES else html.escape(str(lang))}</li>"
        for at, (checkpoint, lang) in enumerate(card.columns)
    )
    goal = f'<li><i class="goal"></i>{both("bar to reach", "要达到的目标")}</li>'
    height = group * len(lines)
    return (
        f'<figure class="atlas-chart"><svg viewBox="0 0 {LABEL + TRACK + 50} {height}" aria-hidden="true">{"".join(parts)}'
        f'</svg><figcaption><strong>{_name(best)}</strong><ul class="atlas-legend">{names}{goal}</ul></figcaption></figure>'
    )


PAGE = catalog.page("report", build)
