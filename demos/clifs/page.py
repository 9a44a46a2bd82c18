"""The CLIFS page: search images, videos, sounds and texts by words, an image or a sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from demos.clifs import answer, compare, inside, lessons
from demos.clifs.words import PAPER, ROWS, text
from demos.kit import files, form, library, page
from demos.kit.components import output, stage
from demos.kit.places import folded

SEARCHED = ["image", "video", "audio", ".txt", ".md", ".zip", ".webp", ".gif"]


def shelf(elem_id: str) -> object:
    """The place of the hits, which play from their time."""
    return stage(elem_id, scripts=("players.js",))


def own_files() -> Any:
    """Files of the visitor, of any kind, or zip archives."""

    def make(name: str) -> gr.File:
        return files.file_input(text("own"), SEARCHED, name, file_count="multiple", height=120)

    return form.field(None, form.Field(make, place="side", link=False))


def image_query() -> Any:
    """An image to look for; the first field of the page stays the words."""

    def make(name: str) -> gr.Image:
        return files.image_input(height=150, elem_id=name, label=text("image_query").tr)

    return form.field(None, form.Field(make, place="side", link=False))


@dataclass(frozen=True)
class Question:
    """The inputs of the page."""

    checkpoint: str = form.checkpoint(ROWS)
    own: tuple[str, ...] | None = own_files()
    image_query: str | None = image_query()
    sound_query: str | None = form.sound(text("sound_query"))
    query: str = form.words(text("query"), text("query_info"), longest=300)
    kinds: tuple[str, ...] = form.several(
        library.options(PAPER, "kinds"), ("image", "video", "sound", "text"), text("kinds")
    )
    patches: bool = form.switch(True, text("patches"), text("patches_info"))
    below: str = form.words(text("below"), text("below_info"), place="settings", longest=300)
    after: str = form.words(text("after"), place="settings", longest=30, placeholder="2026-01-31")
    before: str = form.words(text("before"), place="settings", longest=30, placeholder="2026-12-31")
    page: int = form.number(1, text("page"))
    like: str = form.words(text("like"), text("like_info"), place="settings", longest=64)
    folder: str = form.words(text("folder"), text("folder_info"), place="settings", longest=1000)


PAGE = page.declare(
    PAPER,
    Question,
    try_it=page.Try(
        answer.search,
        text("search"),
        {"hits": shelf, "failed": output, "histogram": folded(text("histogram_title"))},
        files=answer.files,
        idea=text("idea"),
    ),
    examples=page.Examples(answer.examples, answer.OPENING, answer.fill),
    compare=[page.tab(PAPER, "patches", compare.patches), page.tab(PAPER, "exact", compare.exact)],
    inside=[
        page.tab(PAPER, "map", inside.where_from),
        page.tab(PAPER, "store", inside.size),
        *page.traced(PAPER, inside.values),
    ],
    walk=lessons.walkthrough(shelf),
    endpoints=[answer.clifs_search, answer.clifs_index],
)
