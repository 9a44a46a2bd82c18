"""CLIP-ViL: CLIP's image encoder in models that answer questions (Shen et al. 2022, https://arxiv.org/abs/2107.06383).

BLIP (Li et al. 2022) is its descendant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.vqa.clip_vil.blip import BlipVQA
    from core.vqa.clip_vil.models import CLIPViL


def load(checkpoint: str, device: str | None = None) -> CLIPViL | BlipVQA:
    """The model of a row: heads on three encoders, or BLIP."""
    from core import checkpoints
    from core.vqa.clip_vil.blip import BlipVQA
    from core.vqa.clip_vil.models import CLIPViL

    able = BlipVQA.LOADERS | CLIPViL.LOADERS
    own = checkpoints.row(checkpoint, lambda row: row.loader in able).loader in BlipVQA.LOADERS
    return BlipVQA.load(checkpoint, device) if own else CLIPViL.load(checkpoint, device)
