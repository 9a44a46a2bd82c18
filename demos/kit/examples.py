"""A strip of examples, images or prompts: one click passes the example's id to Python, by mouse, touch or keyboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from demos.kit import thumbnails
from demos.kit.components import code_of, output
from demos.kit.html import Markup, join, tag
from demos.kit.language import Text, both_of

TITLES = {
    False: Text("Examples: one click fills and runs", "例子：点一下就运行"),
    True: Text("Photos, films and recordings, for real weights", "照片、实拍视频和录音，适合真实权重"),
}


def strip(rows: Mapping[str, Mapping[str, Any]], elem_id: str) -> gr.HTML:
    """The strip as a component whose `change` event carries "ID MOMENT"; `chosen` reads the id.

    Args:
        rows: id -> {"path", "caption": {"en", "zh"}, "real"}; "real" marks a photo that the miniature does not understand;
            without a path the caption is the example.
        elem_id: its id in the page.
    """
    groups = Markup()
    for is_real, title in TITLES.items():
        some = {name: row for name, row in rows.items() if bool(row.get("real")) is is_real}
        if some:
            buttons = tag("div", join(map(_button, some, some.values())))
            groups += tag("section", tag("p", both_of(title)), buttons)
    # `$` and backticks would be read as parts of a template; captions have none.
    template = tag("div", groups, class_="atlas-examples")
    return output(elem_id, html_template=template, js_on_load=code_of("examples.js"))


def _button(name: str, row: Mapping[str, Any]) -> Markup:
    text = both_of(Text(**row["caption"]))
    if "path" not in row:
        return tag("button", text, type="button", class_="atlas-chip", data_example=name)
    image = tag("img", alt="", src=thumbnails.of_file(row["path"]))
    caption = tag("span", text, class_="atlas-only-read")
    return tag("button", image, caption, type="button", data_example=name)


def chosen(value: str, rows: Mapping[str, Any]) -> str | None:
    """The id behind the strip's value, if it is one of `rows`."""
    name = (value or "").partition(" ")[0]
    return name if name in rows else None
