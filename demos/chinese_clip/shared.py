"""What the tabs of the Chinese-CLIP page share: picture, checkpoint, the two boxes of labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from demos.kit.shell import Shell


@dataclass(frozen=True)
class Common:
    """What the tabs share."""

    page: Shell
    checkpoint: Any
    picture: Any
    example: gr.Textbox
    chinese: gr.Textbox
    english: gr.Textbox


def output(elem_id: str, value: str = "") -> gr.HTML:
    """A place for a result."""
    return gr.HTML(value, elem_id=elem_id, padding=False, apply_default_css=False)
