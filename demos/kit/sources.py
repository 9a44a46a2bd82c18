"""The lines of this repository that a page shows: read from the files, without importing them, so never out of date."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def lines(file: str, name: str) -> str:
    """The source of a function, class or method.

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
    found = ast.get_source_segment(text, node, padded=True) or ""
    indent = len(found) - len(found.lstrip())
    return "\n".join(line[indent:] for line in found.rstrip().splitlines())


def markdown(file: str, name: str) -> str:
    """The same as a block of Markdown, with its place above."""
    return f"`{file}` · `{name}`\n\n```python\n{lines(file, name)}\n```"
