"""What stands around every page: the bar, header and footer, and the button that copies a link."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import gradio as gr

from demos import catalog
from demos.catalog import Entry, Page, Room
from demos.kit import library
from demos.kit.components import markup, output
from demos.kit.html import Markup, escape, join, tag
from demos.kit.language import Text, both_of

NAME = Text("CLIP Atlas", "CLIP Atlas 图文模型图谱")
words = partial(library.html, "kit")


def top_bar(current: str = "") -> None:
    """Lays the bar out."""
    output(None, bar(current))


def bar(current: str = "") -> Markup:
    """The bar on every page: home, the open pages, language, light or dark.

    Args:
        current: the slug of the page, "" for home.
    """

    # Addresses are relative, so that they also hold where the app is mounted below another path.
    def links(rows: Sequence[Entry | Room]) -> Markup:
        is_here = {current: "page"}
        return join(
            tag("a", both_of(row.title), href=row.slug, aria_current=is_here.get(row.slug)) for row in rows
        )

    # On a narrow screen the rooms are in the menu, on a wide one beside it.
    pages = [row for row in catalog.PAGES if row.ready]
    return markup("bar", pages=links(pages), rooms=links(catalog.listed_rooms()))


def header(page: Page) -> None:
    """Title, the idea in one sentence, and the paper."""
    top_bar(page.slug)
    kicker, cited = words("beside"), Markup()
    if page.paper:
        paper = page.paper
        kicker = both_of(catalog.KINDS[catalog.entry(page.slug).kind])
        first, *others = paper.authors.split(", ")
        link = tag("a", paper.title, href=paper.url, target="_blank", rel="noopener")
        authors = escape(first) + (words("others") if others else "")
        cited = tag("p", link, " · ", authors, f" · {paper.venue}", class_="atlas-paper")
    lines = (
        tag("p", kicker, class_="atlas-kicker"),
        tag("h1", both_of(page.title)),
        tag("p", both_of(page.idea), class_="atlas-idea"),
    )
    output(None, tag("header", *lines, cited, class_="atlas-head"))


def footer(page: Page) -> None:
    """Citation, licences, and the way to the next page."""
    quiet = {room.slug for room in catalog.ROOMS if room.quiet} - {page.slug}
    ready = [row for row in catalog.open_rows() if row.slug not in quiet]
    at = [row.slug for row in ready].index(page.slug)
    previous = ready[at - 1] if at else None
    following = ready[at + 1] if at + 1 < len(ready) else None
    bibtex = page.paper.bibtex if page.paper else ""
    licence = "drawings" if page.paper is None else "code" if page.declared is None else "licences"
    foot = markup(
        "foot",
        citation=markup("citation", slug=page.slug, bibtex=bibtex) if bibtex else "",
        licence=words(licence),
        privacy=words("privacy"),
        before=tag("a", "← ", both_of(previous.title), href=previous.slug)
        if previous
        else tag("a", "← ", words("home"), href="./"),
        after=tag("a", both_of(following.title), " →", href=following.slug)
        if following
        else tag("a", words("all"), " →", href="./#all"),
    )
    output(None, foot)


def link_button(parts: Mapping[str, Any], files: Sequence[Any] = ()) -> None:
    """A button that copies the page's address with what is on it.

    The address is made in the browser. An uploaded file cannot travel in it.

    Args:
        parts: parameter name -> component.
        files: the inputs of the page that take a file.
    """
    button = gr.Button(library.text("kit", "link").tr, size="sm", elem_id="link")
    script = f"(...values) => {{ window.atlas.copyLink({json.dumps(list(parts))}, values); }}"
    button.click(None, [*parts.values(), *files], None, js=script)
