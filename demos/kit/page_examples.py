"""Words, data and example pictures of the pages that have a `<page>.toml`: `python -m demos.kit.page_examples lseg vild glip`
draws those pictures that are scenes of the page's own.

The others are the CLIP page's, by their names. What is where in a drawn scene is known exactly, for the lessons.
"""

from __future__ import annotations

import json
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from core import inputs
from demos.clip import answer as clip_handlers
from demos.draw import base as draw

PAGES = Path(__file__).resolve().parents[1]
LISTING = "examples.json"  # what is where in the scenes of a folder
KEPT = ("code", "en", "zh", "visible_box")


def folder(page: str) -> Path:
    """Where a page's scenes are kept."""
    return clip_handlers.ASSETS / page


@cache
def words(page: str) -> dict[str, Any]:
    """A page's texts and data."""
    return tomllib.loads((PAGES / page / "data.toml").read_text(encoding="utf-8"))


@cache
def examples(page: str) -> dict[str, dict[str, Any]]:
    """Example pictures by id: {"path", "caption", "labels", "classroom", "objects" of drawn ones}, the page's words first."""
    listing = json.loads((folder(page) / LISTING).read_text(encoding="utf-8"))
    own = {Path(row["file"]).stem: {**row, "path": str(folder(page) / row["file"])} for row in listing}
    known = clip_handlers.examples() | {name: {**row, "classroom": True} for name, row in own.items()}
    return {name: {"objects": [], **known[name], **row} for name, row in words(page)["examples"].items()}


@cache
def drawn_pictures(page: str) -> frozenset[str]:
    """Digests of the example pictures that a miniature knows how to see."""
    own = (inputs.digest(inputs.image(row["path"])) for row in examples(page).values() if row["classroom"])
    return frozenset(own) | clip_handlers.classroom_pictures()


def write(page: str, out: Path) -> None:
    """Draws a page's own scenes into a folder, with what is where in them."""
    from core.classroom.world import description
    from core.classroom.world.examples import keep

    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, row in words(page)["examples"].items():
        if "scene" not in row:
            continue
        scene = description.draw(description.parse(row["scene"]))
        rows.append(
            {
                "file": keep(scene.picture, out, name).name,
                "caption": {lang: texts[0] for lang, texts in scene.truth["captions"].items()},
                "objects": [{key: thing[key] for key in KEPT} for thing in scene.truth["objects"]],
            }
        )
    (out / LISTING).write_text(draw.to_json(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        write(name, folder(name))
