"""What an edit is: where it begins, its frames while it is made, and the result behind the last."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class Start:
    """Where an edit begins: an image, and the latent that makes it where the row has a generator.

    image: [H, W, 3] uint8 as the row sees it. latent: [L, D] of W+. made: [H, W, 3] uint8 the generator's image of the latent.
    state: what the image was said to show, by factor.
    """

    image: np.ndarray
    latent: np.ndarray | None = None
    made: np.ndarray | None = None
    state: dict[str, str] | None = None
    seed: int | None = None

    @property
    def origin(self) -> np.ndarray:
        """What moves when a latent is moved: the generator's image where there is one, else the image."""
        return self.image if self.made is None else self.made


@dataclass(frozen=True)
class Opinion:
    """What a CLIP says of an edit: cosines of its first and its last image with the text, and the shares of the text against
    the neutral one, where there is one."""

    clip: str
    before: float
    after: float
    share_before: float | None = None
    share_after: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded."""
        return {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in vars(self).items()
            if value is not None
        }


@dataclass(frozen=True)
class Variant:
    """One edit of a batch: the weight of its distance, its image [H, W, 3] uint8, how far it moved, the guide's cosine."""

    distance: float
    image: np.ndarray
    moved: float
    cosine: float


@dataclass(frozen=True)
class Edit:
    """The edited image first, then what it came from and what two CLIPs say of it."""

    checkpoint: str
    method: str
    text: str
    image: np.ndarray  # [H, W, 3] uint8
    start: np.ndarray  # [H, W, 3] uint8, as the method saw it
    blocked: bool  # whether a safety checker made the image black
    steps: int
    seed: int
    device: str
    seconds: float
    timings: dict[str, float] = field(default_factory=dict)  # milliseconds by part
    moved: float | None = None  # squared distance of the latent from where it began
    guide: Opinion | None = None
    other: Opinion | None = None  # of the CLIP that had no part in the edit
    variants: tuple[Variant, ...] = ()

    @property
    def changed(self) -> float:
        """Mean squared difference of the two images, of levels 0..1."""
        return difference(self.start, self.image)

    def to_json(self) -> dict[str, Any]:
        """Everything but the images, as plain values."""
        opinions = {"guide": self.guide, "other": self.other}
        return {
            "checkpoint": self.checkpoint,
            "method": self.method,
            "text": self.text,
            "steps": self.steps,
            "seed": self.seed,
            "blocked": self.blocked,
            "size": [self.image.shape[1], self.image.shape[0]],
            "seconds": round(self.seconds, 3),
            "changed": round(self.changed, 5),
            **({} if self.moved is None else {"moved": round(self.moved, 4)}),
            **{name: one.to_json() for name, one in opinions.items() if one is not None},
        }


@dataclass(frozen=True)
class Frame:
    """A step that is done: its number of how many, the seconds so far and those to come, and the result behind the last.

    image: [H, W, 3] uint8 the image so far where it is cheap to see; of diffusion the image that is foreseen. noisy: the
    image with its noise. losses: the terms of an optimisation or a mapper's training.
    """

    step: int
    steps: int
    seconds: float
    seconds_left: float
    image: np.ndarray | None = None
    result: Edit | None = None
    noisy: np.ndarray | None = None
    losses: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Shown:
    """A step of a method, in tensors: images [1, 3, H, W] in -1..1."""

    step: int
    steps: int
    image: Tensor | None = None
    noisy: Tensor | None = None
    losses: Mapping[str, float] = field(default_factory=dict)

    def frame(self, passed: float) -> Frame:
        """As a frame, after so many seconds."""
        done = max(1, self.step)
        image, noisy = (None if one is None else pixels(one) for one in (self.image, self.noisy))
        left = passed / done * (self.steps - self.step)
        return Frame(self.step, self.steps, passed, left, image, None, noisy, self.losses)


@dataclass(frozen=True)
class Made:
    """What a method returns: its image [1, 3, H, W] in -1..1, and what the result says of it."""

    image: Tensor
    blocked: bool = False
    moved: float | None = None
    variants: tuple[Variant, ...] = ()


Run = Generator[Shown, None, Made]


def pixels(image: Tensor) -> np.ndarray:
    """An image [1, 3, H, W] in -1..1 as [H, W, 3] uint8."""
    levels = (image[0].float().clamp(-1, 1) * 127.5 + 127.5).round().byte()
    array: np.ndarray = levels.permute(1, 2, 0).cpu().numpy()
    return array


def levels(image: np.ndarray | Image.Image) -> Tensor:
    """An image [H, W, 3] uint8 as [1, 3, H, W] in -1..1."""
    whole = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    return whole.float() / 127.5 - 1


def square(image: Image.Image, side: int) -> Image.Image:
    """The middle square of an image, with so many pixels a side."""
    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    cut = image.crop((left, top, left + edge, top + edge))
    return cut.resize((side, side), Image.Resampling.LANCZOS)


def difference(first: np.ndarray, second: np.ndarray) -> float:
    """Mean squared difference of two images uint8, of levels 0..1."""
    return float(np.square((first.astype(np.float32) - second) / 255).mean())
