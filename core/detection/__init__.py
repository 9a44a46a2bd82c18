"""Detection by language: ViLD (Gu et al. 2022), GLIP (Li et al. 2022), and the parts they share.

Names are imported when they are asked for, so that `core.detection` costs nothing before a page needs a model.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.detection.result import Detection, Grounding, Phrase

_HOMES = {"Detection": "result", "Grounding": "result", "Phrase": "result"}
__all__ = ["Detection", "Grounding", "Phrase"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"core.detection.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'core.detection' has no attribute {name!r}")
