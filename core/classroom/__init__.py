"""The classroom: a synthetic world of emoji scenes whose ground truth is exact, and the recipes that train on it.

    concepts()            432 everyday things, named in English and Chinese; find(word) looks one up
    compose(seed, count)  scenes: images with masks, boxes and depth; Writer(scenes.spec) writes their captions
    sample_clips(...)     clips in which one thing moves; render_clips draws their frames
    arrange([Placed...])  one scene made by hand; render(spec, atlas, size) draws it
    open_atlas()          the sprites that scenes are made of

Importing this package loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from core.classroom.world.concepts import Concept, concepts, find

if TYPE_CHECKING:
    from core.classroom.world.atlas import Atlas, open_atlas
    from core.classroom.world.captions import Caption, Writer
    from core.classroom.world.clips import Clips, ClipSettings, ClipSpec, render_clips, sample_clips
    from core.classroom.world.placing import Placed, arrange
    from core.classroom.world.scenes import Scenes, compose, render
    from core.classroom.world.specs import SceneSettings, Spec, sample

_LAZY = {
    "atlas": ("Atlas", "open_atlas"),
    "captions": ("Caption", "Writer"),
    "clips": ("ClipSettings", "ClipSpec", "Clips", "render_clips", "sample_clips"),
    "placing": ("Placed", "arrange"),
    "scenes": ("Scenes", "compose", "render"),
    "specs": ("SceneSettings", "Spec", "sample"),
}

__all__ = [
    "Atlas",
    "Caption",
    "ClipSettings",
    "ClipSpec",
    "Clips",
    "Concept",
    "Placed",
    "SceneSettings",
    "Scenes",
    "Spec",
    "Writer",
    "arrange",
    "compose",
    "concepts",
    "find",
    "open_atlas",
    "render",
    "render_clips",
    "sample",
    "sample_clips",
]


def __getattr__(name: str) -> Any:
    for module, names in _LAZY.items():
        if name in names:
            return getattr(importlib.import_module(f"core.classroom.world.{module}"), name)
    raise AttributeError(f"module 'core.classroom' has no attribute {name!r}")
