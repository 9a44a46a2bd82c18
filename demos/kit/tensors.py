"""The table of the *Tensors* tab: every step of a run with the shape that it had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from demos.kit import library
from demos.kit.html import Markup, grid, row, tag
from demos.kit.language import Text

IDEA = Text(
    "Every step from the inputs to the answer, with the shapes of this run.",
    "从输入到结果的每一步，以及本次运行中的张量形状。",
)
HEAD = (Text("step", "步骤"), Text("shape", "形状"), Text("meaning", "含义"))
Step = tuple[Text, str, Text]  # its name, its shape, its meaning


def steps(page: str, **values: Any) -> list[Step]:
    """The rows of the table `steps` of a page's data.toml, with the values of a run in their places."""
    return [
        (
            Text(**filled(one["name"], values)),
            one["shape"].format(**values),
            Text(**filled(one["meaning"], values)),
        )
        for one in library.data(page)["steps"]
    ]


def named(page: str, shapes: Mapping[str, str]) -> list[Step]:
    """Tensors with the meaning that the table `tensors` of a page's data.toml gives their names."""
    meanings = library.data(page)["tensors"]
    return [(Text(name, name), shape, Text(**meanings[name])) for name, shape in shapes.items()]


def shape(array: Any) -> str:
    """The shape of an array as text: "[4, 512]"."""
    return "[" + ", ".join(map(str, array.shape)) + "]"


def filled(texts: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, str]:
    """Texts by name with values in their places."""
    return {name: text.format(**values) for name, text in texts.items()}


def table(steps: Sequence[Step], lang: str) -> Markup:
    """The steps as a table that scrolls sideways on a narrow screen."""
    rows = [
        row(name.get(lang), tag("td", tag("code", shape)), tag("td", meaning.get(lang)))
        for name, shape, meaning in steps
    ]
    return grid([text.get(lang) for text in HEAD], rows, "atlas-steps")
