"""GLIP (Li et al. 2022): `network` and its parts, `language` and `phrases` for prompts, `grounding` for the handle.

Names are imported when they are asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.detection.glip.grounding import GLIP, row_threshold
    from core.detection.glip.network import GLIPNet

_HOMES = {"GLIP": "grounding", "GLIPNet": "network", "row_threshold": "grounding"}
__all__ = ["GLIP", "GLIPNet", "row_threshold"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"core.detection.glip.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'core.detection.glip' has no attribute {name!r}")
