"""The home page: what this is, the family as a map of lines and stations, and one card a paper."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Mapping, Sequence
from functools import partial

from core.classroom import report
from demos.catalog import COMING, KINDS, OPEN, PAGES, Entry, Room, listed_rooms
from demos.kit import headline, library, shell
from demos.kit.components import markup, output
from demos.kit.html import Markup, escape, join, tag
from demos.kit.language import both_of

# The map, in its own units.
LEFT, TOP, MONTH, LANE = 176, 34, 34, 44
START_YEAR, YEARS = 2021, 2
WIDTH, HEIGHT = LEFT + MONTH * 12 * YEARS + 24, TOP + LANE * len(KINDS) + 6
LETTER = 7.6  # a Latin letter of a station's name; others are twice as wide

words = partial(library.html, "app")


def build() -> None:
    """Draws the home page from the catalog and the report card."""
    shell.top_bar()
    results = {card.paper: headline.line(card) for card in report.cards()}
    first = next((row for row in PAGES if row.ready), None)
    start = Markup()
    if first:
        title = words("start"), " ", both_of(first.title), words("started")
        start = tag("a", *title, class_="atlas-start", href=first.slug)
    body = markup(
        "home",
        first=start,
        matrix=matrix(),
        map=family_map(),
        list=family_list(),
        cards=join(map(room_card, listed_rooms())),
        sections=join(section(kind, results) for kind in KINDS),
        privacy=shell.words("privacy"),
        **{name: words(name) for name in library.data("app")["says"]},
    )
    output("home", body)


def matrix(n: int = 6) -> Markup:
    """The image of the idea: n images by n sentences, the pairs on the diagonal lit, weak similarities beside it."""
    cells = []
    for row, column in itertools.product(range(n), repeat=2):
        style = None if row == column else f"opacity:{0.12 + 0.05 * ((row - column) % 6):.2f}"
        kind = "on" if row == column else "off"
        cells.append(
            tag("rect", class_=kind, x=30 * column, y=30 * row, width=26, height=26, rx=4, style=style)
        )
    return markup("matrix", size=str(30 * n + 40), middle=str(15 * n - 2), cells=join(cells))


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


def family_map() -> Markup:
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
    return tag(
        "svg",
        Markup("".join(parts)),
        class_="atlas-map",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="group",
        aria_label="Timeline of the CLIP family / CLIP 家族时间线",
    )


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


def family_list() -> Markup:
    """The same by year as a list; for narrow screens."""
    years: dict[str, list[Entry]] = {}
    for row in sorted(PAGES, key=month):
        years.setdefault(row.date[:4], []).append(row)
    items = (
        tag("li", tag("strong", year), tag("ul", *(tag("li", name(row)) for row in rows)))
        for year, rows in years.items()
    )
    return tag("ol", *items, class_="atlas-years")


def name(row: Entry) -> Markup:
    """A paper's name, a link where its page is open."""
    title, kind = both_of(row.title), "atlas-chip"
    return tag("a", title, class_=kind, href=row.slug) if row.ready else tag("span", title, class_=kind)


# --- the cards -----------------------------------------------------------------------------------------------


def section(kind: str, results: Mapping[str, Markup]) -> Markup:
    """The cards of one kind of task.

    Args:
        kind: of the catalog, "detection".
        results: one line of HTML for each measured paper.
    """
    path = tag("path", d=library.data("app")["glyphs"][kind])
    glyph = tag("svg", path, viewBox="0 0 24 24", width=22, height=22, aria_hidden="true")
    cards = (card(row, results.get(row.slug, Markup())) for row in PAGES if row.kind == kind)
    title = tag("h3", glyph, both_of(KINDS[kind]))
    return tag("section", title, tag("div", *cards, class_="atlas-cards"), class_="atlas-kind")


def card(row: Entry, result: Markup) -> Markup:
    """One paper with the result of its miniature; a page that is not built yet is marked as coming and links nowhere."""
    state = tag("span", both_of(OPEN if row.ready else COMING), class_="atlas-pill")
    first, *others = row.paper.authors.split(", ")
    source = tag("small", f"{row.paper.venue} · {first}", words("others") if others else "")
    inner = (*card_head(row, state), result, source)
    if row.ready:
        return tag("a", *inner, class_="atlas-card open", href=row.slug)
    return tag("div", *inner, class_="atlas-card")


def room_card(row: Room) -> Markup:
    """A page that is about no paper."""
    return tag("a", *card_head(row), class_="atlas-card open", href=row.slug)


def card_head(row: Entry | Room, *marks: Markup) -> tuple[Markup, Markup]:
    """Title, with marks beside it, and idea."""
    title = tag("strong", both_of(row.title))
    idea = tag("span", both_of(row.idea), class_="atlas-card-idea")
    return tag("span", title, *marks, class_="atlas-card-head"), idea
