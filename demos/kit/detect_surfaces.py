"""Components of the pages that detect: the place of an overlay with boxes, and the box that a click on one goes to."""

from __future__ import annotations

import gradio as gr

from demos.kit.surfaces import SCRIPTS

# A click on a box anywhere in the page that names this component; the moment makes a second click a change again.
ON_PICK = """document.addEventListener("atlas-pick", (event) => {
  if (event.detail.picks !== props.name) return;
  props.value = event.detail.pick + " " + Date.now();
  trigger("change");
})"""


def stage(elem_id: str, value: str = "") -> gr.HTML:
    """A place for what `demos.draw.boxes.overlay` makes: pointing at a box, a name or a phrase lights up its like."""
    return gr.HTML(
        value,
        js_on_load=(SCRIPTS / "detect.js").read_text(encoding="utf-8"),
        elem_id=elem_id,
        padding=False,
        apply_default_css=False,
    )


def pick_box(elem_id: str) -> gr.HTML:
    """Where clicks on boxes arrive: its `change` event follows each, and `picked` reads which box it was.

    It stands outside of tabs: what is in a closed one is not in the page.
    """
    return gr.HTML(
        "",
        html_template="<span></span>",
        js_on_load=ON_PICK.replace("props.name", repr(elem_id)),
        elem_id=elem_id,
        elem_classes="atlas-det-pick",
        padding=False,
        apply_default_css=False,
    )


def picked(value: str | None, count: int) -> int | None:
    """The number behind a pick box's value, if it is one of `count`."""
    number = (value or "").partition(" ")[0]
    at = int(number) if number.isascii() and number.isdecimal() and len(number) < 7 else count
    return at if at < count else None
