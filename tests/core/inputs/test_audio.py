"""Sounds at the door: odd files get an answer or one sentence; windows stream at the wanted rate."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from core import inputs
from core.errors import Refusal

RATE = 22_050


def tone(seconds: float = 1.0, rate: int = RATE, hertz: float = 440.0, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * math.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def file(samples: np.ndarray, rate: int = RATE, **options: Any) -> bytes:
    made = io.BytesIO()
    soundfile.write(made, samples, rate, **{"format": "WAV", **options})
    return made.getvalue()


def coded(samples: np.ndarray, rate: int, kind: str, codec: str) -> bytes:
    """The samples in a container of FFmpeg."""
    made = io.BytesIO()
    with av.open(made, "w", format=kind) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(
            format=stream.format, layout="mono", rate=rate, frame_size=stream.frame_size or 1024
        )
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return made.getvalue()


def hertz_of(wave: np.ndarray, rate: int) -> float:
    return float(np.abs(np.fft.rfft(wave * np.hanning(len(wave)))).argmax() * rate / len(wave))


FORMATS = {
    "wav": lambda: file(tone()),
    "8 bits": lambda: file(tone(), subtype="PCM_U8"),
    "24 bits": lambda: file(tone(), subtype="PCM_24"),
    "floats": lambda: file(tone(), subtype="FLOAT"),
    "96 kHz": lambda: file(tone(rate=96_000), 96_000),
    "flac": lambda: file(tone(), format="FLAC"),
    "aiff": lambda: file(tone(), format="AIFF"),
    "ogg": lambda: file(tone(), format="OGG", subtype="VORBIS"),
    "mp3": lambda: file(tone(), format="MP3", subtype="MPEG_LAYER_III"),
    "7 channels": lambda: file(np.repeat(tone()[:, None], 7, 1)),
    "m4a": lambda: coded(tone(rate=44_100), 44_100, "ipod", "aac"),
    "aac": lambda: coded(tone(rate=44_100), 44_100, "adts", "aac"),
    "matroska": lambda: coded(tone(rate=44_100), 44_100, "matroska", "aac"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_told_by_content(name: str) -> None:
    sound = inputs.sound(FORMATS[name]())
    assert sound.duration == pytest.approx(1.0, abs=0.12)
    wave = sound.wave(16_000)
    assert np.sqrt(np.square(wave / sound.gain).mean()) == pytest.approx(0.5 / math.sqrt(2), rel=0.1)
    assert wave.dtype == np.float32 and hertz_of(wave, 16_000) == pytest.approx(440, abs=3)
    assert len(wave) == pytest.approx(sound.duration * 16_000, abs=80)


def test_floats_beyond_full_scale_are_scaled_and_kept_in_shape() -> None:
    sound = inputs.sound(file(tone(level=30.0), subtype="FLOAT"))
    wave = sound.wave(RATE)
    assert sound.peak == pytest.approx(30, rel=1e-3) and np.abs(wave).max() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(wave, tone(level=1.0), atol=1e-3)


def test_clipping_dc_and_no_numbers_are_answered() -> None:
    assert inputs.sound(file(np.clip(4 * tone(), -1, 1))).peak == pytest.approx(1, abs=1e-3)
    assert inputs.sound(file(tone(level=0.2) + 0.5)).duration == pytest.approx(1)
    broken = tone()
    broken[100:110], broken[200] = np.nan, np.inf
    wave = inputs.sound(file(broken, subtype="FLOAT")).wave(RATE)
    assert np.isfinite(wave).all() and wave[105] == 0


REFUSED = {
    "sound_silent": lambda: file(np.zeros(RATE, np.float32)),
    "sound_too_short": lambda: file(tone()[:1]),
    "not_a_sound": lambda: b"#EXTM3U\nfile:///etc/passwd\n",
    "no_sound": lambda: b"",
    "sound_broken": lambda: b"fLaC" + bytes(200),
    "sound_is_address": lambda: "https://example.org/a.wav",
    "sound_missing": lambda: Path("/nowhere/a.wav"),
}


@pytest.mark.parametrize("code", REFUSED)
def test_what_cannot_be_heard_is_one_sentence(code: str) -> None:
    with pytest.raises(Refusal) as caught:
        inputs.sound(REFUSED[code]())
    assert caught.value.code == code
    assert caught.value.text("en") != caught.value.text("zh")


def test_constant_samples_are_silence() -> None:
    with pytest.raises(Refusal) as caught:
        inputs.sound(file(np.full(RATE, 0.25, np.float32)))
    assert caught.value.code == "sound_silent"


def test_a_video_without_sound_is_refused() -> None:
    made = io.BytesIO()
    with av.open(made, "w", format="mp4") as container:
        stream: Any = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        for _ in range(5):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24"))
            )
        container.mux(stream.encode(None))
    with pytest.raises(Refusal) as caught:
        inputs.sound(made.getvalue())
    assert caught.value.code == "sound_without_track"


def test_longer_than_ten_minutes_is_refused() -> None:
    long = file(np.tile(tone(1.0, 8000), 11), 8000)
    with pytest.raises(Refusal) as caught:
        inputs.sound(long, max_seconds=10)
    assert caught.value.code == "sound_too_long"
    assert inputs.sound(long, max_seconds=None).duration == pytest.approx(11)


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "ogg", "matroska"])
def test_a_file_that_breaks_off_is_as_long_as_what_is_left(name: str) -> None:
    whole = FORMATS[name]() if name == "matroska" else file(tone(4.0), **_options(name))
    try:
        sound = inputs.sound(whole[: len(whole) // 2])
    except Refusal as refusal:
        assert refusal.code == "sound_broken"
        return
    assert 0.05 < sound.duration <= 4.01
    assert len(sound.wave(RATE)) == pytest.approx(sound.duration * RATE, rel=0.05)


def _options(name: str) -> dict[str, Any]:
    mp3: dict[str, Any] = {"format": "MP3", "subtype": "MPEG_LAYER_III"}
    return {"wav": {}, "flac": {"format": "FLAC"}, "ogg": {"format": "OGG", "subtype": "VORBIS"}, "mp3": mp3}[
        name
    ]


def test_windows_are_the_parts_of_the_whole() -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 5 * RATE).astype(np.float32)
    sound = inputs.sound(file(samples, subtype="FLOAT"))
    starts = sound.starts(1.0, 60)
    assert starts[0] == 0 and starts[-1] == pytest.approx(4.0) and (np.diff(starts) <= 0.5 + 1e-6).all()
    whole = sound.wave(RATE)
    for start, part in zip(starts, sound.windows(RATE, 1.0, starts), strict=True):
        begin = round(float(start) * RATE)
        np.testing.assert_array_equal(part, whole[begin : begin + RATE])
    assert len(sound.starts(1.0, 4)) == 4
    (alone,) = sound.windows(RATE, 8.0, sound.starts(8.0, 4))
    assert len(alone) == 8 * RATE and not alone[5 * RATE :].any()


def test_the_envelope_is_of_full_scale() -> None:
    sound = inputs.sound(file(np.concatenate([tone(0.5, level=0.1), tone(0.5, level=0.8)])))
    first, second = np.array_split(sound.envelope, 2)
    assert first[:-2].max() == pytest.approx(0.1, abs=0.01) and second.max() == pytest.approx(0.8, abs=0.01)
