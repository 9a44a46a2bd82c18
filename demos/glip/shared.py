"""What the tabs of the GLIP page share: picture, prompt, threshold, checkpoint, and the place of a grounded picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demos.kit.components import SCRIPTS
from demos.kit.shell import Shell


@dataclass(frozen=True)
class Asked:
    """A question: what stands in the page's inputs, in the order of `Common.asked`."""

    picture: str | None
    mode: str
    text: str
    threshold: float
    checkpoint: str


@dataclass(frozen=True)
class Common:
    """What the tabs share."""

    page: Shell
    picture: Any
    example: gr.Textbox
    scene: gr.Textbox
    mode: gr.Radio
    text: gr.Textbox
    threshold: gr.Slider
    checkpoint: gr.Dropdown
    stopping: gr.Button

    @property
    def asked(self) -> list[Any]:
        """The inputs of every question."""
        return [self.picture, self.mode, self.text, self.threshold, self.checkpoint]

    def on(self, triggers: Any, handler: Callable[..., Any], outputs: Sequence[Any]) -> Any:
        """Wires a job, which the page's Stop button stops."""
        return self.page.on(triggers, handler, self.asked, [*outputs, self.stopping], session=True)

    def then(self, event: Any, handler: Callable[..., Any], outputs: Sequence[Any]) -> Any:
        """Wires a job behind an event."""
        return self.page.then(event, handler, self.asked, [*outputs, self.stopping], session=True)


def stage(elem_id: str, value: str = "") -> gr.HTML:
    """A place for what `demos.glip.draw.figure` makes: phrases and boxes show each other, the threshold hides boxes."""
    scripts = [(SCRIPTS / name).read_text(encoding="utf-8") for name in ("detect.js", "grounding.js")]
    return gr.HTML(
        value, js_on_load="\n".join(scripts), elem_id=elem_id, padding=False, apply_default_css=False
    )


def output(elem_id: str) -> gr.HTML:
    """A place for a result."""
    return gr.HTML("", elem_id=elem_id, padding=False, apply_default_css=False)
