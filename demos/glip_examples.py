"""The GLIP page's own data, and its example pictures: `python -m demos.glip_examples` draws those that are scenes.

The others are the CLIP page's. What is where in a drawn scene is known exactly, for the lessons.
"""

from __future__ import annotations

import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from core import inputs
from demos import clip_handlers, draw, draw_scene

FOLDER = clip_handlers.ASSETS / "glip"
LISTING = FOLDER / "examples.json"
KEPT = ("code", "en", "zh", "visible_box")


@cache
def words() -> dict[str, Any]:
    """The page's texts and data."""
    return tomllib.loads(Path(__file__).with_name("glip.toml").read_text(encoding="utf-8"))


@cache
def examples() -> dict[str, dict[str, Any]]:
    """Example pictures by id: {"path", "caption", "labels", "classroom", "objects" of drawn ones}."""
    drawn = json.loads(LISTING.read_text(encoding="utf-8"))
    found = {}
    for name, row in words()["examples"].items():
        shown = {"caption": row["caption"], "labels": row["labels"]}
        if "scene" in row:
            path = str(FOLDER / f"{name}.png")
            found[name] = {**shown, "path": path, "classroom": True, "objects": drawn[name]}
        else:
            other = clip_handlers.examples()[name]
            found[name] = {**shown, "path": other["path"], "classroom": other["classroom"], "objects": []}
    return found


@cache
def drawn_pictures() -> frozenset[str]:
    """Digests of the example pictures that a miniature knows how to see."""
    own = (inputs.digest(inputs.image(row["path"])) for row in examples().values() if row["classroom"])
    return frozenset(own) | clip_handlers.classroom_pictures()


def write(out: Path = FOLDER) -> None:
    """Draws the page's scenes into a folder, with what is where in them."""
    from core.classroom import description

    out.mkdir(parents=True, exist_ok=True)
    known = {}
    for name, row in words()["examples"].items():
        if "scene" in row:
            scene = description.draw(description.parse(row["scene"]))
            (out / f"{name}.png").write_bytes(draw_scene.png(scene.picture))
            known[name] = [{key: thing[key] for key in KEPT} for thing in scene.truth["objects"]]
    (out / LISTING.name).write_text(draw.to_json(known) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
