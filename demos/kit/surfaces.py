"""Pictures that are drawn on: boxes for crops. Mouse, touch and keyboard; the browser does it, Python gets shares.

The value of a surface is JSON text with the address of the picture, which the browser already has, so that no
picture travels for a drawing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr

from core.errors import Refusal
from demos.kit.language import both

SCRIPTS = Path(__file__).resolve().parents[2] / "assets" / "js"
# The page's picture as a surface takes it over, in the browser; what was drawn on another picture goes.
TAKE_PICTURE = "(picture) => JSON.stringify({ src: picture ? picture.url : '' })"
# The same where a handler may have drawn on the new picture already: its value names the picture's file in "for".
KEEP_DRAWING = """(picture, value) => {
  let old = {};
  try { old = JSON.parse(value || "{}"); } catch { /* nothing there yet */ }
  const src = picture ? picture.url : "";
  return JSON.stringify(old.for && src.includes(old.for) ? { ...old, src } : { src });
}"""
MAX_VALUE = 200_000  # characters of a surface's value


def box_surface(elem_id: str) -> gr.HTML:
    """A picture on which boxes are drawn; `read` gives {"src", "boxes": [[left, top, right, bottom], ...]}."""
    tip = both(
        "Drag on the picture to draw a box; drag a box to move it, its corner to resize it.",
        "在图上拖动可画方框；拖动方框可移动，拖动右下角可改变大小。",
    )
    return surface(
        elem_id,
        "boxes.js",
        f'<div class="atlas-surface"><p class="atlas-line">{tip}</p>'
        '<div class="atlas-pane" hidden><img alt="" draggable="false"></div>'
        f'<p class="atlas-tools"><button type="button" class="atlas-chip" data-add>{both("Add a box", "加一个方框")}</button>'
        f'<button type="button" class="atlas-chip" data-clear>{both("Remove all", "全部删除")}</button>'
        '<span data-count role="status"></span></p></div>',
    )


def surface(elem_id: str, script: str, template: str) -> gr.HTML:
    """A surface of its own: a script of `assets/js` and the markup that it works on."""
    return gr.HTML(
        value="",
        html_template=template,
        js_on_load=(SCRIPTS / script).read_text(encoding="utf-8"),
        elem_id=elem_id,
        padding=False,
        apply_default_css=False,
    )


def follow(surface: gr.HTML, picture: Any, keep: bool = False) -> None:
    """Lets a surface show the page's picture, whichever way it came; `keep` leaves what was drawn for that very one."""
    given, script = ([picture, surface], KEEP_DRAWING) if keep else ([picture], TAKE_PICTURE)
    picture.change(None, given, [surface], js=script, api_visibility="private", show_progress="hidden")


def read(value: str | None) -> dict[str, Any]:
    """A surface's value as a dictionary, empty before anything was drawn.

    Raises:
        Refusal: "bad_drawing" for anything that the surface does not send.
    """
    if not value:
        return {}
    try:
        found = json.loads(value) if isinstance(value, str) and len(value) <= MAX_VALUE else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refusal("bad_drawing")
    return found
