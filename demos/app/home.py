"""The home page: what this is, the family as a map of lines and stations, and one card a paper."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

import gradio as gr

from core.classroom import report
from demos.catalog import COMING, KINDS, OPEN, PAGES, Entry, Room, listed_rooms
from demos.kit import headline, shell
from demos.kit.html import escape
from demos.kit.language import both, both_of

# The map, in its own units.
LEFT, TOP, MONTH, LANE = 176, 34, 34, 44
START_YEAR, YEARS = 2021, 2
WIDTH, HEIGHT = LEFT + MONTH * 12 * YEARS + 24, TOP + LANE * len(KINDS) + 6
LETTER = 7.6  # a Latin letter of a station's name; others are twice as wide

# One small drawing a kind of task, 24 by 24, stroked.
GLYPHS = {
    "matching": "M4 4h5v5H4zM15 15h5v5h-5zM9.5 9.5l5 5M15 4h5v5h-5z",
    "segmentation": "M3 12C3 6 8 3 13 4s8 5 7 10-6 7-10 6-7-4-7-8zM9 4.5c1 4 5 4 4 8s2 5 5 5",
    "detection": "M4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4M9 9h6v6H9z",
    "drawing": "M4 18C8 6 11 6 12 12s4 5 8-6M4 21h6",
    "video": "M3 6h18v12H3zM7 6v12M17 6v12M3 10h4M3 14h4M17 10h4M17 14h4",
    "spatial": "M12 3l8 4.5v9L12 21l-8-4.5v-9zM12 12l8-4.5M12 12v9M12 12L4 7.5",
    "answering": "M4 5h16v11H11l-5 4v-4H4zM9.5 9a2.5 2 0 1 1 2.5 2v1M12 13.8v.2",
    "audio": "M3 12h2M7 8v8M10 4v16M13 9v6M16 6v12M19 10v4",
    "search": "M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13zM15.5 15.5L21 21",
}

TITLE = "A map of the CLIP family", "CLIP 家族的地图"
LINES = (
    (
        "CLIP encodes images and sentences in one space. Models that segment, detect, draw, answer questions and search "
        "grew from this idea.",
        "CLIP 把图片和句子编码到同一个空间；分割、检测、绘画、问答和搜索的许多模型都由此发展而来。",
    ),
    (
        "Every paper has a page where you try its model on your own images, compare checkpoints and look inside.",
        "每篇论文有一个页面：用自己的图片试用模型，比较不同的权重，查看模型内部。",
    ),
    (
        "A page starts with a miniature: a small model trained on a synthetic world of drawings. It answers at once, "
        "without a network. Published weights can be chosen in the checkpoint menu.",
        "页面默认使用微缩模型：它在合成的图画世界里训练而成，无需联网，立即作答。论文公布的权重可以在权重菜单里选用。",
    ),
)
RESULTS = (
    'The number on a card was measured on the miniature of that paper. The <a href="report">report card</a> has every '
    "measured number.",
    '卡片上的数字在该论文的微缩模型上测得；全部结果见<a href="report">成绩单</a>。',
)


def build() -> None:
    """Draws the home page from the catalog and the report card."""
    shell.top_bar()
    results = {card.paper: headline.line(card) for card in report.cards()}
    lines = "".join(f"<li>{both(*line)}</li>" for line in LINES)
    first = next((row for row in PAGES if row.ready), None)
    start = (
        f'<a class="atlas-start" href="{first.slug}">{both("Start with", "从")} {both_of(first.title)}'
        f"{both(' →', ' 开始 →')}</a>"
        if first
        else ""
    )
    gr.HTML(
        f'<header class="atlas-hero"><div><h1>{both(*TITLE)}</h1><ul>{lines}</ul>{start}</div>{matrix()}</header>'
        f'<section class="atlas-family"><h2 id="map">{both("The family, 2021 and 2022", "家族地图，2021 至 2022")}</h2>'
        f"{family_map()}{family_list()}</section>"
        f'<h2 id="rooms">{both("Where the miniatures learn", "微缩模型在哪里学习")}</h2>'
        f'<div class="atlas-cards atlas-rooms">{"".join(room_card(row) for row in listed_rooms())}</div>'
        f'<h2 id="all">{both("All papers", "全部论文")}</h2><p class="atlas-line">{both(*RESULTS)}</p>'
        + "".join(section(kind, results) for kind in KINDS)
        + f'<footer class="atlas-foot"><p>{shell.PRIVACY}</p></footer>',
        padding=False,
        apply_default_css=False,
        elem_id="home",
    )


def matrix(n: int = 6) -> str:
    """The image of the idea: n images by n sentences, the pairs on the diagonal lit."""
    cells = []
    for row in range(n):
        for column in range(n):
            # A fixed pattern of weak similarities beside the diagonal.
            weak = ((row * 7 + column * 5) % 6) / 6
            style = "" if row == column else f' style="opacity:{0.12 + 0.3 * weak:.2f}"'
            kind = "on" if row == column else "off"
            cells.append(
                f'<rect class="{kind}" x="{30 * column}" y="{30 * row}" width="26" height="26" rx="4"{style}/>'
            )
    size = 30 * n
    return (
        f'<svg class="atlas-matrix" viewBox="-34 -34 {size + 40} {size + 40}" aria-hidden="true">'
        f'<text class="l-en" x="{size / 2 - 2}" y="-12">sentences</text>'
        f'<text class="l-zh" x="{size / 2 - 2}" y="-12">句子</text>'
        f'<text class="l-en" transform="translate(-12 {size / 2 - 2}) rotate(-90)">images</text>'
        f'<text class="l-zh" transform="translate(-12 {size / 2 - 2}) rotate(-90)">图片</text>'
        f"{''.join(cells)}</svg>"
    )


# --- the map -------------------------------------------------------------------------------------------------


def month(row: Entry) -> int:
    """Months from the left edge of the map to a paper."""
    year, number = row.date.split("-")
    return 12 * (int(year) - START_YEAR) + int(number) - 1


def text_width(text: str) -> float:
    """About how wide a station's name is on the map."""
    return sum(2 * LETTER if unicodedata.east_asian_width(letter) in "WF" else LETTER for letter in text)


def sides(rows: Sequence[Entry]) -> list[str]:
    """On which side of its station each name of a line stands so that no two of them touch: "start" is right.

    Args:
        rows: the papers of one line, by date.
    """
    places = [LEFT + MONTH * month(row) for row in rows]
    chosen: list[str] = []
    taken = 0.0
    for i, row in enumerate(rows):
        width = max(text_width(row.title.en), text_width(row.title.zh)) + 18
        edge = places[i + 1] - 12 if i + 1 < len(rows) else WIDTH
        fits = places[i] + width <= edge
        chosen.append("start" if fits or places[i] - width < taken else "end")
        taken = places[i] + (width if chosen[-1] == "start" else 12)
    return chosen


def family_map() -> str:
    """The papers as stations by month on one line a task, branching off where CLIP appeared; for wide screens."""
    parts = []
    for year in range(YEARS):
        for half in (0, 6):
            x = LEFT + MONTH * (12 * year + half)
            label = str(START_YEAR + year) if half == 0 else ""
            parts.append(f'<path class="grid" d="M{x} {TOP - 12}V{HEIGHT - 8}"/>')
            parts.append(f'<text class="year" x="{x}" y="{TOP - 18}">{label}</text>')
    trunk = LEFT
    lanes = list(KINDS)
    for at, kind in enumerate(lanes):
        y = TOP + LANE * at + LANE // 2
        rows = sorted((row for row in PAGES if row.kind == kind), key=month)
        last = LEFT + MONTH * month(rows[-1])
        top = TOP + LANE // 2
        line = (
            f"M{trunk} {y}H{last}"
            if at == 0
            else f"M{trunk} {top}V{y - 14}q0 14 14 14H{max(last, trunk + 14)}"
        )
        parts.append(f'<path class="line" d="{line}"/>')
        parts.append(
            f'<text class="kind l-en" x="{LEFT - 22}" y="{y + 4}">{escape(KINDS[kind].en)}</text>'
            f'<text class="kind l-zh" x="{LEFT - 22}" y="{y + 4}">{escape(KINDS[kind].zh)}</text>'
        )
        parts += [station(row, side, y) for row, side in zip(rows, sides(rows), strict=True)]
    label = escape("Timeline of the CLIP family / CLIP 家族时间线")
    return f'<svg class="atlas-map" viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="{label}">{"".join(parts)}</svg>'


def station(row: Entry, side: str, y: int) -> str:
    """One paper on the map; a filled station can be visited."""
    x = LEFT + MONTH * month(row)
    at = x + 12 if side == "start" else x - 12
    names = (
        [("", row.title.en)]
        if row.title.en == row.title.zh
        else [("l-en", row.title.en), ("l-zh", row.title.zh)]
    )
    texts = "".join(
        f'<text class="name {language}" x="{at}" y="{y + 5}" text-anchor="{side}">{escape(name)}</text>'
        for language, name in names
    )
    dot = f'<circle cx="{x}" cy="{y}" r="{8 if row.slug == "clip" else 6}"/>'
    state = OPEN if row.ready else COMING
    tip = f"<title>{escape(f'{row.paper.title} ({row.date}, {state.en} / {state.zh})')}</title>"
    if row.ready:
        return f'<a class="stop open" href="{row.slug}">{tip}{dot}{texts}</a>'
    return f'<g class="stop">{tip}{dot}{texts}</g>'


def family_list() -> str:
    """The same by year as a list; for narrow screens."""
    years: dict[str, list[Entry]] = {}
    for row in sorted(PAGES, key=month):
        years.setdefault(row.date[:4], []).append(row)
    items = "".join(
        f"<li><strong>{year}</strong><ul>{''.join(f'<li>{name(row)}</li>' for row in rows)}</ul></li>"
        for year, rows in years.items()
    )
    return f'<ol class="atlas-years">{items}</ol>'


def name(row: Entry) -> str:
    """A paper's name, a link where its page is open."""
    title = both_of(row.title)
    return (
        f'<a class="atlas-chip" href="{row.slug}">{title}</a>'
        if row.ready
        else f'<span class="atlas-chip">{title}</span>'
    )


# --- the cards -----------------------------------------------------------------------------------------------


def section(kind: str, results: Mapping[str, str]) -> str:
    """The cards of one kind of task.

    Args:
        kind: of the catalog, "detection".
        results: one line of HTML for each measured paper.
    """
    rows = [row for row in PAGES if row.kind == kind]
    glyph = (
        f'<svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true"><path d="{GLYPHS[kind]}"/></svg>'
    )
    cards = "".join(card(row, results.get(row.slug, "")) for row in rows)
    return f'<section class="atlas-kind"><h3>{glyph}{both_of(KINDS[kind])}</h3><div class="atlas-cards">{cards}</div></section>'


def card(row: Entry, result: str) -> str:
    """One paper with the result of its miniature; a page that is not built yet is marked as coming and links nowhere."""
    state = OPEN if row.ready else COMING
    inner = (
        f'<span class="atlas-card-head"><strong>{both_of(row.title)}</strong>'
        f'<span class="atlas-pill">{both_of(state)}</span></span>'
        f'<span class="atlas-card-idea">{both_of(row.idea)}</span>{result}'
        f"<small>{escape(row.paper.venue)} · {escape(row.paper.authors.split(', ')[0])}"
        f"{both(' et al.', ' 等') if ', ' in row.paper.authors else ''}</small>"
    )
    if row.ready:
        return f'<a class="atlas-card open" href="{row.slug}">{inner}</a>'
    return f'<div class="atlas-card">{inner}</div>'


def room_card(row: Room) -> str:
    """A page that is about no paper."""
    return (
        f'<a class="atlas-card open" href="{row.slug}"><span class="atlas-card-head"><strong>{both_of(row.title)}'
        f'</strong></span><span class="atlas-card-idea">{both_of(row.idea)}</span></a>'
    )
