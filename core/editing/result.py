"""What an edit is: its frames while it is made, and the result behind the last."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Edit:
    """The edited image first, then what it came from."""

    checkpoint: str
    method: str
    text: str
    image: np.ndarray  # [H, W, 3] uint8
    start: np.ndarray  # [H, W, 3] uint8, as the network saw it
    blocked: bool  # whether a safety checker made the image black
    steps: int
    seed: int
    device: str
    seconds: float
    timings: dict[str, float] = field(default_factory=dict)  # milliseconds by part
    moved: float | None = None  # squared distance of the latent from where it began

    def to_json(self) -> dict[str, Any]:
        """Everything but the images, as plain values."""
        return {
            "checkpoint": self.checkpoint,
            "method": self.method,
            "text": self.text,
            "steps": self.steps,
            "seed": self.seed,
            "blocked": self.blocked,
            "size": [self.image.shape[1], self.image.shape[0]],
            "seconds": round(self.seconds, 3),
            **({} if self.moved is None else {"moved": round(self.moved, 4)}),
        }


@dataclass(frozen=True)
class Frame:
    """A step that is done: its number of how many; the image so far where it is cheap to see, and the result behind the
    last."""

    step: int
    steps: int
    seconds_left: float
    image: np.ndarray | None = None  # [H, W, 3] uint8
    result: Edit | None = None


def pixels(image: Tensor) -> np.ndarray:
    """An image [1, 3, H, W] in -1..1 as [H, W, 3] uint8."""
    levels = (image[0].float().clamp(-1, 1) * 127.5 + 127.5).round().byte()
    array: np.ndarray = levels.permute(1, 2, 0).cpu().numpy()
    return array
