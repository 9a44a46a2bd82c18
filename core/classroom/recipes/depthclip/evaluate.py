"""Measure DepthCLIP on new classroom scenes: rank correlation of zero-shot depth, errors of learned bins, a constant beside.

    python -m core.classroom evaluate depthclip --checkpoint classroom-rn

All numbers are over places that an object covers. The constant is the best one of the scenes that the bins are learned from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from core.classroom.recipes.common.fresh import clip_row
from core.classroom.recipes.common.rows import Rows
from core.classroom.recipes.depthclip import live
from core.spatial import depth_errors
from core.spatial.depthclip import CLASSROOM, CLASSROOM_ZH, DepthEstimator

SCENES, SHOTS = 48, 16
TEST_SEED, SHOT_SEED = 701, 31_000
WORDS = {"en": CLASSROOM, "zh": CLASSROOM_ZH}


def abs_rel(prediction: np.ndarray, truth: np.ndarray) -> float:
    """The mean relative error."""
    return depth_errors.errors(torch.from_numpy(prediction), torch.from_numpy(truth))["abs_rel"]


def evaluate(
    checkpoint: str, say: Callable[[str], None] = print, scenes: int = SCENES, shots: int = SHOTS
) -> list[dict[str, Any]]:
    """All rows of the report card for a CLIP, a bundled row or the folder of an export."""
    rows = Rows("depthclip", checkpoint, say)
    model = DepthEstimator.load(clip_row(checkpoint), "cpu")
    test, few = live.places(model, TEST_SEED, scenes), live.places(model, SHOT_SEED, shots)
    for lang, words in WORDS.items():
        texts = model.encode_text(words.sentences)
        zero = live.guess(test, texts, words)
        rows.add(
            "rank correlation with true depth",
            "zero-shot",
            lang,
            depth_errors.rank_correlation(zero, test.metres),
        )
        rows.add("AbsRel of depth", "zero-shot", lang, abs_rel(zero, test.metres))
        *_, last = live.learn(model, few, words)
        learned = live.guess(test, texts, last.words)
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
