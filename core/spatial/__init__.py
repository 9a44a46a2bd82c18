"""Three dimensions from CLIP: PointCLIP (Zhang et al. 2022) for point clouds, DepthCLIP (Zhang et al. 2022) for depth.

Names are imported when they are asked for, so that `core.spatial` costs nothing before a page needs a model.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.spatial.depthclip import DepthEstimate, DepthEstimator
    from core.spatial.pointclip import PointClassification, PointClassifier

_HOMES = {
    "DepthEstimate": "depthclip",
    "DepthEstimator": "depthclip",
    "PointClassification": "pointclip",
    "PointClassifier": "pointclip",
}
__all__ = ["DepthEstimate", "DepthEstimator", "PointClassification", "PointClassifier"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"core.spatial.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'core.spatial' has no attribute {name!r}")
