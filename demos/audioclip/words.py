"""The texts of the AudioCLIP page, from data.toml, and its example files."""

import json
from functools import cache
from typing import Any

from demos.kit import library

PAPER = "audioclip"
data, _, say, markup, text = library.words(PAPER)
FOLDER = library.ASSETS / PAPER


@cache
def things() -> dict[str, dict[str, Any]]:
    """The drawn things by name: {"code", "en", "zh", "drawing"} and, of some, "sound"."""
    rows = json.loads((FOLDER / "sounds.json").read_text(encoding="utf-8"))
    return {row["name"]: row for row in rows}


@cache
def sounds() -> dict[str, dict[str, Any]]:
    """The example sounds by id: {"sound": its path, "path": of the image on its button, "caption", "thing", "real"}; synthesised
    ones first, then recordings."""
    rows: dict[str, dict[str, Any]] = {}
    for name, row in things().items():
        if "sound" in row:
            caption = {"en": row["en"], "zh": row["zh"]}
            rows[name] = {"sound": str(FOLDER / row["sound"]), "thing": name, "caption": caption}
    for name, row in data()["recordings"].items():
        rows[name] = {**row, "sound": str(FOLDER / f"{name}.mp3"), "real": True}
    for row in rows.values():
        row["path"] = str(FOLDER / things()[row["thing"]]["drawing"])
    return rows
