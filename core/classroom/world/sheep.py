"""The three sheep of the Chinese-CLIP page, one drawing standing, eating and lying: `python -m core.classroom.world.sheep`.

The lecture notes ask Chinese-CLIP about three photos of sheep; these are their twins in the classroom's world.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from core import terminal
from core.classroom.world.concepts import ASSETS, find
from core.classroom.world.examples import Example, draw, keep, truth
from core.classroom.world.placing import Placed

OUT = ASSETS / "examples" / "chinese_clip"
POSES = ("standing", "eating", "lying")
LABELS_EN = "a sheep standing, a sheep eating, a sheep lying down"
LABELS_ZH = "站立的羊，进食的羊，躺着的羊"
CAPTIONS = {
    "standing": ("a sheep standing", "站立的羊"),
    "eating": ("a sheep eating", "进食的羊"),
    "lying": ("a sheep lying down", "躺着的羊"),
}


def example(pose: str) -> Example:
    """The same sheep at the same place of the same meadow in one of `POSES`."""
    sheep = find("sheep")
    assert sheep is not None
    placed = Placed(sheep.index, 0.02, 0.2, 0.68, style="fluent-emoji-flat", pose=pose)
    return Example(f"sheep_{pose}", (placed,), "grass", "colour", LABELS_EN, LABELS_ZH, *CAPTIONS[pose])


def write(out: Path = OUT) -> list[Path]:
    """Draws the three into the folder, with what is known of them in `examples.json`; returns the images."""
    out.mkdir(parents=True, exist_ok=True)
    rows, files = [], []
    for pose in POSES:
        scenes = draw(example(pose))
        pixels = (scenes.picture[0].permute(1, 2, 0) * 255).round().byte().numpy()
        files.append(keep(pixels, out, f"sheep_{pose}"))
        rows.append({"pose": pose, **truth(example(pose), scenes)})
    text = json.dumps(rows, ensure_ascii=False, indent=1) + "\n"
    (out / "examples.json").write_text(text, encoding="utf-8")
    return files


def main() -> None:
    """Draws the three sheep of the Chinese-CLIP page into its folder of examples."""
    argparse.ArgumentParser(
        prog="python -m core.classroom.world.sheep", description=main.__doc__
    ).parse_args()
    write()


if __name__ == "__main__":
    sys.exit(terminal.run(main))
