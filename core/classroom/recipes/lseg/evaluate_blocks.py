"""Measure the fitted regularization blocks of a miniature LSeg, as `evaluate_lseg` measures the miniature.

    python -m core.classroom evaluate lseg-blocks [--json] [--record]

Only the ten numbers of a block were fitted: the decoder is the same in every row, and was trained without any. The row
"none" is the miniature's own on the report card; the plain means were not fitted at all.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from core.classroom.recipes.common.masks import DISTRACTORS, SCENES
from core.classroom.recipes.common.miniature import export_folder
from core.classroom.recipes.common.rows import stamped
from core.classroom.recipes.lseg.evaluate import Candidate, exam, measure
from core.classroom.world.atlas import open_atlas
from core.classroom.world.concepts import seen, unseen
from core.segmentation import regularization

MEASURE = "blocks fitted alone: mIoU, {split}"


def evaluate(
    checkpoint: str, count: int = SCENES, say: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """mIoU with and without training masks, of no block and of every fitted one, as rows of the report card."""
    model, atlas = Candidate(checkpoint), open_atlas()
    fitted, note = regularization.read(export_folder(checkpoint) / regularization.FILE)
    blocks = regularization.compared(fitted)
    name = Path(checkpoint).name
    command = f"python -m core.classroom evaluate lseg-blocks --checkpoint {name}"
    rows = []
    for split, which in (("seen", seen()), ("never seen", unseen())):
        pictures = exam(model, which, atlas, count)
        for kind, depth, block in [
            ("none", 0, nn.Identity()),
            *((*key, block) for key, block in blocks.items()),
        ]:
            model.block = block
            value = measure(model, pictures, DISTRACTORS, "en").mean
            row = {
                "paper": "lseg", "measure": MEASURE.format(split=split), "split": regularization.title(kind, depth),
                "language": "en", "value": round(value, 4), "unit": "share",
            }  # fmt: skip
            rows.append({**stamped(row, checkpoint, command), "minutes": float(note["minutes"])})
            say(f"{row['measure']:44} {row['split']:18} {value:.3f}")
    return rows
