"""Sounds in files that tests make: WAV, and videos with a sound track or without one."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
import numpy as np

from core import inputs

RATE = 44_100


def film(sound: str | Path | None, kind: str = "mp4") -> bytes:
    """A second of video in FFmpeg's format `kind`, with the beginning of a sound as its track; without a track for None."""
    made = io.BytesIO()
    with av.open(made, "w", format=kind) as container:
        stream: Any = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        track: Any = None if sound is None else container.add_stream("aac", rate=RATE)
        if track is not None:
            samples = inputs.sound(sound).wave(RATE, 1.0)
            frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, 0
            container.mux(track.encode(frame))
        for at in range(10):
            image = np.full((32, 32, 3), 20 * at, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        for one in (stream, track):
            if one is not None:
                container.mux(one.encode(None))
    return made.getvalue()
