"""The classroom: a synthetic world of emoji scenes whose ground truth is exact, and the recipes that train on it.

    concepts()   about 430 everyday things, named in English and Chinese
    compose()    scenes from a seed: pictures with captions, masks, boxes, depth
    open_atlas() the sprites that scenes are made of

Importing this package loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.classroom.concepts import Concept, concepts, find

if TYPE_CHECKING:
    from core.classroom.scenes import Scene, SceneSettings, compose
    from core.classroom.atlas import Atlas, open_atlas

__all__ = ["Atlas", "Concept", "Scene", "SceneSettings", "compose", "concepts", "find", "open_atlas"]


def __getattr__(name: str) -> Any:
    if name in ("Scene", "SceneSettings", "compose"):
        from core.classroom import scenes

        return getattr(scenes, name)
    if name in ("Atlas", "open_atlas"):
        from core.classroom import atlas

        return getattr(atlas, name)
    raise AttributeError(f"module 'core.classroom' has no attribute {name!r}")
