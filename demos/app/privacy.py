"""What happens to uploads, and what CLIP should not be used for: the words of `privacy.toml` as a page.

The facts about uploads are those of `demos.app.uploads` and `core.runtime`'s caches; tests hold the words against them.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from demos import catalog
from demos.kit.components import output
from demos.kit.events import Shell
from demos.kit.html import Markup, join, tag
from demos.kit.language import Text, both, both_of


@cache
def words() -> dict[str, Any]:
    """Sections and sources in both languages."""
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def section(row: dict[str, Any]) -> Markup:
    """One heading with its points."""
    points = (
        tag(
            "div",
            tag("dt", both_of(Text(**point["lead"]))),
            tag("dd", both_of(Text(point["en"], point["zh"]))),
        )
        for point in row["points"]
    )
    return tag("section", tag("h2", both_of(Text(**row["title"]))), tag("dl", *points))


def build() -> None:
    """Lays the page out; it has no inputs."""
    Shell()
    sources = join(
        (
            tag("a", both_of(Text(**row["title"])), href=row["url"], target="_blank", rel="noopener")
            for row in words()["sources"]
        ),
        ", ",
    )
    source = tag("p", both(**words()["told"]), " ", sources, ".", class_="atlas-line")
    output("privacy", tag("div", *map(section, words()["sections"]), source, class_="privacy"))


PAGE = catalog.page("privacy", build)
