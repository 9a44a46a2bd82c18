"""Code cards: equations of a paper beside the lines of this repository that compute them, read from the files.

A card is a row of a page's data: `equation`, `what` in both languages, `file`, `name` ("function", "Class" or
"Class.method"), where only some lines are meant their beginnings `first` and `last`, and `made`, the name of what a run
made of it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from demos.kit.html import Markup, join, tag
from demos.kit.language import Text, pick

ROOT = Path(__file__).resolve().parents[2]
IDEA = Text(
    "The lines of this repository that ran, read from the files of the server. Each stands beside its equation in the paper.",
    "刚刚运行的代码，直接读自服务器上的文件；每段代码旁边是论文中对应的公式。",
)


@cache
def lines(file: str, name: str) -> str:
    """The source of a function, class or method, without importing it.

    Args:
        file: from the repository's root, "core/drawing/losses.py".
        name: "function", "Class" or "Class.method".

    Raises:
        KeyError: where the file has no such name.
    """
    text = (ROOT / file).read_text(encoding="utf-8")
    node: ast.AST = ast.parse(text)
    for part in name.split("."):
        named = (ast.FunctionDef, ast.ClassDef)
        node = {child.name: child for child in ast.iter_child_nodes(node) if isinstance(child, named)}[part]
    return unindented((ast.get_source_segment(text, node, padded=True) or "").rstrip().splitlines())


def unindented(source: list[str]) -> str:
    """Lines without the indentation that they share."""
    indent = min((len(line) - len(line.lstrip()) for line in source if line.strip()), default=0)
    return "\n".join(line[indent:] for line in source)


def passage(card: Mapping[str, Any]) -> str:
    """The lines of a card.

    Raises:
        ValueError: where the file no longer has them.
    """
    source = lines(card["file"], card["name"]).splitlines()
    if "first" not in card:
        return "\n".join(source)
    starts = [line.strip() for line in source]
    first, last = (
        next((i for i, line in enumerate(starts) if line.startswith(card[end])), -1)
        for end in ("first", "last")
    )
    if not 0 <= first <= last:
        raise ValueError(
            f"{card['file']} has no lines from {card['first']!r} to {card['last']!r} in {card['name']}"
        )
    return unindented(source[first : last + 1])


def cards(rows: Iterable[Mapping[str, Any]], values: Mapping[str, str], lang: str) -> Markup:
    """Cards as HTML.

    Args:
        rows: the cards.
        values: what a run made, by the names in `made`.
        lang: "en" or "zh".
    """
    return tag(
        "div",
        join(_card(row, values.get(row.get("made", ""), ""), lang) for row in rows),
        class_="code-cards",
    )


def _card(row: Mapping[str, Any], value: str, lang: str) -> Markup:
    made = tag("p", pick(lang, "in this run", "本次运行")) + tag("pre", value) if value else ""
    meaning = tag(
        "div",
        tag("p", Markup(row["equation"]), class_="equation"),
        tag("p", row["what"]["zh" if lang == "zh" else "en"]),
        made,
    )
    source = tag(
        "div",
        tag("p", tag("code", row["file"]), " · ", tag("code", row["name"])),
        tag("pre", tag("code", passage(row)), tabindex="0"),
    )
    return tag("section", meaning, source, class_="code-card")
