"""HTML from values: everything that is put into it is escaped, unless it is `Markup` already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

__all__ = ["Markup", "escape", "grid", "join", "row", "scroll", "share", "table", "tag"]

# Elements without an end tag.
VOID = frozenset(("br", "img", "input", "hr", "link", "meta", "source"))


def tag(name: str, /, *children: str, **attributes: str | float | bool | None) -> Markup:
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


def row(head: str, *cells: str, kind: str | None = None) -> Markup:
    """A row of a table: its heading, then `td` elements; `kind` is its class."""
    return tag("tr", tag("th", head, scope="row"), *cells, class_=kind)


def share(value: float, *text: str, best: bool = False) -> Markup:
    """A cell with a bar of `value` (0 to 1) of its width behind its text; the best one of its row or column is marked."""
    return tag("td", *text, class_="best" if best else None, style=f"--share:{100 * value:.1f}%")


def scroll(inner: str) -> Markup:
    """What may be wider than a narrow screen, in a box that scrolls sideways, also by keyboard."""
    return tag("div", inner, class_="atlas-scroll", tabindex="0")


def table(head: Sequence[str], rows: Iterable[Markup], kind: str) -> Markup:
    """A table.

    Args:
        head: titles of the columns; an empty one makes an empty cell.
        rows: `tr` elements.
        kind: its class.
    """
    titles = join(tag("th", text, scope="col") if text else tag("td") for text in head)
    return tag("table", tag("thead", tag("tr", titles)), tag("tbody", *rows), class_=kind)


def grid(head: Sequence[str], rows: Iterable[Markup], kind: str = "") -> Markup:
    """A table with ruled cells that scrolls sideways on a narrow screen.

    Args:
        head: titles of the columns; an empty one makes an empty cell.
        rows: `tr` elements.
        kind: further classes of the table.
    """
    return scroll(table(head, rows, f"atlas-grid {kind}".strip()))
