"""Sounds from outside: told by content, checked at the door, decoded a block at a time.

`sound` reads a file once and keeps what a page draws of it; `Sound.windows` decodes the parts that a model wants, at its rate
and with one channel, and holds no more of the file than one window. The sound of a video file is a sound too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import Refusal
from core.inputs.media import check_size, digest_of, local, opened, reading

MAX_FILE_BYTES = 200 << 20
MAX_SECONDS = 600
MIN_SECONDS = 0.05
SILENCE = 1e-5  # a sound whose samples differ by less has nothing to hear
MAX_CHANNELS, MAX_RATE, MIN_RATE = 64, 768_000, 1_000
BLOCK = 1 << 16  # samples
BIN = 256  # samples of one entry of the envelope, at 48 kHz; more at higher rates
HEAD = 64

WAVE_FORMATS = {b"WAVE": "wav", b"AVI ": "avi"}
# What a file begins with, and the name of FFmpeg's reader. Only what has a mark of its own is read: playlists, which may name any
# file of this machine, have none.
HEADS: dict[bytes, str] = {
    b"RF64": "wav", b"riff\x2e\x91\xcf\x11": "w64", b"FORM": "aiff", b"fLaC": "flac", b".snd": "au", b"caff": "caf",
    b"OggS": "ogg", b"ID3": "mp3", b"#!AMR": "amr", b"wvpk": "wv", b"MAC ": "ape", b"\x1a\x45\xdf\xa3": "matroska",
    b"FLV\x01": "flv", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "asf", b"\0\0\x01\xba": "mpeg",
}  # fmt: skip
QUICKTIME = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")
BY_SOUNDFILE = ("wav", "w64", "aiff", "flac", "au", "caf", "ogg")  # tried there first

Check = Callable[[], object]


@dataclass(frozen=True)
class Sound:
    """What a file holds. Light: no sample is kept, and it may be read from several threads at once."""

    source: Path | bytes = field(repr=False)
    digest: str  # of the file's bytes, 32 hexadecimal digits
    kind: str  # FFmpeg's name of the format
    rate: int  # samples a second, as stored
    channels: int
    duration: float  # seconds
    peak: float  # greatest magnitude of the mean of the channels; full scale is 1
    envelope: np.ndarray = field(repr=False, compare=False)  # [E] float32 peaks of equal parts, full scale 1

    @property
    def gain(self) -> float:
        """What samples are multiplied with: 1, or less where a file of floats goes beyond full scale."""
        return min(1.0, 1.0 / self.peak)

    def blocks(self, rate: int, check: Check | None = None) -> Iterator[np.ndarray]:
        """The sound from its beginning as float32 blocks [A], -1..1, one channel (the mean), at a rate."""
        with reading("sound"):
            for block in _at_rate(_mono(self.source, self.kind, check), self.rate, rate):
                yield np.clip(block * np.float32(self.gain), -1, 1)

    def wave(self, rate: int, seconds: float | None = None) -> np.ndarray:
        """The beginning of the sound, or all of it: float32 [A]."""
        wanted = None if seconds is None else round(seconds * rate)
        parts, count = [], 0
        for block in self.blocks(rate):
            parts.append(block)
            count += len(block)
            if wanted is not None and count >= wanted:
                break
        return np.concatenate(parts)[:wanted]

    def starts(self, seconds: float, most: int, overlap: float = 0.5) -> np.ndarray:
        """Where windows begin [W]: one that reaches behind the end where the sound is shorter, else at most so many, the last
        one ending with the sound.
        """
        room = self.duration - seconds
        if room <= 0:
            return np.zeros(1)
        count = min(most, 1 + int(np.ceil(room / (seconds * (1 - overlap)))))
        return np.linspace(0, room, max(2, count)) if most > 1 else np.array([room / 2])

    def windows(
        self, rate: int, seconds: float, starts: Sequence[float] | np.ndarray, check: Check | None = None
    ) -> Iterator[np.ndarray]:
        """Parts [A] of equal length that begin at some times, in ascending order; zeros where the sound has ended."""
        length = round(seconds * rate)
        begins = [round(float(start) * rate) for start in starts]
        kept, offset = np.zeros(0, np.float32), 0  # what is kept of the sound, and where it begins
        stream = self.blocks(rate, check)
        for begin in begins:
            while offset + len(kept) < begin + length:
                block = next(stream, None)
                if block is None:
                    break
                drop = min(len(kept), max(0, begin - offset))
                kept, offset = np.concatenate([kept[drop:], block]), offset + drop
            part = kept[max(0, begin - offset) : max(0, begin - offset) + length]
            yield np.pad(part, (0, length - len(part)))


def sound(
    source: str | Path | bytes | None,
    *,
    max_bytes: int | None = MAX_FILE_BYTES,
    max_seconds: float | None = MAX_SECONDS,
    check: Check | None = None,
) -> Sound:
    """What a file holds: one pass over its samples.

    WAV, FLAC, AIFF, AU, CAF, Ogg, Opus, MP3, AAC, M4A, AMR, WMA and the sound of videos, told by content, never by name. A file
    that breaks off is as long as what is left of it.

    Args:
        source: a file's path, or its bytes.
        max_bytes: of the file; None for any size.
        max_seconds: of the sound; None for any length.
        check: called on the way; may raise.

    Raises:
        Refusal: "no_sound", "sound_missing", "sound_is_address", "image_file_too_large", "not_a_sound", "sound_without_track",
            "sound_broken", "sound_too_long", "sound_too_short", "sound_silent", "sound_no_memory".
    """
    source = local(source, "sound")
    with reading("sound"), opened(source, "sound") as file:
        check_size(file, max_bytes)
        kind = _sniff(file.read(HEAD))
        digest = digest_of(file)
    with reading("sound"):
        return _scanned(source, digest, kind, max_seconds, check)


def _scanned(
    source: Path | bytes, digest: str, kind: str, max_seconds: float | None, check: Check | None
) -> Sound:
    """One pass over the samples."""
    reader = _mono(source, kind, check)
    first = next(reader, None)
    if first is None:
        raise Refusal("sound_broken")
    rate, channels = first.rate, first.channels
    each = BIN * max(1, round(rate / 48_000))
    peaks, left, count = [], np.zeros(0, np.float32), 0
    low, high = np.inf, -np.inf
    block: _Block | None = first
    while block is not None:
        samples = block.samples
        count += len(samples)
        if max_seconds is not None and count > max_seconds * rate:
            raise Refusal("sound_too_long", limit=int(max_seconds // 60))
        if len(samples):
            low, high = min(low, float(samples.min())), max(high, float(samples.max()))
        left = np.concatenate([left, np.abs(samples)])
        whole = len(left) // each * each
        peaks.append(left[:whole].reshape(-1, each).max(1))
        left = left[whole:]
        block = next(reader, None)
    if count < MIN_SECONDS * rate:
        raise Refusal("sound_too_short") if count else Refusal("sound_broken")
    if high - low < SILENCE:
        raise Refusal("sound_silent")
    if len(left):
        peaks.append(left.max(keepdims=True))
    peak = max(abs(low), abs(high))
    envelope = np.concatenate(peaks) * min(1.0, 1.0 / peak)
    return Sound(source, digest, kind, rate, channels, count / rate, peak, envelope)


# --- reading -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Block:
    samples: np.ndarray  # [A] float32, the mean of the channels, finite
    rate: int
    channels: int


def _mono(source: Path | bytes, kind: str, check: Check | None) -> Iterator[_Block]:
    """The blocks of a file: by soundfile where it reads the format, by PyAV otherwise."""
    started = False
    if kind in BY_SOUNDFILE:
        try:
            for block in _by_soundfile(source):
                if check is not None:
                    check()
                started = True
                yield block
            return
        except _Unreadable:
            if started:
                return  # what is left of a file that breaks off
    for block in _by_av(source, kind):
        if check is not None:
            check()
        yield block


class _Unreadable(Exception):
    """A reader cannot go on."""


def _by_soundfile(source: Path | bytes) -> Iterator[_Block]:
    import soundfile

    with opened(source, "sound") as file:
        try:
            reader = soundfile.SoundFile(file)
        except (RuntimeError, TypeError) as error:
            raise _Unreadable from error
        with reader:
            rate, channels = _checked(reader.samplerate, reader.channels)
            while True:
                try:
                    samples = reader.read(BLOCK, dtype="float32", always_2d=True)
                except RuntimeError as error:
                    raise _Unreadable from error
                if not len(samples):
                    return
                yield _Block(_clean(samples.mean(1, dtype=np.float64)), rate, channels)


def _by_av(source: Path | bytes, kind: str) -> Iterator[_Block]:
    import av
    from av.error import FFmpegError

    with opened(source, "sound") as file:
        try:
            container = av.open(file, format=kind, mode="r")
        except (FFmpegError, ValueError) as error:
            raise Refusal("sound_broken") from error
        with container:
            if not container.streams.audio:
                raise Refusal("sound_without_track")
            stream = container.streams.audio[0]
            rate, plain = 0, None
            for frame in _frames(container, stream):
                if plain is None or frame.sample_rate != rate:
                    rate = frame.sample_rate
                    plain = av.AudioResampler(format="fltp", layout=frame.layout)
                _checked(rate, len(frame.layout.channels))
                for whole in plain.resample(frame):
                    samples = whole.to_ndarray()
                    yield _Block(_clean(samples.mean(0, dtype=np.float64)), rate, len(samples))


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """The frames that can be decoded; a damaged packet is left out, and a file that breaks off ends there."""
    from av.error import FFmpegError

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, FFmpegError, ValueError):
            return
        try:
            yield from packet.decode()
        except (FFmpegError, ValueError):
            continue


def _checked(rate: int, channels: int) -> tuple[int, int]:
    if not (MIN_RATE <= rate <= MAX_RATE and 1 <= channels <= MAX_CHANNELS):
        raise Refusal("sound_broken")
    return rate, channels


def _clean(samples: np.ndarray) -> np.ndarray:
    """Finite float32; what a file says instead of numbers is silence."""
    limit = float(np.finfo(np.float32).max) / 4
    return np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0).clip(-limit, limit).astype(np.float32)


def _at_rate(blocks: Iterator[_Block], stored: int, rate: int) -> Iterator[np.ndarray]:
    """Blocks at another rate: FFmpeg's band-limited resampling."""
    if stored == rate:
        yield from (block.samples for block in blocks)
        return
    import av

    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)

    def frames() -> Iterator[Any]:
        for block in blocks:
            if len(block.samples):
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.samples[None]), "flt", "mono")
                frame.sample_rate = stored
                yield frame
        yield None  # what the resampler still holds

    for frame in frames():
        for made in resampler.resample(frame):
            yield made.to_ndarray()[0]


def _sniff(head: bytes) -> str:
    """FFmpeg's reader of the format that a file's first bytes announce."""
    if head.startswith(b"RIFF") and head[8:12] in WAVE_FORMATS:
        return WAVE_FORMATS[head[8:12]]
    if head[4:8] in QUICKTIME:
        return "mov"
    for mark, kind in HEADS.items():
        if head.startswith(mark):
            return kind
    if head[:2] in (b"\xff\xf1", b"\xff\xf9"):
        return "aac"
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06:
        return "mp3"
    if head[:1] == b"\x47":
        return "mpegts"
    raise Refusal("not_a_sound")
