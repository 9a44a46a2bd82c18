"""The right names of groups, from the truth: good groups with wrong names are told from bad groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.segmentation.groupvit import BACKGROUND, Grouping


def oracle_labels(groups: np.ndarray, truth: np.ndarray, count: int) -> np.ndarray:
    """The right name of each group, from the truth: good groups with wrong names are told from bad groups.

    Args:
        groups: [H, W], the group of each pixel.
        truth: [H, W], the index of each pixel's label, -1 for background.
        count: labels.

    Returns:
        [G] the label that most of each group's pixels have, -1 for background.
    """
    number = int(groups.max()) + 1
    table = np.zeros((number, count + 1), dtype=np.int64)
    np.add.at(table, (groups.ravel().astype(np.int64), truth.ravel().astype(np.int64) % (count + 1)), 1)
    named = table.argmax(1)
    return np.where(named == count, BACKGROUND, named)


@dataclass(frozen=True)
class RightNames:
    """An answer's own groups under the names that the truth gives them, and what the wrong names had cost."""

    group_labels: np.ndarray  # [G] the right label of each group, -1 for background
    mask: np.ndarray  # [H, W] int16, as `Grouping.mask`
    own: float  # foreground mIoU of the model's names
    right: float  # the same of the right names: what is left to 1 is grouping


def right_names(found: Grouping, truth: np.ndarray) -> RightNames:
    """Oracle labels for one image (section 4.5 of the paper measures them over a data set).

    Args:
        found: an answer.
        truth: [H, W], place of each pixel's label among the answer's, -1 for background.
    """
    count = len(found.labels)
    named = oracle_labels(found.groups, truth, count).astype(np.int16)
    mask = named[found.groups]
    missing = np.full(len(found.group_labels) - len(named), BACKGROUND, np.int16)
    return RightNames(
        np.concatenate([named, missing]),
        mask,
        foreground_iou(found.mask, truth, count),
        foreground_iou(mask, truth, count),
    )


def foreground_iou(mask: np.ndarray, truth: np.ndarray, count: int) -> float:
    """Mean IoU over the labels that the truth shows, background apart; 0 where it shows none.

    Args:
        mask, truth: [H, W], label indices below `count`, -1 for background.
    """
    places = count + 1
    pairs = (truth.astype(np.int64) % places) * places + mask.astype(np.int64) % places
    table = np.bincount(pairs.ravel(), minlength=places * places).reshape(places, places)  # truth by answer
    both = np.diag(table)[:count]
    union = table.sum(0)[:count] + table.sum(1)[:count] - both
    shown = table.sum(1)[:count] > 0
    return float((both[shown] / union[shown]).mean()) if shown.any() else 0.0
