"""Videos from outside: told by content, checked at the door, decoded one frame at a time.

`video` reads what a file holds: the size of its frames, upright, and the time at which each of them appears. `Video.at`
decodes the frames that are shown at given times, and no more of the others than these need. Animated GIF, PNG and WebP
are videos too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.errors import Refusal
from core.inputs import animations, streams
from core.inputs.media import check_size, digest_of, local, opened, reading
from core.inputs.streams import Size, Track

MAX_FILE_BYTES = 200 << 20
MAX_SECONDS = 600
HEAD = 4096  # bytes that tell what a file is

QUICKTIME = (
    b"ftyp",
    b"moov",
    b"mdat",
    b"free",
    b"skip",
    b"wide",
    b"pnot",
)  # what MP4 and MOV files begin with
STILL_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif")
SOUND_HEADS = (b"ID3", b"fLaC", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"\xff\xf1", b"\xff\xf9")
WEBP = "webp"  # read by Pillow; all other kinds are names of FFmpeg's readers
HEADS = {
    b"\x1a\x45\xdf\xa3": "matroska",  # and WebM
    b"FLV\x01": "flv",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "asf",  # and WMV
    b"OggS": "ogg",
    b"\0\0\x01\xba": "mpeg",
    b"\0\0\x01\xb3": "mpegvideo",
    b"YUV4MPEG2": "yuv4mpegpipe",
    b"DKIF": "ivf",
    b"GIF8": "gif",
}
TS_MARK, TS_PACKETS = 0x47, ((0, 188), (4, 192))  # place of the first mark and the distance to the next


class Frame(NamedTuple):
    """One frame of a video."""

    time: float  # when it appears, seconds from the beginning
    pixels: np.ndarray  # uint8 [H, W, 3], upright


@dataclass(frozen=True)
class Clip:
    """Some frames of a video, kept together."""

    pixels: np.ndarray  # uint8 [T, H, W, 3]
    times: np.ndarray  # [T] float64, when each of them appears, seconds from the beginning
    duration: float  # of the whole video, seconds
    size: Size  # width, height of the video's own frames
    rate: float | None  # frames a second in the mean


@dataclass(frozen=True)
class Video:
    """What a file holds. Light: no frame is kept, and it may be read from several threads at once."""

    source: Path | bytes = field(repr=False)
    digest: str  # of the file's bytes, 32 hexadecimal digits
    size: Size  # width, height of its frames: upright, with square pixels
    duration: float  # seconds from the beginning to the end of the last frame
    moments: np.ndarray = field(repr=False, compare=False)  # [F] float64: when each frame appears, ascending
    track: Track = field(repr=False, compare=False)

    @property
    def rate(self) -> float | None:
        """Frames a second in the mean; None for a single frame."""
        span = float(self.moments[-1] - self.moments[0])
        return (len(self.moments) - 1) / span if span > 0 else None

    def uniform(self, count: int) -> np.ndarray:
        """Times [T] of the middles of `count` equal parts."""
        return (np.arange(count) + 0.5) * (self.duration / count)

    def every(self, seconds: float) -> np.ndarray:
        """Times [T] at this distance, beginning at zero."""
        return np.arange(0, max(self.duration, seconds / 2), seconds)

    def shown(self, times: Sequence[float] | np.ndarray) -> np.ndarray:
        """When the frames that are shown at these times [T] appeared: what `at` will give, without decoding."""
        return self.moments[self._places(times)]

    def at(
        self,
        times: Sequence[float] | np.ndarray,
        *,
        side: int | None = None,
        check: Callable[[], object] | None = None,
    ) -> Iterator[Frame]:
        """The frame shown at each time, as a player shows it: the last one that has appeared.

        Args:
            times: T seconds from the beginning, ascending; before the first frame the first is meant, behind the last the last.
            side: a longer short side is reduced to this many pixels, the long one in proportion. None reduces nothing.
            check: called again and again on the way, also before the first frame comes; may raise.

        Returns:
            T frames, one after the other. Times that show the same frame share its pixels.

        Raises:
            Refusal: "video_missing" where the file has gone, "video_broken" where no frame can be decoded.
        """
        places = self._places(times)
        if (np.diff(places) < 0).any():
            raise ValueError("times must ascend")
        wanted, repeats = np.unique(places, return_counts=True)
        with reading("video"), opened(self.source, "video") as file:
            decode = animations.decode if self.track.kind == WEBP else streams.decode
            for (stamp, pixels), count in zip(
                decode(file, self.track, self.track.stamps[wanted], reduced_size(self.size, side), check),
                repeats,
                strict=True,
            ):
                frame = Frame(self.track.seconds(stamp), pixels)
                for _ in range(count):
                    yield frame

    def clip(self, times: Sequence[float] | np.ndarray, *, side: int | None = None) -> Clip:
        """The frames of `at`, kept together; at least one time."""
        frames = list(self.at(times, side=side))
        return Clip(
            np.stack([frame.pixels for frame in frames]),
            np.array([frame.time for frame in frames]),
            self.duration,
            self.size,
            self.rate,
        )

    def _places(self, times: Sequence[float] | np.ndarray) -> np.ndarray:
        """Positions [T] among all frames of those that are shown at these times."""
        # A time that was rounded to six digits still means the frame that appears then.
        found = np.searchsorted(self.moments, np.asarray(times, float) + 1e-6, "right") - 1
        return found.clip(0, len(self.moments) - 1)


def video(
    source: str | Path | bytes | None,
    *,
    max_bytes: int | None = MAX_FILE_BYTES,
    max_seconds: float | None = MAX_SECONDS,
) -> Video:
    """What a file holds: one pass over its packets, which decodes the first frame.

    MP4, MOV, MKV, WebM, AVI, WMV, FLV, MPEG, Ogg, animated GIF, PNG and WebP, told by content, never by name. A file that
    breaks off is as long as what is left of it.

    Args:
        source: a file's path, or its bytes.
        max_bytes: of the file; None for any size.
        max_seconds: of the video; None for any length.

    Raises:
        Refusal: "no_video", "video_missing", "video_is_address", "image_file_too_large", "not_a_video",
            "video_sound_only", "video_broken", "video_too_long", "video_too_large", "video_too_thin",
            "video_no_memory".
    """
    source = local(source, "video")
    with reading("video"), opened(source, "video") as file:
        check_size(file, max_bytes)
        kind = _sniff(file.read(HEAD))
        digest = digest_of(file)
        scan = animations.scan if kind == WEBP else streams.scan
        track = scan(file, kind, max_seconds)
    return Video(source, digest, track.size, track.duration, track.seconds(track.stamps), track)


def reduced_size(size: Size, side: int | None) -> Size:
    """Width and height with a short side of at most `side` pixels, as towers compute it before their crop."""
    width, height = size
    short = min(size)
    if side is None or short <= side:
        return size
    return (side, side * height // width) if width <= height else (side * width // height, side)


# --- reading -----------------------------------------------------------------------------------------------


def _sniff(head: bytes) -> str:
    """The reader of the format that a file's first bytes announce.

    Only what has a mark of its own is read: playlists, which may name any file of this machine, have none.
    """
    for mark, kind in HEADS.items():
        if head.startswith(mark):
            return kind
    if head[4:8] in QUICKTIME:
        if head[4:8] == b"ftyp" and head[8:12] in STILL_BRANDS:
            raise Refusal("not_a_video")
        return "mov"
    if head.startswith(b"RIFF"):
        if head[8:12] == b"WAVE":
            raise Refusal("video_sound_only")
        if head[8:12] in (b"AVI ", b"WEBP"):
            return "avi" if head[8:12] == b"AVI " else WEBP
    if head.startswith(b"\x89PNG\r\n\x1a\n") and b"acTL" in head:
        return "apng"
    if any(head[at : at + step + 1 : step].count(TS_MARK) == 2 for at, step in TS_PACKETS):
        return "mpegts"
    if head.startswith(SOUND_HEADS):
        raise Refusal("video_sound_only")
    raise Refusal("not_a_video")
