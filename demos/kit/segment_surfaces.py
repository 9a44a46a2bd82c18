"""Components of the pages that segment: the place of an overlay, and labels as chips that come and go one by one."""

from __future__ import annotations

import gradio as gr

from demos.kit.language import both
from demos.kit.surfaces import SCRIPTS, surface


def stage(elem_id: str, value: str = "") -> gr.HTML:
    """A place for what `demos.draw.masks.overlay` makes: pointing at it shows label and probability, in the browser."""
    return gr.HTML(
        value,
        js_on_load=(SCRIPTS / "segments.js").read_text(encoding="utf-8"),
        elem_id=elem_id,
        padding=False,
        apply_default_css=False,
    )


def label_chips(elem_id: str) -> gr.HTML:
    """Labels as chips: the value is one text with commas, and the `input` event follows each that comes or goes."""
    title = both("Labels: type one and press Enter", "标签：输入一个，按回车")
    many = both("A comma ends a label as well", "逗号也可以结束一个标签")
    return surface(
        elem_id,
        "labels.js",
        f'<div class="atlas-labels"><label for="{elem_id}-new">{title}</label><div class="atlas-labels-box">'
        f'<ul></ul><input id="{elem_id}-new" type="text" maxlength="3000" autocomplete="off" enterkeyhint="done">'
        f'</div><p class="atlas-line">{many}</p></div>',
    )
