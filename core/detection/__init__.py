"""Detection by language: ViLD (Gu et al. 2022), GLIP (Li et al. 2022), and the parts they share.

Names are imported when they are asked for, so that `core.detection` costs nothing before a page needs a model.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.detection.glip.grounding import GLIP
    from core.detection.result import Detection, Grounding, Phrase
    from core.detection.vild import ViLD

_HOMES = {
    "Detection": "result",
    "GLIP": "glip.grounding",
    "Grounding": "result",
    "Phrase": "result",
    "ViLD": "vild",
}
__all__ = ["GLIP", "Detection", "Grounding", "Phrase", "ViLD"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"core.detection.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'core.detection' has no attribute {name!r}")
