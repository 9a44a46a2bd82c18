"""CLIP (Radford et al. 2021): encoders, prompts, zero-shot classification, features of places.

Names are imported when they are asked for: prompts are known to a page before torch is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.clip.zero_shot import Classification, EncodedImage, ZeroShot

__all__ = ["Classification", "EncodedImage", "ZeroShot"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from core.clip import zero_shot

        return getattr(zero_shot, name)
    raise AttributeError(f"module 'core.clip' has no attribute {name!r}")
