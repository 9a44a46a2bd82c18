"""Frames as an MP4 file that browsers play: H.264, or AV1 where the video library has no encoder for that."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import numpy as np

from core.errors import Refusal

CLOCK = Fraction(1, 1000)
# Encoders in the order of choice, with a quality that keeps thin lines. Frames are not reordered, so that the first one
# begins at zero everywhere; one thread, so that machines of any number of cores write the same bytes.
ENCODERS: tuple[tuple[str, dict[str, str]], ...] = (
    ("libx264", {"crf": "16", "preset": "medium", "bf": "0", "threads": "1"}),
    ("libopenh264", {"rc_mode": "quality", "threads": "1"}),
    ("libsvtav1", {"crf": "18", "preset": "8", "svtav1-params": "pred-struct=1:lp=1"}),
    ("libaom-av1", {"crf": "16", "cpu-used": "8", "threads": "1"}),
)
BT709, LIMITED = 1, 1  # the colours of HD, in the numbers of the standard


def encoder() -> tuple[str, dict[str, str]] | None:
    """The name of the first encoder that the video library has, and its options; None where it has none."""
    import av

    for name, options in ENCODERS:
        try:
            av.Codec(name, "w")
        except ValueError:
            continue
        return name, options
    return None


@contextmanager
def same_schedule() -> Iterator[None]:
    """Gives the thread its scheduling back. Where it may, SVT-AV1 turns the thread that opens it into a real-time one, which
    takes the processor from all other programs until it ends."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def mp4(pictures: Iterable[np.ndarray], milliseconds: Sequence[int]) -> bytes:
    """An MP4 file without sound.

    Args:
        pictures: T frames, uint8 [H, W, 3], sides even; taken one after the other.
        milliseconds: how long each of them stays.

    Raises:
        Refusal: "no_film" where the video library writes neither H.264 nor AV1.
    """
    import av
    from av.video.reformatter import Colorspace, VideoReformatter

    chosen = encoder()
    if chosen is None:
        raise Refusal("no_film")
    name, options = chosen
    ends = np.cumsum(milliseconds).tolist()
    starts = [0, *ends[:-1]]
    lasting = dict(zip(starts, milliseconds, strict=True))
    file, reformatter = io.BytesIO(), VideoReformatter()
    # Without names of programs and dates: the same frames give the same bytes.
    with av.open(file, "w", format="mp4", options={"fflags": "bitexact"}) as container:
        rate = Fraction(1000 * len(lasting), ends[-1]).limit_denominator(1001)
        stream: Any = container.add_stream(name, rate=rate, options=options)

        def put(frame: av.VideoFrame | None) -> None:
            for packet in stream.encode(frame):
                # Encoders do not tell how long the last frame stays.
                packet.duration = round(
                    lasting[round(packet.pts * packet.time_base / CLOCK)] * CLOCK / packet.time_base
                )
                container.mux(packet)

        for start, picture in zip(starts, pictures, strict=True):
            if not start:
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"
                context = stream.codec_context
                context.time_base = CLOCK
                context.colorspace = context.color_primaries = context.color_trc = BT709
                context.color_range = LIMITED
                with same_schedule():
                    context.open()
            rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame = reformatter.reformat(
                rgb, format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=LIMITED
            )
            frame.pts, frame.time_base = start, CLOCK
            put(frame)
        put(None)
    return file.getvalue()
