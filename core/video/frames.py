"""What is sampled of a clip, in the space of an image tower: the half that CLIP4Clip and ActionCLIP share.

A video is decoded one frame at a time, reduced to what the tower sees, and encoded in batches; what stays is a feature and a
small picture of each frame. They are remembered by the file's digest, the checkpoint and the times of the frames, so that a
changed sentence, label or head encodes nothing again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core import runtime
from core.clip.encoders import IMAGE_BATCH, DualEncoder
from core.clip.handles import Handle
from core.inputs.video import Frame, Video, reduced_size

SHOWN_SIDE = 96  # pixels of the short side of the pictures that are kept

Encode = Callable[[Any, Tensor], Tensor]  # a loaded model, pixels [T, 3, H, W] -> features [T, D]

ENCODED: runtime.ByteCache[EncodedClip] = runtime.ByteCache()


@dataclass(frozen=True)
class EncodedClip:
    """The expensive half: the sampled frames of one video in the space of one checkpoint."""

    checkpoint: str
    digest: str  # of the file
    times: np.ndarray  # [T] when each frame appears, seconds from the beginning
    duration: float  # of the whole video
    size: tuple[int, int]  # width, height of the video's own frames
    crop: tuple[float, float, float, float]  # what the tower saw: xyxy pixels of the video's own frames
    frame_features: np.ndarray  # [T, D] as the tower leaves them; with `whole` perhaps not T rows
    pictures: np.ndarray  # uint8 [T, h, w, 3], small

    @property
    def directions(self) -> np.ndarray:
        """The features [T, D] with norm 1."""
        return self.frame_features / np.linalg.norm(self.frame_features, axis=-1, keepdims=True)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self.times.nbytes + self.frame_features.nbytes + self.pictures.nbytes


def image_features(encoder: DualEncoder, pixels: Tensor) -> Tensor:
    """Each frame by itself, through a CLIP's image tower."""
    return encoder.vision(pixels).image_features


def encode(
    model: Handle[Any],
    video: Video,
    times: Sequence[float] | np.ndarray,
    *,
    features: Encode = image_features,
    whole: bool = False,
    check: Callable[[], object] | None = None,
) -> EncodedClip:
    """The frames of a video at some times, encoded; remembered.

    Args:
        model: a handle whose loaded model has `preprocess`, `pixels` and what `features` asks of it.
        video: from `core.inputs.video`.
        times: T seconds, ascending: `video.uniform(T)`, or `video.every(seconds)`.
        features: how the loaded model encodes pixels; a function of a module, so that it reaches a worker of a Space.
        whole: whether all frames go through the tower together, because they look at each other; else frames that
            are shown at several times are encoded once.
        check: called on the way; may raise to stop, as `runtime.Cancel.check`.

    Raises:
        Refusal: what the video and the checkpoint refuse.
    """
    shown = video.shown(times)
    if not len(shown):
        raise ValueError("at least one time")
    key = (*model.key, video.digest, features.__module__, features.__qualname__, whole, shown.tobytes())
    return ENCODED.get_or(key, partial(_encode, model, video, shown, features, whole, check))


@runtime.on_device
def _encode(
    model: Handle[Any],
    video: Video,
    shown: np.ndarray,
    features: Encode,
    whole: bool,
    check: Callable[[], object] | None,
) -> EncodedClip:
    wanted, places = (shown, np.arange(len(shown))) if whole else np.unique(shown, return_inverse=True)
    with model.use() as loaded:
        frames = video.at(wanted, side=loaded.preprocess.side, check=check)
        parts, pictures = [], []
        for batch in _batches(frames, len(wanted) if whole else IMAGE_BATCH):
            images = [Image.fromarray(frame.pixels) for frame in batch]
            pictures += [_small(image) for image in images]
            with runtime.semaphore(model.device), torch.inference_mode():
                parts.append(features(loaded, loaded.pixels(images)).float().cpu().numpy())
            if check is not None:
                check()
        crop = loaded.preprocess.crop(*video.size)
    encoded = np.concatenate(parts)
    return EncodedClip(
        model.checkpoint,
        video.digest,
        shown,
        video.duration,
        video.size,
        crop,
        encoded if whole else encoded[places],
        np.stack(pictures)[places],
    )


def _batches(frames: Iterator[Frame], count: int) -> Iterator[list[Frame]]:
    while batch := list(islice(frames, count)):
        yield batch


def _small(image: Image.Image) -> np.ndarray:
    """An image with a short side of at most `SHOWN_SIDE` pixels."""
    size = reduced_size(image.size, SHOWN_SIDE)
    return np.asarray(image if image.size == size else image.resize(size, Image.Resampling.BOX))
