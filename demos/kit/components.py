"""Components that pages share: places of results, images that are drawn on, labels as chips.

The value of a surface is JSON text with the address of the image, which the browser already has, so that no image
travels for a drawing. The browser does the drawing, by mouse, touch and keyboard; Python gets shares of the sides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from core.errors import Refusal
from demos.kit.html import Markup, join, tag
from demos.kit.language import Text, both, both_of

SCRIPTS = Path(__file__).resolve().parents[2] / "assets" / "js"
# The page's image as a surface takes it over, in the browser; what was drawn on another image goes.
TAKE_IMAGE = "(image) => JSON.stringify({ src: image ? image.url : '' })"
# The same where a handler may have drawn on the new image already: its value names the image's file in "for".
KEEP_DRAWING = """(image, value) => {
  let old = {};
  try { old = JSON.parse(value || "{}"); } catch { /* nothing there yet */ }
  const src = image ? image.url : "";
  return JSON.stringify(old.for && src.includes(old.for) ? { ...old, src } : { src });
}"""
MAX_VALUE = 200_000  # characters of a surface's value
# A click on a box anywhere in the page that names this component; the moment makes a second click a change again.
ON_PICK = """document.addEventListener("atlas-pick", (event) => {
  if (event.detail.picks !== props.name) return;
  props.value = event.detail.pick + " " + Date.now();
  trigger("change");
})"""


def output(elem_id: str, value: str = "", **options: Any) -> gr.HTML:
    """A place for HTML."""
    return gr.HTML(value, elem_id=elem_id, padding=False, apply_default_css=False, **options)


def button_row(prefix: str, titles: Mapping[str, Text]) -> dict[str, gr.Button]:
    """A row of small buttons by their names; element ids are "PREFIX-NAME"."""
    with gr.Row(elem_classes="atlas-lessons"):
        return {
            name: gr.Button(title.tr, size="sm", min_width=90, elem_id=f"{prefix}-{name}")
            for name, title in titles.items()
        }


def stage(elem_id: str, value: str = "", scripts: Sequence[str] = ("detect.js",)) -> gr.HTML:
    """A place for an overlay that answers to the pointer in the browser: what `scripts` of `assets/js` do.

    `detect.js` is for boxes (`demos.draw.boxes.overlay`).
    """
    code = "\n".join((SCRIPTS / name).read_text(encoding="utf-8") for name in scripts)
    return output(elem_id, value, js_on_load=code)


def mask_stage(elem_id: str, value: str = "") -> gr.HTML:
    """A place for `demos.draw.masks.overlay`: pointing at it shows label and probability."""
    return stage(elem_id, value, ("segments.js",))


def pick_box(elem_id: str) -> gr.HTML:
    """Where clicks on boxes arrive: its `change` event follows each, and `picked` reads which box it was.

    It stands outside of tabs: what is in a closed one is not in the page.
    """
    script = ON_PICK.replace("props.name", repr(elem_id))
    return output(elem_id, html_template="<span></span>", js_on_load=script, elem_classes="atlas-det-pick")


def picked(value: str | None, count: int) -> int | None:
    """The number behind a pick box's value, if it is one of `count`."""
    number = (value or "").partition(" ")[0]
    at = int(number) if number.isascii() and number.isdecimal() and len(number) < 7 else count
    return at if at < count else None


def label_chips(elem_id: str) -> gr.HTML:
    """Labels as chips: the value is one text with commas, and the `input` event follows each that comes or goes."""
    title = both("Labels: press Enter or a comma after each", "标签：每输入一个，按回车或逗号")
    return surface(
        elem_id,
        "labels.js",
        f'<div class="atlas-labels"><label for="{elem_id}-new">{title}</label><div class="atlas-labels-box">'
        f'<ul></ul><input id="{elem_id}-new" type="text" maxlength="3000" autocomplete="off" enterkeyhint="done">'
        "</div></div>",
    )


def box_surface(elem_id: str) -> gr.HTML:
    """An image on which boxes are drawn; `read` gives {"src", "boxes": [[left, top, right, bottom], ...]}."""
    tip = both(
        "Drag on the image to draw a box; drag a box to move it, its corner to resize it.",
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


def edit_surface(elem_id: str, things: Sequence[tuple[str, Text, str]]) -> gr.HTML:
    """An image that is changed by hand: a brush paints out, things are put in; `read` gives {"src", "strokes", "pastes"}.

    Args:
        elem_id: its id in the page.
        things: of the shelf: name, title, the address of its thumbnail. A blank patch, named "", stands before them.
    """
    tip = both(
        "Drag on the image to paint out. Click a thing below to put it in; drag it, or its corner to resize it.",
        "在图上拖动即可涂掉。点下面的东西可放入图中；拖动可移动，拖右下角可改变大小。",
    )

    def button(name: str, title: str, look: Markup, words: str) -> Markup:
        text = tag("span", Markup(words), class_="atlas-only-read")
        return tag("button", look, text, type="button", data_sprite=name, title=title)

    shelf = button("", "patch", tag("b", "□"), both("Blank patch", "空白块")) + join(
        button(name, f"{title.en} {title.zh}", tag("img", alt="", src=source), both_of(title))
        for name, title, source in things
    )
    return surface(
        elem_id,
        "edit.js",
        f'<div class="atlas-surface"><p class="atlas-line">{tip}</p>'
        '<div class="atlas-pane" hidden><img alt="" draggable="false"><canvas></canvas></div>'
        f'<div class="atlas-shelf" role="group">{shelf}</div><p class="atlas-tools">'
        f'<label>{both("Brush", "画笔")} <input type="range" min="0.015" max="0.15" step="0.005" value="0.05"></label>'
        f'<button type="button" class="atlas-chip" data-undo>{both("Undo", "撤销")}</button>'
        f'<button type="button" class="atlas-chip" data-clear>{both("Start again", "重来")}</button>'
        '<span data-count role="status"></span></p></div>',
    )


def attention_surface(elem_id: str) -> gr.HTML:
    """Maps of attention by layer and head over an image; a click on the image chooses the place that reads."""
    tip = both(
        "Point at a tile to enlarge it: a row for each layer, first the mean, then each head. Click a place of the image, and "
        "<em>it</em> becomes the reader; click it again for the whole image.",
        "指向小图即可放大：一行一层，最左是平均，然后是每个头。点一下大图上的某处，就看<em>它</em>在读什么；再点一次回到整张图。",
    )
    name = both(
        "The image under one map; arrow keys move the reader", "叠加注意力的图片；方向键移动读取的位置"
    )
    return surface(
        elem_id,
        "attention.js",
        f'<div class="atlas-attend" hidden><p class="atlas-line">{tip}</p><div class="atlas-attend-stage">'
        '<div class="atlas-attend-big"><canvas tabindex="0" role="img" aria-labelledby="attend-name"></canvas>'
        f'<span id="attend-name" class="atlas-only-read">{name}</span>'
        '<p class="atlas-attend-caption" role="status"></p><p class="atlas-tools">'
        f'<label>{both("Strength", "叠加强度")} <input type="range" min="0" max="1" step="0.05" value="0.65"></label>'
        f'<button type="button" class="atlas-chip" data-whole>{both("The whole image reads", "由整张图来读")}</button></p></div>'
        '<div class="atlas-attend-scroll" tabindex="0"><div class="atlas-attend-tiles"></div></div></div></div>',
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


def follow(surface: gr.HTML, image: Any, keep: bool = False) -> None:
    """Lets a surface show the page's image, whichever way it came; `keep` leaves what was drawn for that very one."""
    given, script = ([image, surface], KEEP_DRAWING) if keep else ([image], TAKE_IMAGE)
    image.change(None, given, [surface], js=script, api_visibility="private", show_progress="hidden")


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
