"""Videos at the door: which frame `core.inputs.video` shows at which time, of every kind of file, and what it refuses."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import threading
import wave
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from core import inputs
from core.errors import Refusal
from core.inputs import streams
from core.mp4 import same_schedule

ROOT = Path(__file__).resolve().parents[3]
WIDTH, HEIGHT, BITS = 96, 64, 12  # a frame carries its number as 12 black and white blocks: 6 columns, 2 rows
CLOCK = Fraction(1, 1000)


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A frame that shows its number."""
    bits = np.array([number >> bit & 1 for bit in range(BITS)], np.uint8).reshape(2, 6)
    blocks = np.kron(bits, np.ones((height // 2, width // 6), np.uint8)) * 200 + 20
    return np.repeat(blocks[..., None], 3, axis=2)


def number_of(pixels: np.ndarray) -> int:
    """The number that a frame shows, whatever its size."""
    height, width = pixels.shape[:2]
    rows, columns = [height // 4, 3 * height // 4], [(2 * i + 1) * width // 12 for i in range(6)]
    bits = (pixels[np.ix_(rows, columns)].mean(-1) > 120).reshape(-1)
    return int((bits << np.arange(BITS)).sum())


@same_schedule()  # of AV1, too
def film(
    stamps: Sequence[int],
    kind: str = "mp4",
    codec: str = "libx264",
    *,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    rotation: float | None = None,
    aspect: Fraction | None = None,
    sound: bool = False,
    pictures: Sequence[np.ndarray] | None = None,
    pix_fmt: str = "yuv420p",
    clock: Fraction = CLOCK,
    rate: int = 25,
) -> bytes:
    """A file whose frames appear at these stamps of a clock, in milliseconds unless told otherwise."""
    file = io.BytesIO()
    pictures = pictures or [numbered(i) for i in range(len(stamps))]
    with av.open(file, "w", format=kind, options=container_options or {}) as container:
        stream: Any = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = clock
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation is not None:
            stream.set_display_rotation(rotation)
        track: Any = container.add_stream("aac", rate=44100) if sound else None
        if track is not None:
            silence = av.AudioFrame.from_ndarray(
                np.zeros((1, 44100), np.float32), format="fltp", layout="mono"
            )
            silence.sample_rate, silence.pts = 44100, 0
            container.mux(track.encode(silence))
        for stamp, picture in zip(stamps, pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgba" if picture.shape[2] == 4 else "rgb24")
            frame.pts, frame.time_base = stamp, clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if track is not None:
            container.mux(track.encode(None))
    return file.getvalue()


def steady(count: int, rate: int = 25) -> list[int]:
    return [1000 * i // rate for i in range(count)]


def numbers(video: inputs.Video, times: Sequence[float] | np.ndarray, **options: Any) -> list[int]:
    return [number_of(frame.pixels) for frame in video.at(times, **options)]


def refused(code: str, source: Any, **limits: Any) -> None:
    with pytest.raises(Refusal) as caught:
        video = inputs.video(source, **limits)
        list(video.at([0.0]))
    assert caught.value.code == code
    for lang in ("en", "zh"):
        assert "{" not in caught.value.text(lang)


# --- which frame, when -------------------------------------------------------------------------------------

FEW_KEYS = {"g": "1000", "bf": "3", "sc_threshold": "0"}
MANY_KEYS = {"g": "30", "bf": "2", "sc_threshold": "0"}
OPEN_GROUPS = {"g": "30", "bf": "3", "sc_threshold": "0", "x264-params": "open-gop=1:b-pyramid=normal"}
REFRESHED = {"g": "30", "bf": "0", "x264-params": "intra-refresh=1"}
KINDS = {
    "mp4, one key frame": ("mp4", "libx264", FEW_KEYS),
    "mp4, many key frames": ("mp4", "libx264", MANY_KEYS),
    "mp4, open groups": ("mp4", "libx264", OPEN_GROUPS),
    "mp4, no key frame but the first": ("mp4", "libx264", REFRESHED),
    "mp4, every frame a key frame": ("mp4", "mpeg4", {"g": "1"}),
    "mp4, hevc": ("mp4", "libx265", {"x265-params": "log-level=none:keyint=30:bframes=3"}),
    "mp4, av1": ("mp4", "libsvtav1", {"preset": "10", "crf": "15", "svtav1-params": "keyint=30"}),
    "mov": ("mov", "mjpeg", {}),
    "mkv": ("matroska", "libx264", MANY_KEYS),
    "webm": ("webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "g": "30"}),
    "avi, mpeg4": ("avi", "mpeg4", {"g": "12", "bf": "2"}),
    "avi, h264": ("avi", "libx264", MANY_KEYS),
    "wmv": ("asf", "wmv2", {"g": "12"}),
    "flv": ("flv", "flv", {"g": "12"}),
    "mpeg transport stream": ("mpegts", "libx264", MANY_KEYS),
    "ivf": ("ivf", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "g": "30"}),
    "ogg": ("ogg", "libvpx", {"deadline": "realtime", "cpu-used": "8", "g": "30"}),
    "mpeg program stream": ("mpeg", "mpeg2video", {"g": "12", "bf": "2"}),
}


# How a browser records and a camera streams: no index, no duration, pieces.
MUXED = {
    "mp4, fragmented": {"movflags": "frag_keyframe+empty_moov+default_base_moof"},
    "mkv, recorded": {"live": "1"},
    "webm, recorded": {"live": "1"},
}
KINDS |= {
    "mp4, fragmented": KINDS["mp4, many key frames"],
    "mkv, recorded": KINDS["mkv"],
    "webm, recorded": KINDS["webm"],
}


def of_kind(name: str, count: int = 100) -> bytes:
    kind, codec, options = KINDS[name]
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    return film(
        range(count),
        kind,
        codec,
        options=options,
        pix_fmt=pix_fmt,
        clock=Fraction(1, 25),
        container_options=MUXED.get(name),
    )


@pytest.mark.parametrize("name", KINDS)
def test_each_time_shows_the_frame_that_a_player_shows(name: str, tmp_path: Path) -> None:
    path = tmp_path / "film.bin"
    path.write_bytes(of_kind(name))
    for source in (path, path.read_bytes()):
        video = inputs.video(source)
        assert video.size == (WIDTH, HEIGHT)
        assert len(video.moments) == 100 and video.moments[0] == pytest.approx(0, abs=0.09)
        assert video.duration - video.moments[0] == pytest.approx(4, abs=0.05)
        assert video.rate == pytest.approx(25, rel=0.01)
        # All frames; few frames far apart, which jumps reach; and the same frame again and again.
        assert numbers(video, video.moments) == list(range(100))
        for wanted in ([0, 40, 41, 97], [99], [7, 7, 7], [33, 34, 35, 64]):
            times = video.moments[wanted] + 0.015
            assert numbers(video, times) == wanted
            assert [frame.time for frame in video.at(times)] == list(video.shown(times))
            assert video.shown(times) == pytest.approx(video.moments[wanted])


def test_times_before_and_behind_all_frames_mean_the_first_and_the_last() -> None:
    video = inputs.video(film(steady(50)))
    assert numbers(video, [-3, 0, 1.99, 500]) == [0, 0, 49, 49]
    with pytest.raises(ValueError, match="ascend"):
        list(video.at([1, 0]))
    assert list(video.at([])) == []


def test_uniform_times_are_the_middles_of_equal_parts() -> None:
    video = inputs.video(film(steady(100)))
    assert video.uniform(4) == pytest.approx([0.5, 1.5, 2.5, 3.5])
    assert numbers(video, video.uniform(4)) == [12, 37, 62, 87]
    assert video.every(1.0) == pytest.approx([0, 1, 2, 3])
    clip = video.clip(video.uniform(4), side=32)
    assert clip.pixels.shape == (4, 32, 48, 3) and clip.pixels.dtype == np.uint8
    assert clip.times == pytest.approx([0.48, 1.48, 2.48, 3.48]) and clip.size == (WIDTH, HEIGHT)


@pytest.mark.parametrize("kind", ["mp4", "matroska"])
def test_a_variable_rate_is_told_by_the_times(kind: str) -> None:
    stamps = [0, 40, 80, 1000, 1010, 5000, 5040, 9000]
    video = inputs.video(film(stamps, kind))
    assert video.moments == pytest.approx(np.array(stamps) / 1000, abs=0.001)
    assert numbers(video, [0.5, 0.9, 1.005, 4.9, 5.039, 8.9, 9.5]) == [2, 2, 3, 4, 5, 6, 7]
    assert video.duration >= 9.0


@pytest.mark.parametrize("kind", ["mp4", "matroska", "mpegts"])
def test_a_file_that_begins_elsewhere_begins_at_zero(kind: str) -> None:
    stamps = [90_000 + stamp for stamp in steady(50)]
    keep = {"mp4": {"use_editlist": "0", "movflags": "frag_keyframe+empty_moov"}}.get(kind, {})
    video = inputs.video(film(stamps, kind, container_options={"avoid_negative_ts": "disabled", **keep}))
    assert video.moments[0] == pytest.approx(0, abs=0.09) and video.duration == pytest.approx(2, abs=0.1)
    assert numbers(video, video.moments[[0, 20, 49]]) == [0, 20, 49]


def test_frames_before_the_beginning_are_the_beginning() -> None:
    """An edit list may cut the first frames away: they are decoded and never shown."""
    stamps = [stamp - 400 for stamp in steady(50)]
    video = inputs.video(film(stamps, "mp4", options=FEW_KEYS))
    assert video.moments[0] == pytest.approx(0, abs=0.05)
    shown = numbers(video, video.moments)
    assert shown == list(range(50 - len(shown), 50))


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_a_phone_held_upright_is_upright(rotation: int) -> None:
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:, : WIDTH // 4] = 255  # the left quarter is white
    video = inputs.video(film([0, 40], rotation=rotation, pictures=[picture] * 2))
    turned = np.rot90(picture, rotation // 90)
    assert video.size == turned.shape[1::-1]
    (frame,) = video.at([0])
    assert np.abs(frame.pixels.astype(int) - turned).mean() < 6
    (small,) = video.at([0], side=32)
    assert small.pixels.shape == ((32, 48, 3) if rotation == 180 else (48, 32, 3))


def test_wide_pixels_are_shown_square() -> None:
    video = inputs.video(film(steady(5), aspect=Fraction(2, 1)))
    assert video.size == (2 * WIDTH, HEIGHT)
    (frame,) = video.at([0.16])
    assert frame.pixels.shape == (HEIGHT, 2 * WIDTH, 3) and number_of(frame.pixels) == 4


def test_one_frame_is_a_video() -> None:
    video = inputs.video(film([0]))
    assert len(video.moments) == 1 and video.rate is None and video.duration >= 0
    assert numbers(video, video.uniform(3)) == [0, 0, 0] and len(video.every(1.0)) == 1


def test_sound_beside_the_frames_changes_nothing() -> None:
    video = inputs.video(film(steady(50), sound=True))
    assert numbers(video, [0, 1.0, 1.99]) == [0, 25, 49]


@pytest.mark.parametrize("colour", [(40, 160, 220), (255, 255, 255), (0, 0, 0)])
@pytest.mark.parametrize("height", [120, 720])
def test_colours_are_those_of_the_file(height: int, colour: tuple[int, int, int]) -> None:
    """Without a word in the file small frames are of television, large ones of HD, as browsers take them."""
    width = 160
    picture = np.tile(np.array(colour, np.uint8), (height, width, 1))
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
        format="yuv420p", dst_colorspace="ITU709" if height > 576 else "ITU601"
    )
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"qp": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        frame.pts, frame.colorspace, frame.color_range = 0, 2, 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (shown,) = inputs.video(file.getvalue()).at([0])
    assert np.abs(shown.pixels.astype(int) - picture).max() <= 2


# --- animations --------------------------------------------------------------------------------------------


def animation(kind: str, durations: Sequence[int], **options: Any) -> bytes:
    """An animated image whose frames stay for so many milliseconds."""
    frames = [Image.fromarray(numbered(i)) for i in range(len(durations))]
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=list(durations), **options)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})])
def test_animated_images_are_videos(kind: str, options: dict[str, Any]) -> None:
    durations = [100, 200, 50, 400, 250] * 4
    video = inputs.video(animation(kind, durations, **options))
    assert video.moments == pytest.approx(np.cumsum([0, *durations[:-1]]) / 1000, abs=0.002)
    assert video.duration == pytest.approx(sum(durations) / 1000, abs=0.05)
    assert numbers(video, video.moments + 0.01) == list(range(20))
    assert numbers(video, [0.05, 0.36, 2.2, 3.99], side=32) == [0, 3, 11, 19]


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_a_still_image_of_a_moving_kind_is_a_video_of_one_frame(kind: str) -> None:
    video = inputs.video(animation(kind, [100]))
    assert len(video.moments) == 1 and video.duration >= 0 and video.size == (WIDTH, HEIGHT)
    assert [frame.pixels.shape for frame in video.at(video.uniform(3))] == 3 * [(HEIGHT, WIDTH, 3)]


def test_a_gif_of_no_time_moves_as_browsers_move_it() -> None:
    video = inputs.video(animation("GIF", [0, 0, 0]))
    assert video.moments == pytest.approx([0, 0.1, 0.2])


def test_what_shows_through_is_white() -> None:
    clear = [
        Image.new("RGBA", (WIDTH, HEIGHT), (255, 0, 0, 0)),
        Image.new("RGBA", (WIDTH, HEIGHT), (0, 0, 255, 255)),
    ]
    for kind in ("WEBP", "PNG"):
        file = io.BytesIO()
        clear[0].save(file, kind, save_all=True, append_images=clear[1:], duration=100, lossless=True)
        first, second = inputs.video(file.getvalue()).at([0, 0.15])
        assert first.pixels.min() >= 254
        assert np.abs(second.pixels.astype(int) - (0, 0, 255)).max() <= 2


# --- bad files ---------------------------------------------------------------------------------------------


def sound(kind: str, codec: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        track: Any = container.add_stream(codec, rate=44100)
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        tone.sample_rate, tone.pts = 44100, 0
        container.mux(track.encode(tone))
        container.mux(track.encode(None))
    return file.getvalue()


def wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(bytes(1600))
    return file.getvalue()


def test_sound_under_the_name_of_a_video_is_told(tmp_path: Path) -> None:
    for data in (sound("mp4", "aac"), sound("mp3", "libmp3lame"), sound("matroska", "aac"), wav()):
        path = tmp_path / "song.mp4"
        path.write_bytes(data)
        refused("video_sound_only", path)


def test_what_is_no_video_is_told(tmp_path: Path) -> None:
    refused("no_video", None)
    refused("no_video", "")
    refused("no_video", b"")
    refused("video_is_address", "https://example.org/a.mp4")
    refused("video_missing", tmp_path / "none.mp4")
    refused("video_missing", tmp_path)
    refused("video_missing", "/dev/zero")
    refused("not_a_video", 3)
    for kind in ("PNG", "JPEG"):
        refused("not_a_video", encoded_still(kind))
    for data in (
        b"hello",
        b"\0" * 5000,
        b"#EXTM3U\n#EXTINF:10,\nfile:///etc/hostname\n",
        b"ffconcat version 1.0\nfile /etc/hostname",
    ):
        refused("not_a_video", data)
    refused("video_broken", b"\0\0\0\x18ftypisom" + b"\0" * 3000)
    refused("video_broken", b"\x1a\x45\xdf\xa3" + os.urandom(3000))


def encoded_still(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, kind)
    return file.getvalue()


def test_a_file_that_breaks_off_is_as_long_as_what_is_left(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    pictures = [
        numbered(i) // 2 + noise.integers(0, 30, (HEIGHT, WIDTH, 1), np.uint8) * 2 for i in range(100)
    ]
    for kind, options in (("mp4", {"movflags": "faststart"}), ("matroska", {}), ("mpegts", {}), ("avi", {})):
        # In a file on the disk: `faststart` moves the table of contents when the file is closed.
        path = tmp_path / f"film.{kind}"
        with av.open(str(path), "w", format=kind, options=options) as container:
            stream: Any = container.add_stream("libx264", rate=25, options=MANY_KEYS)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        data = path.read_bytes()
        video = inputs.video(data[: len(data) * 6 // 10])
        assert 1.5 < video.duration < 3.2
        frames = list(video.at(video.uniform(8)))
        assert len(frames) == 8 and all(frame.pixels.shape == (HEIGHT, WIDTH, 3) for frame in frames)
        assert len({frame.time for frame in frames}) >= 6
    # An MP4 whose table of contents stood at the end has lost it.
    refused("video_broken", film(steady(100))[:2500])


def test_noise_inside_a_file_ends_in_frames_or_in_a_sentence() -> None:
    generator = np.random.default_rng(1)
    for name in ("mp4, many key frames", "mkv", "avi, mpeg4", "mpeg transport stream", "webm"):
        whole = bytearray(of_kind(name, 60))
        for _ in range(6):
            data = bytearray(whole)
            for place in generator.integers(0, len(data), 40):
                data[place] = generator.integers(0, 256)
            try:
                video = inputs.video(bytes(data))
                frames = list(video.at(video.uniform(6), side=32))
            except Refusal as refusal:
                assert refusal.text("zh")
            else:
                assert len(frames) == 6


def test_limits_are_kept() -> None:
    refused("image_file_too_large", film(steady(10)), max_bytes=100)
    long = film([0, 60_000, 700_000], options={"g": "1"})
    refused("video_too_long", long)
    assert inputs.video(long, max_seconds=None).duration >= 700
    strip = film([0], "avi", "ffv1", pictures=[np.zeros((2, 400, 3), np.uint8)], pix_fmt="yuv444p")
    refused("video_too_thin", strip)


def test_too_many_pixels_are_told_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = film(steady(10))
    monkeypatch.setattr(streams, "MAX_PIXELS", 1000)
    refused("video_too_large", data)
    monkeypatch.undo()
    monkeypatch.setattr(streams, "MAX_WORK", WIDTH * HEIGHT * 9)
    refused("video_too_large", data)


def test_frames_may_change_their_size_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    large = [numbered(i, 4 * WIDTH, 4 * HEIGHT) for i in range(50, 100)]
    data = film(steady(50), "mpegts") + film([2000 + s for s in steady(50)], "mpegts", pictures=large)
    video = inputs.video(data)
    assert video.size == (WIDTH, HEIGHT) and video.duration == pytest.approx(4, abs=0.1)
    shown = numbers(video, [1.0, 1.9, 2.5, 3.9])
    assert shown[:2] == [25, 47] or shown[:2] == [25, 48]
    assert all(number >= 50 for number in shown[2:])
    # Frames above the limit are not decoded: what was there before them stays.
    monkeypatch.setattr(streams, "MAX_PIXELS", 4 * WIDTH * HEIGHT)
    assert max(numbers(video, [1.0, 2.5, 3.9])) < 50


def test_a_check_stops_a_long_way() -> None:
    video = inputs.video(film(steady(200), options=FEW_KEYS))
    seen = []

    def check() -> None:
        seen.append(1)
        if len(seen) > 20:
            raise Refusal("cancelled")

    with pytest.raises(Refusal) as caught:
        list(video.at([7.9], check=check))
    assert caught.value.code == "cancelled" and len(seen) == 21


# --- bounds ------------------------------------------------------------------------------------------------


def test_four_hours_are_sampled_at_once(tmp_path: Path) -> None:
    """A frame each ten seconds and a key frame each ten minutes, for four hours: jumps, not decoding."""
    path = tmp_path / "long.mp4"
    path.write_bytes(film([10_000 * i for i in range(1440)], options={"g": "60", "sc_threshold": "0"}))
    refused("video_too_long", path)
    video = inputs.video(path, max_seconds=None)
    assert video.duration == pytest.approx(4 * 3600, rel=0.01)
    decoded: list[int] = []
    assert numbers(video, video.uniform(4), check=lambda: decoded.append(1)) == [180, 540, 900, 1260]
    assert len(decoded) < 50
    assert numbers(video, video.every(3600.0)) == [0, 360, 720, 1080]


def test_threads_read_one_video_together() -> None:
    video = inputs.video(of_kind("mp4, many key frames"))
    results: dict[int, list[int]] = {}

    def read(first: int) -> None:
        results[first] = numbers(video, video.moments[first::10])

    threads = [threading.Thread(target=read, args=(first,)) for first in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {first: list(range(first, 100, 10)) for first in range(6)}


def test_a_video_crosses_processes(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(film(steady(50)))
    twin = pickle.loads(pickle.dumps(inputs.video(path)))
    assert numbers(twin, [1.0]) == [25]
    same = inputs.video(path.read_bytes())
    assert same.digest == twin.digest != inputs.video(film(steady(51))).digest
    path.unlink()
    with pytest.raises(Refusal) as caught:
        list(twin.at([0]))
    assert caught.value.code == "video_missing"


def test_frames_are_not_kept(tmp_path: Path) -> None:
    """Memory does not grow with the number of frames that are read."""
    path = tmp_path / "film.mp4"
    picture = np.zeros((720, 1280, 3), np.uint8)
    path.write_bytes(film(steady(200), pictures=[picture] * 200, options={"preset": "ultrafast"}))
    code = (
        "import resource, sys; from core import inputs\n"
        "video = inputs.video(sys.argv[1])\n"
        "next(video.at([0])); peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert sum(1 for frame in video.at(video.moments)) == 200\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 150_000  # kB; all frames together have 540 MB


def test_reading_inputs_loads_no_video_library() -> None:
    code = "import sys; import core.inputs; print('av' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_only_wanted_frames_are_decoded_where_none_needs_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames that no other needs are left out on the way; the wanted ones are exact all the same."""
    video = inputs.video(of_kind("mp4, one key frame"))
    decoded: list[Any] = []
    decode = streams._decoded
    monkeypatch.setattr(streams, "_decoded", lambda packet: (made := decode(packet), decoded.extend(made))[0])
    assert numbers(video, video.moments[[50, 99]]) == [50, 99]
    assert 20 < len(decoded) < 70
