"""CLIP (Radford et al. 2021): encoders, prompts, zero-shot classification, features of places."""

from __future__ import annotations

from core.clip.zero_shot import Classification, EncodedImage, ZeroShot

__all__ = ["Classification", "EncodedImage", "ZeroShot"]
