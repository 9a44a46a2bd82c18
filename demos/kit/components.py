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
from demos.kit import library
from demos.kit.events import QUIET
from demos.kit.html import Markup, join, tag
from demos.kit.language import Text, both, both_of

ASSETS = Path(__file__).resolve().parents[2] / "assets"
# The page's image as a surface takes it over, in the browser; what was drawn on another image goes.
TAKE_IMAGE = "(image) => JSON.stringify({ src: image ? image.url : '' })"
# What a recorder uploaded as the value of a file input, in the browser.
TAKE_FILE = "(value) => ({ ...JSON.parse(value), meta: { _type: 'gradio.FileData' } })"
MAX_VALUE = 200_000  # characters of a surface's value


def output(elem_id: str | None, value: str = "", **options: Any) -> gr.HTML:
    """A place for HTML."""
    return gr.HTML(value, elem_id=elem_id, padding=False, apply_default_css=False, **options)


def plot(elem_id: str, **options: Any) -> gr.Plot:
    """A place for a plotly figure."""
    return gr.Plot(show_label=False, elem_id=elem_id, container=False, **options)


def visibility(is_shown: bool) -> Any:
    """Whether a component is shown, for one that comes and goes during a run.

    A hidden component stays in the page: while a run sends its steps, Gradio may not get to add a new one.
    """
    return True if is_shown else "hidden"


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
    return output(elem_id, value, js_on_load="\n".join(map(code_of, scripts)))


def mask_stage(elem_id: str, value: str = "") -> gr.HTML:
    """A place for `demos.draw.masks.overlay`: pointing at it shows label and probability."""
    return stage(elem_id, value, ("segments.js",))


def pick_box(elem_id: str) -> gr.HTML:
    """Where clicks on boxes arrive: its `change` event follows each, and `read_pick` reads which box it was.

    It stands outside of tabs: what is in a closed one is not in the page.
    """
    code = code_of("pick.js").replace("props.name", repr(elem_id))
    return output(elem_id, html_template="<span></span>", js_on_load=code, elem_classes="atlas-det-pick")


def read_pick(value: str | None, count: int) -> int | None:
    """The number behind a pick box's value, if it is one of `count`."""
    number = (value or "").partition(" ")[0]
    at = int(number) if number.isascii() and number.isdecimal() and len(number) < 7 else count
    return at if at < count else None


def label_chips(elem_id: str) -> gr.HTML:
    """Labels as chips: the value is one text with commas, and the `input` event follows each that comes or goes."""
    return surface(elem_id, "labels.js", markup("labels", id=elem_id))


def box_surface(elem_id: str) -> gr.HTML:
    """An image on which boxes are drawn; `read` gives {"src", "boxes": [[left, top, right, bottom], ...]}."""
    return surface(elem_id, "boxes.js", markup("boxes"))


def edit_surface(elem_id: str, things: Sequence[tuple[str, Text, str]]) -> gr.HTML:
    """An image that is changed by hand: a brush paints out, things are put in; `read` gives {"src", "strokes", "pastes"}.

    Args:
        elem_id: its id in the page.
        things: of the shelf: name, title, the address of its thumbnail. A blank patch, named "", stands before them.
    """
    shelf = (
        tag(
            "button",
            tag("img", alt="", src=source),
            tag("span", both_of(title), class_="atlas-only-read"),
            type="button",
            data_sprite=name,
            title=f"{title.en} {title.zh}",
        )
        for name, title, source in things
    )
    return surface(elem_id, "edit.js", markup("edit", shelf=join(shelf)))


def attention_surface(elem_id: str) -> gr.HTML:
    """Maps of attention by layer and head over an image; a click on the image chooses the place that reads."""
    return surface(elem_id, "attention.js", markup("attention"))


def markup(name: str, **parts: str) -> Markup:
    """A file of `assets/html` with its texts, table `markup` of data.toml, and further parts, which are escaped."""
    lines = (ASSETS / "html" / f"{name}.html").read_text(encoding="utf-8").splitlines()
    texts = {key: both(**pair) for key, pair in library.data("kit")["markup"].get(name, {}).items()}
    return Markup("".join(map(str.strip, lines))).format(**texts, **parts)


def code_of(name: str) -> str:
    """A script of `assets/js`."""
    return (ASSETS / "js" / name).read_text(encoding="utf-8")


def surface(elem_id: str, script: str, template: str, **options: Any) -> gr.HTML:
    """A surface of its own: a script of `assets/js` and the markup that it works on."""
    return output(elem_id, html_template=template, js_on_load=code_of(script), **options)


def recorder(given: gr.File, device: str) -> None:
    """A button that records with the "camera" or the "microphone" into a file input, which then asks as after an upload."""
    elem_id = f"{given.elem_id}-{device}"
    recorder = surface(elem_id, "recorder.js", markup(device), elem_classes="atlas-own-file")
    taken = recorder.change(None, [recorder], [given], js=TAKE_FILE, **QUIET)
    taken.then(None, None, None, js="() => { window.atlas.touched(false); }", **QUIET)


def follow(surface: gr.HTML, image: Any, keep: bool = False) -> None:
    """Lets a surface show the page's image, whichever way it came.

    Args:
        keep: leaves what a handler may have drawn on the new image already: its value names the image's file in "for".
    """
    given, script = ([image, surface], code_of("keep_drawing.js")) if keep else ([image], TAKE_IMAGE)
    image.change(None, given, [surface], js=script, **QUIET)


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
