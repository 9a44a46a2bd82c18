"""Error measures of depth maps, with the crops and limits of NYU (as DepthCLIP's code has them) and KITTI.

Depths in metres. `abs_rel` is the mean of |prediction - truth| / truth; `a1`, `a2`, `a3` are shares of pixels whose ratio
to the truth, or its inverse, is under 1.25, its square, its cube.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

NEAREST = 1e-3  # metres; a truth below is none
NYU_FARTHEST, KITTI_FARTHEST = 10.0, 80.0
NYU_SIZE = (480, 640)
# Rows and columns of 480 x 640: what the model sees of an image, and what is measured.
NYU_SEEN = (slice(56, 472), slice(60, 604))
NYU_MEASURED = (slice(45, 471), slice(46, 601))
# Shares of the height and the width that are measured of KITTI (Garg et al. 2016).
GARG = (0.40810811, 0.99189189, 0.03594771, 0.96405229)
ORDER = ("abs_diff", "a1", "a2", "a3", "abs_rel", "log10", "rmse")  # of DepthCLIP's tables for NYU


def errors(prediction: Tensor, truth: Tensor) -> dict[str, float]:
    """All measures over pixels that have a truth: [M] and [M], both positive; not a number where there is none."""
    ratio = torch.maximum(truth / prediction, prediction / truth)
    gap = (truth - prediction).abs()
    logs = prediction.log() - truth.log()
    return {
        "abs_diff": float(gap.mean()),
        "abs_rel": float((gap / truth).mean()),
        "sq_rel": float((gap**2 / truth).mean()),
        "a1": float((ratio < 1.25).float().mean()),
        "a2": float((ratio < 1.25**2).float().mean()),
        "a3": float((ratio < 1.25**3).float().mean()),
        "rmse": float((gap**2).mean().sqrt()),
        "rmse_log": float((logs**2).mean().sqrt()),
        "log10": float((prediction.log10() - truth.log10()).abs().mean()),
    }


def nyu_errors(truth: Tensor, prediction: Tensor, crop: bool = True) -> dict[str, float]:
    """Means over images of the measures of NYU.

    Args:
        truth: [B, 1, 480, 640], at least 0.
        prediction: [B, 1, 416, 544], of what the model saw.
        crop: whether only the usual part of the image is measured.
    """
    rows = []
    for depth, guess in zip(truth[:, 0], prediction[:, 0], strict=True):
        pasted = torch.zeros_like(depth)
        pasted[NYU_SEEN] = guess
        valid = (depth > NEAREST) & (depth < NYU_FARTHEST) & (pasted > NEAREST)
        if crop:
            measured = torch.zeros_like(valid)
            measured[NYU_MEASURED] = True
            valid &= measured
        rows.append(errors(pasted[valid].clamp(NEAREST, NYU_FARTHEST), depth[valid]))
    return _means(rows)


def kitti_errors(
    truth: Tensor, prediction: Tensor, crop: bool = True, farthest: float = KITTI_FARTHEST
) -> dict[str, float]:
    """Means over images of the measures of KITTI; truth and prediction [B, 1, H, W]."""
    rows = []
    for depth, guess in zip(truth[:, 0], prediction[:, 0], strict=True):
        valid = (depth > NEAREST) & (depth < farthest)
        if crop:
            height, width = depth.shape
            measured = torch.zeros_like(valid)
            top, bottom, left, right = GARG
            measured[int(top * height) : int(bottom * height), int(left * width) : int(right * width)] = True
            valid &= measured
        rows.append(errors(guess[valid].clamp(NEAREST, farthest), depth[valid].clamp(NEAREST, farthest)))
    return _means(rows)


def map_errors(prediction: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The measures of one map [H, W] where the truth [H, W] is known: positive and finite."""
    valid = np.isfinite(truth) & (truth > NEAREST) & (prediction > NEAREST)
    return errors(torch.tensor(prediction[valid]), torch.tensor(truth[valid]))


def constant(truth: np.ndarray) -> float:
    """The one depth that has the least `abs_rel` of all constant maps: the median of the truth, weighted by 1 / truth.

    It is chosen with the truth in hand, so that no constant does better.
    """
    known = np.sort(truth[np.isfinite(truth) & (truth > NEAREST)].ravel())
    weights = np.cumsum(1 / known)
    return float(known[np.searchsorted(weights, weights[-1] / 2)])


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's: the correlation of ranks, equal values sharing a rank; 0 where one side has a single value."""

    def ranks(values: np.ndarray) -> np.ndarray:
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts - 1) / 2)[inverse]

    first, second = ranks(np.ravel(a)), ranks(np.ravel(b))
    if min(np.ptp(first), np.ptp(second)) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
