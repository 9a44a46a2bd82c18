"""What the tabs of the CLIP page share: the picture, the checkpoint, and small parts that look the same everywhere.

A tab is a module with a function `<name>_tab(common)` that lays it out and wires it; `demos.clip` calls them in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from core.clip import prompts
from demos.kit.menu import CheckpointMenu
from demos.kit.shell import Shell, tr


@dataclass(frozen=True)
class Common:
    """What the tabs share: the page's hidden parts, checkpoint, picture, its example or scene, labels."""

    page: Shell
    menu: CheckpointMenu
    picture: Any
    example: gr.Textbox
    scene: gr.Textbox
    labels: gr.Textbox

    @property
    def checkpoint(self) -> gr.Dropdown:
        """The component that holds the chosen row's name."""
        return self.menu.value


def template_choices() -> list[tuple[Any, str]]:
    """The template sets as a menu shows them."""
    return [(tr(row.en, row.zh), row.name) for row in prompts.template_sets().values()]
