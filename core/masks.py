"""Masks: their size, and their run lengths in COCO's compressed text (column by column, zeros first, five bits a letter).

`encode` and `decode` hold no loop over pixels or runs; pycocotools reads and writes the same text.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DIGITS = 7  # of five bits, a letter each: enough for any difference of two run lengths below 2**31


def resized(mask: NDArray, size: tuple[int, int]) -> NDArray:
    """A mask [h, w] of any kind at another width and height, nearest."""
    if mask.shape == size[::-1]:
        return mask
    rows = ((np.arange(size[1]) + 0.5) * mask.shape[0] / size[1]).astype(int)
    columns = ((np.arange(size[0]) + 0.5) * mask.shape[1] / size[0]).astype(int)
    return mask[rows[:, None], columns]


@dataclass(frozen=True)
class Packed:
    """A mask [H, W] of label indices, -1 for none, in a hundredth of its memory: a PNG of the indices + 1."""

    png: bytes

    def unpacked(self) -> NDArray[np.int32]:
        """The mask."""
        with Image.open(io.BytesIO(self.png)) as image:
            return np.asarray(image).astype(np.int32) - 1


def packed(mask: NDArray[np.integer[Any]] | Packed) -> Packed:
    """A mask of label indices below 65,535, -1 for none, as a PNG."""
    if isinstance(mask, Packed):
        return mask
    levels = mask.astype(np.int32) + 1
    is_small = not levels.size or levels.max() <= np.iinfo(np.uint8).max
    file = io.BytesIO()
    Image.fromarray(levels.astype(np.uint8 if is_small else np.uint16)).save(file, "PNG")
    return Packed(file.getvalue())


def encode(mask: NDArray[np.bool_]) -> str:
    """A mask [H, W] as COCO's `counts` text."""
    pixels = mask.T.ravel().astype(bool)
    ends = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    runs = np.diff(np.concatenate([[0], ends, [pixels.size]]))
    if pixels.size and pixels[0]:
        runs = np.concatenate([[0], runs])  # the first run is of zeros
    numbers = runs.astype(np.int64)
    numbers[3:] -= runs[1:-2]  # from the fourth on: the difference to the previous run of the same value
    letters = np.zeros((len(numbers), DIGITS), np.uint8)
    is_written = np.zeros((len(numbers), DIGITS), bool)
    is_open = np.ones(len(numbers), bool)  # numbers that need another letter
    for digit in range(DIGITS):
        low = numbers & 31
        numbers = numbers >> 5
        is_longer = np.where(low & 16, numbers != -1, numbers != 0)
        is_written[:, digit] = is_open
        letters[:, digit] = 48 + (low | (is_longer << 5))
        is_open &= is_longer
    return letters[is_written].tobytes().decode("ascii")


def decode(counts: str, height: int, width: int) -> NDArray[np.bool_]:
    """The mask [height, width] of a `counts` text.

    Raises:
        ValueError: where its runs do not fill the mask.
    """
    letters = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48
    lasts = np.flatnonzero((letters & 32) == 0)  # of each number
    if not len(letters) or not len(lasts) or lasts[-1] != len(letters) - 1:
        raise ValueError("the run lengths are cut off")
    starts = np.concatenate([[0], lasts[:-1] + 1])
    digits = np.arange(len(letters)) - np.repeat(starts, lasts - starts + 1)
    runs = np.add.reduceat((letters & 31) << (5 * digits), starts)
    is_negative = (letters[lasts] & 16) != 0
    runs = np.where(is_negative, runs - (1 << (5 * (digits[lasts] + 1))), runs)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    if (runs < 0).any() or runs.sum() != height * width:
        raise ValueError(f"the run lengths do not fill {height} x {width} pixels")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T
