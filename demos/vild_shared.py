"""What the tabs of the ViLD page share: picture, labels, variant, threshold, number of proposals, checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from demos.shell import Shell


@dataclass(frozen=True)
class Common:
    """What the tabs share."""

    page: Shell
    picture: Any
    example: gr.Textbox
    scene: gr.Textbox
    labels: gr.HTML
    variant: gr.Radio
    threshold: gr.Slider
    proposals: gr.Slider
    checkpoint: gr.Dropdown

    @property
    def asked(self) -> list[Any]:
        """The inputs of every question."""
        return [self.picture, self.labels, self.variant, self.threshold, self.proposals, self.checkpoint]


def output(elem_id: str) -> gr.HTML:
    """A place for a result."""
    return gr.HTML("", elem_id=elem_id, padding=False, apply_default_css=False)
