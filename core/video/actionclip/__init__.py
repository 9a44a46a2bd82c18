"""ActionCLIP (Wang et al. 2021): actions are named by words; X-CLIP (Ni et al. 2022), its descendant."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.video.actionclip.recognizer import ActionRecognizer
    from core.video.actionclip.xclip import XCLIP


def load(checkpoint: str, device: str | None = None) -> ActionRecognizer | XCLIP:
    """The recognizer of a row: ActionCLIP's for its own rows and for those of CLIP, X-CLIP's for its own."""
    from core import checkpoints
    from core.video.actionclip.recognizer import ActionRecognizer
    from core.video.actionclip.xclip import XCLIP

    able = XCLIP.LOADERS | ActionRecognizer.LOADERS
    own = checkpoints.row(checkpoint, lambda row: row.loader in able).loader in XCLIP.LOADERS
    return XCLIP.load(checkpoint, device) if own else ActionRecognizer.load(checkpoint, device)
