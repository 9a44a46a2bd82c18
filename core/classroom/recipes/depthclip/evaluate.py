"""Measure DepthCLIP on new classroom scenes: rank correlation of zero-shot depth, errors of learned bins, a constant beside.

    python -m core.classroom evaluate depthclip --checkpoint classroom-rn

All numbers are over places that an object covers. The constant is the best one of the scenes that the bins are learned from.
The words, their metres, the sentence and the temperature of zero-shot were chosen by hand while classroom scenes of the same kind
were looked at. The seed of the scenes that are measured here was set after that, so none of them was among those.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from core.classroom.recipes.common.fresh import clip_row
from core.classroom.recipes.common.rows import Rows
from core.classroom.recipes.depthclip import live, train
from core.spatial import depth_errors
from core.spatial.depthclip import DepthEstimator

SCENES, TEST_SEED = 48, 52_400


def abs_rel(prediction: np.ndarray, truth: np.ndarray) -> float:
    """The mean relative error."""
    return depth_errors.errors(torch.from_numpy(prediction), torch.from_numpy(truth))["abs_rel"]


def evaluate(
    checkpoint: str, say: Callable[[str], None] = print, scenes: int = SCENES, shots: int = train.SHOTS
) -> list[dict[str, Any]]:
    """All rows of the report card for a CLIP, a bundled row or the folder of an export."""
    rows = Rows("depthclip", checkpoint, say)
    model = DepthEstimator.load(clip_row(checkpoint), "cpu")
    test, few = live.places(model, TEST_SEED, scenes), live.places(model, train.SEED, shots)
    for lang, words in train.WORDS.items():
        texts = model.encode_text(words.sentences)
        zero = live.guess(test, texts, words)
        rows.add(
            "rank correlation with true depth",
            "zero-shot",
            lang,
            depth_errors.rank_correlation(zero, test.metres),
        )
        rows.add("AbsRel of depth", "zero-shot", lang, abs_rel(zero, test.metres))
        learned = live.guess(test, texts, train.learn(model, few, words).words)
        rows.add("AbsRel of depth", f"bins of {shots} scenes", lang, abs_rel(learned, test.metres))
        rows.add(
            "rank correlation with true depth",
            f"bins of {shots} scenes",
            lang,
            depth_errors.rank_correlation(learned, test.metres),
        )
    constant = np.full_like(test.metres, depth_errors.constant(few.metres))
    rows.add("AbsRel of depth", "one constant", "en", abs_rel(constant, test.metres))
    return rows.measured
