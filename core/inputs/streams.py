"""Video files through FFmpeg: when their frames appear, and the pixels of some of them.

A file is read with a Python file object and a named reader, so that nothing but that file is ever opened. Frames are
decoded on from where the reader is; it jumps only where the wanted frame lies behind a later key frame, because from a
key frame all frames up to the wanted one have to be decoded again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, overload

import numpy as np

from core.errors import Refusal

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

MAX_PIXELS = 40_000_000  # of a frame
MAX_ASPECT = 100
MAX_WORK = 4e11  # pixels of all frames: ten minutes of 4K at 60 frames a second
MAX_FRAMES = 2_000_000
BUFFER = 1 << 18
MAX_THREADS = 4  # each holds frames of its own
JUMP = 8  # frames that are decoded on rather than jumped over: a jump costs about as much
# MP4 and Matroska count from their own zero, as players do. A first frame that comes later than this is no delay: the file
# is a part of a longer one.
OWN_ZERO, MAX_DELAY = ("mov", "matroska"), 1.0
JUMPING = (
    "mov",
    "matroska",
    "avi",
    "flv",
    "asf",
    "mpegts",
    "ivf",
)  # readers whose times are right after a jump
COUNTED = (
    "avi",
    ("h264", "hevc"),
)  # a reader that gives frames of these codecs times in the order of decoding
SKIPPING = ("h264", "hevc")  # decoders that leave out frames which no other needs
UNSPECIFIED, HD_LINES = (
    2,
    576,
)  # colours of frames with more lines than this are those of HD where the file does not say

Size = tuple[int, int]  # width, height
Check = Callable[[], object]
Stamped = tuple[int, "VideoFrame"]


@dataclass(frozen=True)
class Track:
    """When the frames of a file appear, in the file's own stamps."""

    kind: str  # reader
    size: Size  # width, height, upright
    stamps: np.ndarray  # [F] int64, ascending
    keys: np.ndarray  # int64, ascending: stamps of the frames that need no other
    unit: float  # seconds of one stamp
    zero: float  # seconds at the beginning
    duration: float  # seconds from the beginning to the end of the last frame
    is_counted: bool = False  # the stamps belong to the frames in the order in which they are shown

    @overload
    def seconds(self, stamps: int) -> float: ...
    @overload
    def seconds(self, stamps: np.ndarray) -> np.ndarray: ...
    def seconds(self, stamps: int | np.ndarray) -> float | np.ndarray:
        """Seconds from the beginning."""
        return stamps * self.unit - self.zero


def scan(file: BinaryIO, kind: str, max_seconds: float | None) -> Track:
    """One pass over the packets of a file; only the first frame is decoded.

    Raises:
        Refusal: as `core.inputs.video`.
    """
    stamps: list[int] = []
    keys: list[int] = []
    end: int | None = None
    size: Size | None = None
    with _opened(file, kind) as (container, stream):
        unit = float(stream.time_base or 0)
        start = (container.start_time or 0) / 1e6
        zero = 0.0 if kind in OWN_ZERO and 0 <= start <= MAX_DELAY else start
        check_size(stream.width, stream.height)
        is_counted = kind == COUNTED[0] and stream.codec_context.name in COUNTED[1]
        for packet in _packets(container, stream):
            if size is None:
                frame = next(iter(_decoded(packet)), None)
                size = None if frame is None else upright_size(frame, stream)
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is None or packet.is_discard:
                continue
            stamps.append(stamp)
            if packet.is_keyframe:
                keys.append(stamp)
            last = stamp + (packet.duration or 0)
            end = last if end is None else max(end, last)
            check_length(end * unit - zero, len(stamps), max_seconds)
    if size is None or end is None:
        raise Refusal("video_broken")
    ordered = np.unique(np.array(stamps, np.int64))
    if end == ordered[-1] and len(ordered) > 1:  # the last one does not say how long it stays
        end += int(np.median(np.diff(ordered)))
    check_work(size, len(ordered), max_seconds)
    may_jump = kind in JUMPING and not is_counted
    zero = min(zero, float(ordered[0]) * unit)  # a frame before the announced beginning is the beginning
    return Track(
        kind,
        size,
        ordered,
        np.unique(np.array(keys if keys and may_jump else ordered[:1], np.int64)),
        unit,
        zero,
        end * unit - zero,
        is_counted,
    )


def decode(
    file: BinaryIO, track: Track, wanted: np.ndarray, size: Size, check: Check | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Stamp and pixels, uint8 [H, W, 3], of the frames with the stamps `wanted`, which ascend.

    In place of a frame that cannot be decoded comes the one before it, or the first that can be.

    Args:
        size: width and height of what is returned, upright.
        check: called for each packet on the way; may raise.

    Raises:
        Refusal: "video_broken" where no frame can be decoded.
    """
    done, may_jump = 0, True
    while done < len(wanted):
        file.seek(0)
        with _opened(file, track.kind) as (container, stream):
            paint = _Painter(size)
            for shown in _shown(container, stream, track, wanted[done:], may_jump, check):
                if shown is None:
                    break
                stamp, frame = shown
                yield stamp, paint(frame)
                done += 1
        # A jump that landed behind its frame: the file's key frames are not what they say.
        may_jump = False


def _shown(
    container: InputContainer,
    stream: VideoStream,
    track: Track,
    wanted: np.ndarray,
    may_jump: bool,
    check: Check | None,
) -> Iterator[Stamped | None]:
    """The frame for each wanted stamp; None, and the end, where a jump landed behind it."""
    targets = frozenset(wanted.tolist())
    frames = _frames(container, stream, track, targets, check)
    shown = ahead = None  # the last frame up to the target, and the first one behind it
    position = -1  # of the last decoded frame among all
    for target in wanted.tolist():
        key = track.keys[max(int(np.searchsorted(track.keys, target, "right")) - 1, 0)]
        jumped = may_jump and int(np.searchsorted(track.stamps, key)) - position > JUMP
        if jumped:
            container.seek(int(key), stream=stream)
            frames = _frames(container, stream, track, targets, check)
            shown = ahead = None
        while ahead is None or ahead[0] <= target:
            if ahead is not None:
                shown, ahead = ahead, None
            if shown is not None and shown[0] == target:
                break
            ahead = next(frames, None)
            if ahead is None:
                break
            position = int(np.searchsorted(track.stamps, ahead[0], "right")) - 1
        if shown is None and jumped:
            yield None
            return
        found = shown or ahead
        if found is None:
            raise Refusal("video_broken")
        yield found


def _frames(
    container: InputContainer,
    stream: VideoStream,
    track: Track,
    targets: frozenset[int],
    check: Check | None,
) -> Iterator[Stamped]:
    """The frames from here on with their stamps, less those that are neither wanted nor needed by others."""
    context: Any = stream.codec_context
    is_skipping = context.name in SKIPPING and not track.is_counted
    count = 0
    for packet in _packets(container, stream):
        if check is not None:
            check()
        if is_skipping:
            is_wanted = packet.pts is None or packet.pts in targets
            context.skip_frame = "DEFAULT" if is_wanted else "NONREF"
        for frame in _decoded(packet):
            stamp = frame.pts if frame.pts is not None else frame.dts
            if track.is_counted:
                stamp = int(track.stamps[min(count, len(track.stamps) - 1)])
                count += 1
            if stamp is not None:
                yield stamp, frame


@contextmanager
def _opened(file: BinaryIO, kind: str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file and its first stream of frames, which is no cover image; what FFmpeg raises is a refusal."""
    import av
    from av.stream import Discard, Disposition

    try:
        with av.open(
            file,
            "r",
            format=kind,
            options={"fflags": "+genpts"},
            metadata_errors="ignore",
            buffer_size=BUFFER,
        ) as container:
            videos = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
            if not videos:
                raise Refusal("video_sound_only" if container.streams.audio else "not_a_video")
            stream = videos[0]
            if stream.codec_context is None:  # no decoder
                raise Refusal("not_a_video")
            for other in container.streams:
                if other.index != stream.index:
                    other.discard = Discard.all
            # Frames may become larger in the middle of a file.
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            stream.thread_type = "AUTO"
            stream.thread_count = min(MAX_THREADS, os.cpu_count() or 1)
            yield container, stream
    except MemoryError:
        raise
    except av.FFmpegError as error:
        raise Refusal("video_broken") from error


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The packets from here on, up to the end or to where the file breaks off; the last one empties the decoder."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.error.InvalidDataError, av.error.EOFError, av.error.OSError):
            return
        if packet is None:
            return
        yield packet


def _decoded(packet: Packet[VideoStream]) -> list[VideoFrame]:
    """The frames that a packet completes; none where it is damaged."""
    import av

    try:
        return packet.decode()
    except (av.error.InvalidDataError, av.error.EOFError):
        return []


# --- pixels ------------------------------------------------------------------------------------------------


class _Painter:
    """Frames as pixels of one size: turned upright, with the colours that the file means, alpha on white."""

    def __init__(self, size: Size) -> None:
        from av.video.reformatter import VideoReformatter

        self.size = size
        self.reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        from av.video.reformatter import Colorspace, Interpolation

        turns = round(frame.rotation / 90) % 4
        width, height = self.size[::-1] if turns % 2 else self.size
        has_alpha = any(component.is_alpha for component in frame.format.components)
        is_hd = frame.colorspace == UNSPECIFIED and frame.height > HD_LINES and not frame.format.is_rgb
        made = self.reformatter.reformat(
            frame,
            width,
            height,
            "rgba" if has_alpha else "rgb24",
            src_colorspace=Colorspace.ITU709 if is_hd else None,
            # Without the last flag white comes out grey.
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
        )
        pixels = made.to_ndarray().astype(np.uint8, copy=False)
        if has_alpha:
            alpha = pixels[..., 3:].astype(np.uint16)
            pixels = ((pixels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
        return np.ascontiguousarray(np.rot90(pixels, turns))


def upright_size(frame: VideoFrame, stream: VideoStream) -> Size:
    """Width and height of a frame as it is shown: turned, its pixels square."""
    aspect = float(stream.sample_aspect_ratio or 1)
    width, height = frame.width, frame.height
    if aspect > 1:
        width = round(width * aspect)
    elif 0 < aspect < 1:
        height = round(height / aspect)
    size = (height, width) if round(frame.rotation / 90) % 2 else (width, height)
    check_size(*size)
    return size


def check_size(width: int, height: int) -> None:
    """Refuses frames of too many pixels, and strips: towers enlarge the short side."""
    if width * height > MAX_PIXELS:
        raise Refusal("video_too_large", width=width, height=height, limit=MAX_PIXELS // 1_000_000)
    if max(width, height) > MAX_ASPECT * min(width, height) > 0:
        raise Refusal("video_too_thin", width=width, height=height, limit=MAX_ASPECT)


def check_length(seconds: float, count: int, max_seconds: float | None) -> None:
    """Refuses a video of more seconds than allowed, or of more frames than any has."""
    if max_seconds is not None and seconds > max_seconds + 1:  # ten minutes and a last frame are ten minutes
        raise Refusal("video_too_long", limit=round(max_seconds / 60))
    if count > MAX_FRAMES:
        raise Refusal("video_too_long", limit=round((max_seconds or seconds) / 60))


def check_work(size: Size, count: int, max_seconds: float | None) -> None:
    """Refuses a video whose frames, though few minutes, are more pixels than can be decoded while one waits."""
    if max_seconds is not None and size[0] * size[1] * count > MAX_WORK:
        raise Refusal("video_too_large", width=size[0], height=size[1], limit=MAX_PIXELS // 1_000_000)
