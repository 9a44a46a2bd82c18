"""The example clouds of the PointCLIP page and the thumbnails of all its shapes.

python -m core.classroom.world.cloud_examples
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from core import inputs, terminal
from core.classroom.world import clouds
from core.classroom.world.concepts import ASSETS

FOLDER = ASSETS / "examples" / "shapes"
NAMES = ("star", "wine", "butterfly", "horse")
SEED, SIDE, FRONT = 3, 96, 4  # FRONT: the view of PointCLIP V2 that a thumbnail shows
TURNED = {"milk_truck": 6, "cow_spot": 7, "bunny": 4}


def write(folder: Path = FOLDER) -> None:
    """Writes the clouds as half precision numbers, and a small image of every shape."""
    import torch

    from core.spatial.projection import V2, project

    settings = replace(clouds.NEW, names=NAMES, occluded=0.0, missing=0.0)
    made = clouds.sample(1, SEED, settings)
    for name, points in zip(NAMES, made.points, strict=True):
        np.save(folder / f"{name}.npy", points.astype(np.float16))
    for file in sorted(folder.iterdir()):
        if file.suffix in (".webp", ".md"):
            continue
        cloud = inputs.points(file)
        view = project(torch.from_numpy(cloud.points)[None], V2)[0, TURNED.get(file.stem, FRONT)]
        image = Image.fromarray((view.numpy() * 255).round().astype(np.uint8)).resize((SIDE, SIDE))
        image.convert("RGB").save(folder / f"{file.stem}.webp", quality=80)


def main() -> None:
    """Writes the example clouds of the PointCLIP page and the thumbnails of all its shapes."""
    argparse.ArgumentParser(
        prog="python -m core.classroom.world.cloud_examples", description=main.__doc__
    ).parse_args()
    write()


if __name__ == "__main__":
    sys.exit(terminal.run(main))
