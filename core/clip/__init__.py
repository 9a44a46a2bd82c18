"""CLIP (Radford et al. 2021): encoders, prompts, zero-shot classification, features of places.

Names are imported when they are asked for: prompts are known to a page before torch is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.clip.zero_shot import Classification, EncodedImage, ZeroShot

# The loaders of rows that are an image tower and a text tower in one space.
DUAL_ENCODERS = frozenset(
    (
        "core.clip.encoders:load_open_clip",
        "core.clip.encoders:load_chinese_clip",
        "core.clip.siglip:load_siglip",
        "core.clip.mobile:load_mobile_clip",
        "core.clip.metaclip2:load_metaclip2",
    )
)

__all__ = ["DUAL_ENCODERS", "Classification", "EncodedImage", "ZeroShot"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from core.clip import zero_shot

        return getattr(zero_shot, name)
    raise AttributeError(f"module 'core.clip' has no attribute {name!r}")
