"""The models of CLIP Atlas, importable without Gradio.

Shape letters, everywhere in this package:

    B batch     N labels    L words     T frames    D embedding width   C channels
    H W pixels  h w patches G groups    R regions or proposals          K depth bins
    S strokes   P points    V views

`import core` loads none of its rooms, so that it stays under 0.3 seconds: torch comes in with the first
model that is asked for.
"""

from __future__ import annotations

import importlib
from types import ModuleType

ROOMS = ("checkpoints", "classroom", "clip", "drawing", "errors", "inputs", "runtime", "segmentation")


def __getattr__(name: str) -> ModuleType:
    if name in ROOMS:
        return importlib.import_module(f"core.{name}")
    raise AttributeError(f"module 'core' has no attribute {name!r}")
