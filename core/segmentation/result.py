"""What every segmenter answers with: a label for each pixel of the caller's file, and the label maps behind it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core import inputs, masks
from core.clip.labels import NO_NOTES, Labels, Notes

LABELS_AT_ONCE = 8  # label maps enlarged together


@dataclass(frozen=True)
class Segmentation:
    """The answer first, then what it was made of."""

    checkpoint: str
    labels: tuple[str, ...]
    # [H, W] uint16, the index of each pixel's label, N where none of them fits; H, W of the caller's file
    mask: np.ndarray
    logits: np.ndarray  # [N, H', W'], of the image as the network sees it
    before_blocks: np.ndarray  # [N, h, w]
    after_blocks: np.ndarray  # [N, h, w]
    text_features: np.ndarray  # [N, D]
    temperature: float
    size: tuple[int, int]  # width, height of the caller's file
    device: str
    seconds: float
    timings: dict[str, float]  # milliseconds by step
    normalisation: str = "softmax"  # "sigmoid" where each label has a yes or no of its own
    notes: Notes = NO_NOTES
    # Of a model that asks first whether a label is in the image: that probability, and how many instances it found.
    presence: tuple[float, ...] | None = None  # [N]
    instances: tuple[int, ...] | None = None  # [N]

    @property
    def scores(self) -> np.ndarray:
        """Probabilities [N, H, W] at the size of the caller's file; over labels a softmax's sum to one."""
        width, height = self.size
        logits = enlarged(torch.from_numpy(self.logits), height, width)
        return (logits.sigmoid() if self.normalisation == "sigmoid" else logits.softmax(0)).numpy()

    @property
    def shares(self) -> np.ndarray:
        """[N] share of the image that each label won; [N + 1], none of them last, of a model that may say so."""
        counts = np.bincount(self.mask.ravel(), minlength=len(self.labels) + (self.presence is not None))
        return counts / self.mask.size

    def to_json(self) -> dict[str, Any]:
        """The shares as plain values, largest first; the label None is what no label fits."""
        shares = self.shares
        rows: list[dict[str, Any]] = [
            {"label": name, "share": float(share)}
            for name, share in zip([*self.labels, None], shares, strict=False)
        ]
        for row, present, count in zip(rows, self.presence or (), self.instances or (), strict=False):
            row |= {"presence": present, "instances": count}
        return {
            "checkpoint": self.checkpoint,
            "seconds": round(self.seconds, 4),
            "size": list(self.size),
            "results": [rows[i] for i in np.argsort(-shares, kind="stable")],
            **self.notes.to_json(),
        }


def enlarged(maps: Tensor, height: int, width: int) -> Tensor:
    """[N, h, w] -> [N, H, W], bilinear."""
    return F.interpolate(maps[None], (height, width), mode="bilinear", align_corners=False)[0]


def winners(logits: Tensor, height: int, width: int, least: float | None = None) -> Tensor:
    """The best label of every pixel, [N, h, w] -> [H, W], without holding all label maps at full size; N where the best logit
    does not exceed the least one."""
    best, which = enlarged(logits[:LABELS_AT_ONCE], height, width).max(0)
    for start in range(LABELS_AT_ONCE, len(logits), LABELS_AT_ONCE):
        top, index = enlarged(logits[start : start + LABELS_AT_ONCE], height, width).max(0)
        which = torch.where(top > best, index + start, which)
        best = torch.maximum(best, top)
    return which if least is None else torch.where(best > least, which, len(logits))


def winner_mask(logits: Tensor, size: tuple[int, int], least: float | None = None) -> np.ndarray:
    """The best label of every pixel of a file: [N, h, w] -> [H, W] uint16.

    A large file is answered at the size that images are reduced to, and enlarged from there.
    """
    width, height = inputs.reduced_size(*size)
    return masks.resized(winners(logits, height, width, least).numpy().astype(np.uint16), size)


class Handle(Protocol):
    """A segmenter: which weights, and where."""

    @property
    def checkpoint(self) -> str:
        """A row of the registry."""

    @property
    def device(self) -> str:
        """Where its network runs."""


def answer(
    model: Handle,
    labels: Labels,
    size: tuple[int, int],
    maps: tuple[Tensor, Tensor, Tensor],
    text_features: np.ndarray,
    temperature: float,
    marks: tuple[float, float, float],
    least: float | None = None,
) -> Segmentation:
    """The result of a segmenter.

    Args:
        model: who answers.
        labels: N of them.
        size: width and height of the caller's file.
        maps: label maps before the blocks, after them, and as they are enlarged to the image; [N, h, w] each.
        text_features: [N, D].
        temperature: that the maps were divided by.
        marks: clock at the start, with the image encoded, with the texts encoded.
        least: a logit that a label has to exceed; any does when None.
    """
    start, encoded_at, texts_at = marks
    before, after, logits = maps
    mask = winner_mask(logits, size, least)
    end = time.perf_counter()
    return Segmentation(
        checkpoint=model.checkpoint,
        labels=labels.names,
        mask=mask,
        logits=logits.numpy(),
        before_blocks=before.numpy(),
        after_blocks=after.numpy(),
        text_features=text_features,
        temperature=temperature,
        size=size,
        device=model.device,
        seconds=end - start,
        timings={
            "encode_image": 1000 * (encoded_at - start),
            "encode_text": 1000 * (texts_at - encoded_at),
            "segment": 1000 * (end - texts_at),
        },
        notes=labels.notes,
    )
