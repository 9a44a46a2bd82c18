"""The texts and example clouds of the PointCLIP page, from data.toml and assets/examples/shapes."""

from __future__ import annotations

from functools import cache
from typing import Any

from demos.kit.library import ASSETS, words

PAPER = "pointclip"
data, _, say, markup, text = words(PAPER)
SHAPES = ASSETS / "shapes"


@cache
def examples() -> dict[str, dict[str, Any]]:
    """Clouds by id: {"path" of the thumbnail, "cloud" of the file, "caption", "labels", "answer", "classroom"}."""
    return {
        name: {
            **row,
            "path": str(SHAPES / f"{name}.webp"),
            "cloud": str(SHAPES / row["file"]),
            "classroom": row["file"].endswith(".npy"),
        }
        for name, row in data()["examples"].items()
    }
