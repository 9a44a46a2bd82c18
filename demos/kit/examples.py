"""A strip of example pictures: one click hands the example's id to Python, by mouse, touch or keyboard."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import gradio as gr

from demos.kit import thumbnails
from demos.kit.language import both

# The moment makes a second click on the same example a change again.
ON_CLICK = """element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-example]");
  if (!button) return;
  props.value = button.dataset.example + " " + Date.now();
  trigger("change");
})"""


def strip(rows: Mapping[str, Mapping[str, Any]], elem_id: str) -> gr.HTML:
    """The strip as a component whose `change` event carries "ID MOMENT"; `chosen` reads the id.

    Args:
        rows: id -> {"path", "caption": {"en", "zh"}}.
        elem_id: its id in the page.
    """
    buttons = "".join(
        f'<button type="button" data-example="{html.escape(name)}"><img alt="" src="{thumbnails.of_file(row["path"])}">'
        f'<span class="atlas-only-read">{both(*(html.escape(row["caption"][lang]) for lang in ("en", "zh")))}</span>'
        "</button>"
        for name, row in rows.items()
    )
    title = both("Examples: one click fills and runs", "例子：点一下就运行")
    # `$` and backticks would be read as parts of a template; captions have none.
    template = f'<div class="atlas-examples"><p>{title}</p><div>{buttons}</div></div>'
    return gr.HTML(
        value="",
        html_template=template,
        js_on_load=ON_CLICK,
        elem_id=elem_id,
        padding=False,
        apply_default_css=False,
    )


def chosen(value: str, rows: Mapping[str, Any]) -> str | None:
    """The id behind the strip's value, if it is one of `rows`."""
    name = (value or "").partition(" ")[0]
    return name if name in rows else None
