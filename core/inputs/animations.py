"""Animated WebP through Pillow: FFmpeg reads only still ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from core.errors import Refusal
from core.inputs import levels, streams
from core.inputs.streams import Check, Size, Track

MAX_WORK = 2e9  # pixels of all frames: every one is decoded to learn how long it stays
# What browsers show a frame for that asks for no time, milliseconds.
LEAST, USUAL = 10, 100


def scan(file: BinaryIO, kind: str, max_seconds: float | None) -> Track:
    """When the frames appear, in milliseconds; see `core.inputs.streams.scan`."""
    stamps, clock = [], 0
    with _Animation(file) as animation:
        streams.check_size(*animation.image.size)
        width, height = size = animation.image.size
        if width * height * animation.count > MAX_WORK:
            raise Refusal(
                "video_too_large", width=width, height=height, limit=streams.MAX_PIXELS // 1_000_000
            )
        for at in range(animation.count):
            lasts = animation.seek(at)
            if lasts is None:
                break
            stamps.append(clock)
            clock += lasts
            streams.check_length(clock / 1000, len(stamps), max_seconds)
    if not stamps:
        raise Refusal("video_broken")
    ordered = np.array(stamps, np.int64)
    return Track(kind, size, ordered, ordered[:1], 0.001, 0.0, clock / 1000)


def decode(
    file: BinaryIO, track: Track, wanted: np.ndarray, size: Size, check: Check | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Stamp and pixels, uint8 [H, W, 3], of the frames with the stamps `wanted`; see `core.inputs.streams.decode`."""
    file.seek(0)
    with _Animation(file) as animation:
        for stamp in wanted.tolist():
            if check is not None:
                check()
            if animation.seek(int(np.searchsorted(track.stamps, stamp))) is None:
                raise Refusal("video_broken")
            rgb = levels.to_rgb(animation.image)
            made = rgb if rgb.size == size else rgb.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
            yield stamp, np.asarray(made)


class _Animation:
    """An animated file, its frames reached by number."""

    def __init__(self, file: BinaryIO) -> None:
        Image.init()
        try:
            self.image: Any = Image.OPEN["WEBP"][0](file, "")
        except (MemoryError, KeyError):
            raise
        except Exception as error:  # a plugin raises anything on a broken file
            raise Refusal("video_broken") from error
        self.count = int(getattr(self.image, "n_frames", 1))

    def __enter__(self) -> _Animation:
        return self

    def __exit__(self, *_: object) -> None:
        self.image.close()

    def seek(self, at: int) -> int | None:
        """Makes a frame the current one; how long it stays in milliseconds, None where it is damaged."""
        try:
            self.image.seek(at)
            self.image.load()
        except MemoryError:
            raise
        except Exception:
            return None
        lasts = round(self.image.info.get("duration") or 0)
        return lasts if lasts > LEAST else USUAL
