"""HTML from values: everything that is put into it is escaped, unless it is `Markup` already."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

__all__ = ["Markup", "escape", "join", "tag"]

# Elements without an end tag.
VOID = frozenset(("br", "img", "input", "hr", "source", "rect", "line", "path", "circle"))


def tag(name: str, *children: str, **attributes: str | float | bool | None) -> Markup:
    """An element with its children and attributes, which are escaped.

    Args:
        name: of the element, "p".
        children: texts, or `Markup` of elements inside it.
        attributes: `class_` stands for class and `data_id` for data-id; True writes the bare name, None and False nothing.
    """
    written = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        bare = key.rstrip("_").replace("_", "-")
        written.append(f" {bare}" if value is True else f' {bare}="{escape(value)}"')
    start = Markup(f"<{name}{''.join(written)}>")
    return start if name in VOID else start + join(children) + Markup(f"</{name}>")


def join(parts: Iterable[str], separator: str = "") -> Markup:
    """Parts one behind the other; texts among them are escaped."""
    return Markup(escape(separator)).join(parts)
