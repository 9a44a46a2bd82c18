"""Segmentation by language: LSeg (Li et al. 2022), GroupViT (Xu et al. 2022), CLIPSeg, TIPSv2, SAM 3, and MaskCLIP's trick
on any CLIP.

Names are imported when they are asked for, so that `core.segmentation` costs nothing before a page needs a model.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.segmentation.clipseg import CLIPSeg
    from core.segmentation.groupvit import Grouping, GroupViT
    from core.segmentation.lseg import LSeg
    from core.segmentation.maskclip import MaskCLIP
    from core.segmentation.result import Segmentation
    from core.segmentation.sam3 import SAM3
    from core.segmentation.tips import TIPS

_HOMES = {
    "CLIPSeg": "clipseg",
    "GroupViT": "groupvit",
    "Grouping": "groupvit",
    "LSeg": "lseg",
    "MaskCLIP": "maskclip",
    "SAM3": "sam3",
    "Segmentation": "result",
    "TIPS": "tips",
}
__all__ = ["SAM3", "TIPS", "CLIPSeg", "GroupViT", "Grouping", "LSeg", "MaskCLIP", "Segmentation", "load"]


def load(checkpoint: str) -> LSeg | CLIPSeg | TIPS | SAM3 | GroupViT | MaskCLIP:
    """The segmenter of a row: LSeg, a descendant, GroupViT, or MaskCLIP's trick on a CLIP.

    Raises:
        Refusal: "other_checkpoint" for a row that is none of these, and what loading refuses.
    """
    from core import checkpoints
    from core.clip import DUAL_ENCODERS
    from core.segmentation.clipseg import CLIPSeg
    from core.segmentation.groupvit import GroupViT
    from core.segmentation.lseg import LSeg
    from core.segmentation.maskclip import MaskCLIP
    from core.segmentation.sam3 import SAM3
    from core.segmentation.tips import TIPS

    kinds: tuple[type[LSeg] | type[CLIPSeg] | type[TIPS] | type[SAM3] | type[GroupViT], ...] = (
        LSeg,
        CLIPSeg,
        TIPS,
        SAM3,
        GroupViT,
    )
    able = DUAL_ENCODERS.union(*(kind.LOADERS for kind in kinds))
    loader = checkpoints.row(checkpoint, lambda row: row.loader in able).loader
    for kind in kinds:
        if loader in kind.LOADERS:
            return kind.load(checkpoint)
    return MaskCLIP.load(checkpoint)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"core.segmentation.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'core.segmentation' has no attribute {name!r}")
