"""What the tabs of the LSeg page share: picture, labels, which model, the colours that labels hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from demos.kit.shell import Shell


@dataclass(frozen=True)
class Common:
    """What the tabs share."""

    page: Shell
    picture: Any
    example: gr.Textbox
    scene: gr.Textbox
    labels: gr.HTML
    way: gr.Radio
    plain: gr.Dropdown
    checkpoint: gr.Dropdown
    held: gr.State

    @property
    def asked(self) -> list[Any]:
        """The inputs of every question."""
        return [self.picture, self.labels, self.way, self.plain, self.checkpoint]


def output(elem_id: str) -> gr.HTML:
    """A place for a result."""
    return gr.HTML("", elem_id=elem_id, padding=False, apply_default_css=False)
