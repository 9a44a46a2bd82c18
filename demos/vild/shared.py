"""What the tabs of the ViLD page share: picture, labels, variant, threshold, number of proposals, checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demos.kit.detect_jobs import asking
from demos.kit.shell import Shell


@dataclass(frozen=True)
class Asked:
    """A question: what stands in the page's inputs, in the order of `Common.asked`."""

    picture: str | None
    labels: str | Sequence[str]
    variant: str
    threshold: float | None
    proposals: float
    checkpoint: str


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

    def on(
        self, triggers: Any, handler: Callable[..., Any], outputs: Sequence[Any], *others: Any, **options: Any
    ) -> Any:
        """Wires `handler(asked, *others, lang)`; options as of `Shell.on`."""
        return self.page.on(triggers, asking(Asked, handler), [*self.asked, *others], outputs, **options)


def output(elem_id: str) -> gr.HTML:
    """A place for a result."""
    return gr.HTML("", elem_id=elem_id, padding=False, apply_default_css=False)
