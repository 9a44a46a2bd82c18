"""What happens to uploads, and what CLIP should not be used for: the words of `privacy.toml` as a page.

The facts about uploads are those of `demos.app.uploads` and `core.runtime`'s caches; tests hold the words against them.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr

from demos import catalog
from demos.kit import shell
from demos.kit.html import escape
from demos.kit.language import Text


@cache
def words() -> dict[str, Any]:
    """Sections and sources in both languages."""
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def section(row: dict[str, Any]) -> str:
    """One heading with its points."""
    points = "".join(
        f"<div><dt>{shell.both_of(Text(**point['lead']))}</dt>"
        f"<dd>{shell.both_of(Text(point['en'], point['zh']))}</dd></div>"
        for point in row["points"]
    )
    return f"<section><h2>{shell.both_of(Text(**row['title']))}</h2><dl>{points}</dl></section>"


def build() -> None:
    """Lays the page out; it has no inputs."""
    shell.Shell()
    sources = ", ".join(
        f'<a href="{escape(row["url"])}" target="_blank" rel="noopener">{shell.both_of(Text(**row["title"]))}</a>'
        for row in words()["sources"]
    )
    told = shell.both("Told in our own words after", "以上用我们自己的话转述自")
    gr.HTML(
        f'<div class="privacy">{"".join(map(section, words()["sections"]))}<p class="atlas-line">{told} {sources}.</p></div>',
        padding=False,
        apply_default_css=False,
        elem_id="privacy",
    )


PAGE = catalog.page("privacy", build)
