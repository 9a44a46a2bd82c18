"""The ViLD page's example pictures: `python -m demos.vild_examples` draws those that are its own.

The others are the CLIP page's. Labels are the page's; what is where, for the lessons, is known exactly.
"""

from __future__ import annotations

import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from demos import clip_handlers, draw, draw_scene

FOLDER = clip_handlers.ASSETS / "vild"
LISTING = FOLDER / "examples.json"
KEPT = ("code", "en", "zh", "visible_box")


@cache
def words() -> dict[str, Any]:
    """The page's texts and data."""
    return tomllib.loads(Path(__file__).with_name("vild.toml").read_text(encoding="utf-8"))


@cache
def examples() -> dict[str, dict[str, Any]]:
    """Example pictures by id: {"path", "caption", "labels", "classroom", "objects" of scenes of its own}."""
    drawn = {row["file"]: row for row in json.loads(LISTING.read_text(encoding="utf-8"))}
    found = {}
    for name, row in words()["examples"].items():
        own = "scene" in row
        base = drawn[f"{name}.png"] if own else clip_handlers.examples()[name]
        path = str(FOLDER / base["file"]) if own else base["path"]
        found[name] = {
            "path": path,
            "caption": base["caption"],
            "labels": row["labels"],
            "classroom": own or base["classroom"],
            "objects": base["objects"] if own else [],
        }
    return found


def write(out: Path = FOLDER) -> None:
    """Draws the page's own scenes into a folder, with what is where in them."""
    from core.classroom import description

    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, row in words()["examples"].items():
        if "scene" not in row:
            continue
        scene = description.draw(description.parse(row["scene"]))
        (out / f"{name}.png").write_bytes(draw_scene.png(scene.picture))
        rows.append(
            {
                "file": f"{name}.png",
                "caption": {lang: texts[0] for lang, texts in scene.truth["captions"].items()},
                "objects": [{key: thing[key] for key in KEPT} for thing in scene.truth["objects"]],
            }
        )
    (out / LISTING.name).write_text(draw.to_json(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
