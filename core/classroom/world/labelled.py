"""Pictures with the right label of every pixel, against which a page holds a segmenter's answer.

The example images of the GroupViT page are some of them: `python -m core.classroom examples`.
"""

from __future__ import annotations

import json
import math
import random
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core import masks as rle
from core.classroom.world import description
from core.classroom.world.atlas import open_atlas
from core.classroom.world.concepts import ASSETS, concepts, find
from core.classroom.world.examples import keep
from core.classroom.world.placing import Placed, arrange
from core.classroom.world.scenes import render
from core.classroom.world.specs import SceneSettings, sample

EXAMPLES = ASSETS / "examples" / "groupvit"
NOTHING = -1
# Single objects and pairs that no training scene composes, in colour.
NEW = SceneSettings(kinds=(0.3, 0.7, 0, 0), looks=(1, 0, 0, 0, 0, 0), augment=0.4, poses=0.0, pairs="new")


@dataclass(frozen=True)
class Labelled:
    """An image and what is where in it."""

    picture: NDArray[np.uint8]  # [H, W, 3]
    truth: NDArray[
        np.int16
    ]  # [H, W], place of the pixel's concept in `concepts`, -1 where there is no object
    concepts: tuple[int, ...]  # shown ones first, then any that are only offered

    def names(self, lang: str) -> list[str]:
        """What the concepts are called in "en" or "zh"."""
        return [concepts()[index].name(lang) for index in self.concepts]


def described(text: str, size: int = description.SIZE) -> Labelled:
    """A scene given by its text (`core.classroom.world.description`); Refusal as `description.parse`."""
    drawn = description.draw(description.parse(text), size)
    shown: list[int] = []
    truth = np.full((size, size), NOTHING, np.int16)
    for thing in drawn.truth["objects"]:
        found = find(thing["code"])
        assert found is not None  # the scene was drawn from it
        if found.index not in shown:
            shown.append(found.index)
        truth[rle.decode(thing["visible_mask"]["counts"], size, size)] = shown.index(found.index)
    return Labelled(drawn.picture, truth, tuple(shown))


def tiled(things: Sequence[int], background: str = "white", size: int = description.SIZE) -> Labelled:
    """More things than a scene holds: one of each concept in the cells of a square, on one plain ground.

    Args:
        things: different concepts, at most 16.
        background: a plain one of `specs.BACKGROUNDS`.
        size: pixels of a side, divided evenly by the columns.
    """
    columns = math.ceil(math.sqrt(len(things)))
    side = size // columns
    blank = render(arrange([Placed(things[0], half=0.0)], background=background), open_atlas(), side)
    picture = blank.picture[0].repeat(1, columns, columns)
    truth = torch.full((columns * side, columns * side), NOTHING, dtype=torch.int16)
    for at, thing in enumerate(things):
        cell = render(arrange([Placed(thing, half=0.8)], background=background, seed=at), open_atlas(), side)
        top, left = side * (at // columns), side * (at % columns)
        picture[:, top : top + side, left : left + side] = cell.picture[0]
        truth[top : top + side, left : left + side][cell.visible[0, 0]] = at
    pixels = (picture.permute(1, 2, 0) * 255).round().byte().numpy()
    return Labelled(pixels, truth.numpy(), tuple(things))


def fresh(count: int, seed: int, distractors: int = 4, size: int = 192) -> list[Labelled]:
    """Scenes that no training composed, from a seed, each with labels of its own and `distractors` others."""
    atlas = open_atlas()
    scenes = render(sample(count, seed, atlas, NEW), atlas, size)
    visible, slots = scenes.visible, scenes.spec.concept.tolist()
    found = []
    for i, number in enumerate(scenes.spec.count.tolist()):
        shown = list(dict.fromkeys(slots[i][:number]))
        others = [index for index in range(len(concepts())) if index not in shown]
        offered = random.Random(f"{seed} {i}").sample(others, distractors)
        truth = torch.full((size, size), NOTHING, dtype=torch.int16)
        for slot in range(number):
            truth[visible[i, slot]] = shown.index(slots[i][slot])
        pixels = (scenes.picture[i].permute(1, 2, 0) * 255).round().byte().numpy()
        found.append(Labelled(pixels, truth.numpy(), (*shown, *offered)))
    return found


def stored(row: dict[str, Any]) -> NDArray[np.int16]:
    """The truth [H, W] of an example as `write` stored it: place in its "names", -1 where there is no object."""
    height, width = row["size"]
    truth = np.full((height, width), NOTHING, np.int16)
    for at, counts in enumerate(row["masks"]):
        truth[rle.decode(counts, height, width)] = at
    return truth


def write(out: Path = EXAMPLES) -> list[Path]:
    """Draws the example images of `scenes.toml` into the folder, with their truth in `examples.json`."""
    out.mkdir(parents=True, exist_ok=True)
    rows, files = [], []
    for name, asked in tomllib.loads((EXAMPLES / "scenes.toml").read_text(encoding="utf-8")).items():
        if "scene" in asked:
            made = described(asked["scene"])
        else:
            made = tiled([_index(word) for word in asked["things"]], asked["background"])
        files.append(keep(made.picture, out, name))
        rows.append(
            {
                "file": files[-1].name,
                "caption": asked["caption"],
                "labels": asked.get("labels")
                or {"en": ", ".join(made.names("en")), "zh": "，".join(made.names("zh"))},
                "names": {lang: made.names(lang) for lang in ("en", "zh")},
                "size": list(made.truth.shape),
                "masks": [rle.encode(made.truth == at) for at in range(len(made.concepts))],
            }
        )
    body = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (out / "examples.json").write_text(f"[\n{body}\n]\n", encoding="utf-8")
    return files


def _index(word: str) -> int:
    found = find(word)
    if found is None:
        raise KeyError(word)
    return found.index
