"""The table of the *Tensors* tab: every step of a run with the shape that it had."""

from __future__ import annotations

from collections.abc import Sequence

from demos.kit.html import Markup, grid, tag
from demos.kit.language import Text

IDEA = Text(
    "Every step from the inputs to the answer, with the shapes of this run.",
    "从输入到结果的每一步，以及本次运行中的张量形状。",
)
HEAD = (Text("step", "步骤"), Text("shape", "形状"), Text("meaning", "含义"))
Step = tuple[Text, str, Text]  # its name, its shape, its meaning


def table(steps: Sequence[Step], lang: str) -> Markup:
    """The steps as a table that scrolls sideways on a narrow screen."""
    rows = [
        tag(
            "tr",
            tag("th", name.get(lang), scope="row"),
            tag("td", tag("code", shape)),
            tag("td", meaning.get(lang)),
        )
        for name, shape, meaning in steps
    ]
    return grid([text.get(lang) for text in HEAD], rows, "atlas-steps")
