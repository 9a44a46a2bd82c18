"""Generated tables in the Markdown documents: the READMEs and docs/, in English and, named *.zh.md, in Chinese.

A table stands between `<!-- name: argument -->` and `<!-- /name -->`. Each generator has a name of its own:
`python -m demos.catalog --write` (papers), `python -m core.checkpoints table --write` (checkpoints) and
`python -m core.classroom.report --write` (report); `make docs` runs all three.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

Make = Callable[[str, str], str]  # (argument, "en" or "zh") -> the table


def documents() -> dict[Path, str]:
    """Every document with its language."""
    paths = [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return {path: "zh" if path.name.endswith(".zh.md") else "en" for path in paths}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; bars inside cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def filled(text: str, lang: str, name: str, make: Make) -> str:
    """A document's text with every table of that name made again."""
    marks = re.compile(rf"(<!-- {name}: (.*?) -->)\n.*?(<!-- /{name} -->)", re.S)
    return marks.sub(lambda match: f"{match[1]}\n{make(match[2], lang)}\n{match[3]}", text)


def write(name: str, make: Make) -> None:
    """Makes the tables of that name again in every document."""
    for path, lang in documents().items():
        text = path.read_text(encoding="utf-8")
        path.write_text(filled(text, lang, name, make), encoding="utf-8")
