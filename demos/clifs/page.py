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


def own_files(name: str) -> gr.File:
    """Files of the visitor, of any kind, or zip archives."""
    return files.file_input(text("own"), SEARCHED, name, file_count="multiple", height=120)


def image_query(name: str) -> gr.Image:
    """An image to look for; the first field of the page stays the words."""
    return files.image_input(height=150, elem_id=name, label=text("image_query").tr)


def limit(name: str, placeholder: str) -> Any:
    """A day or a size of files, in the settings."""
    return form.words(text(name), place="settings", longest=30, placeholder=placeholder)


@dataclass(frozen=True)
class Question:
    """The inputs of the page."""

    checkpoint: str = form.checkpoint(ROWS)
    own: tuple[str, ...] | None = form.field(None, form.Field(own_files, place="side", link=False))
    image_query: str | None = form.field(None, form.Field(image_query, place="side", link=False))
    sound_query: str | None = form.sound(text("sound_query"))
    query: str = form.words(text("query"), text("query_info"), longest=300)
    kinds: tuple[str, ...] = form.several(
        library.options(PAPER, "kinds"), ("image", "video", "sound", "text"), text("kinds")
    )
    patches: bool = form.switch(True, text("patches"), text("patches_info"))
    below: str = form.words(text("below"), text("below_info"), place="settings", longest=300)
    after: str = limit("after", "2026-01-31")
    before: str = limit("before", "2026-12-31")
    larger: str = limit("larger", "200 kB")
    smaller: str = limit("smaller", "5 MB")
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
