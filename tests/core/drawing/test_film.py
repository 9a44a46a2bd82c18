"""Films of a drawing: pixels in one batch, GIF, MP4 as a browser plays it, and an SVG that draws itself."""

from __future__ import annotations

import base64
import io
import os
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from core import inputs, mp4
from core.drawing import film
from core.drawing.strokes import Strokes
from core.errors import Refusal

MOMENTS = 10
# "seeked" says that a frame is decoded, not that it is presented: a canvas may still be empty then. The callback, which is
# set before the seek, says when the frame that begins at a time is presented.
PLAY = """async address => {
    const video = document.createElement("video");
    video.muted = true;
    video.src = address;
    document.body.append(video);
    await new Promise((done, fail) => { video.oncanplaythrough = done; video.onerror = () => fail(video.error.message) });
    const presented = begin => new Promise((done, fail) => {
        const check = (now, frame) =>
            Math.abs(frame.mediaTime - begin) < 0.01 ? done() : video.requestVideoFrameCallback(check);
        video.requestVideoFrameCallback(check);
        let left = 1800;
        const count = () => left-- ? requestAnimationFrame(count) : fail(new Error(`no frame begins at ${begin} s`));
        count();
    });
    const shot = async (time, begin) => {
        const seeked = new Promise(done => { video.onseeked = done });
        const frame = presented(begin);
        video.currentTime = time;
        await Promise.all([seeked, frame]);
        const canvas = Object.assign(document.createElement("canvas"), {width: 224, height: 224});
        canvas.getContext("2d").drawImage(video, 0, 0);
        return canvas.toDataURL();
    };
    return [video.duration, video.videoWidth, await shot(0.01, 0), await shot(video.duration - 0.05, 1.8)];
}"""


@pytest.fixture(scope="module")
def moments() -> list[Strokes]:
    """Six strokes on the way from one place to another, turning from black to red."""
    generator = np.random.default_rng(0)
    begin, end = generator.uniform(20, 200, (2, 6, 4, 2)).astype(np.float32)
    made = []
    for share in np.linspace(0, 1, MOMENTS, dtype=np.float32):
        colors = np.tile(np.array([share, 0, 0, 1], np.float32), (6, 1))
        made.append(Strokes(begin + (end - begin) * share, np.full(6, 3 + share, np.float32), colors))
    return made


@pytest.fixture(scope="module")
def pictures(moments: list[Strokes]) -> np.ndarray:
    return film.pixels(moments, 224)


def test_moments_in_one_batch_are_what_each_is_alone(moments: list[Strokes], pictures: np.ndarray) -> None:
    assert pictures.shape == (MOMENTS, 224, 224, 3) and pictures.dtype == np.uint8
    for i in (0, MOMENTS - 1):
        alone = moments[i].image(224, quality=1)
        assert np.abs(alone.astype(int) - pictures[i]).max() <= 1


def test_a_gif_repeats_and_holds_its_end(pictures: np.ndarray) -> None:
    with Image.open(io.BytesIO(film.gif(pictures, 2.0, 1.5))) as image:
        assert image.info["loop"] == 0 and getattr(image, "n_frames", 0) == MOMENTS
        times = []
        for i in range(MOMENTS):
            image.seek(i)
            times.append(image.info["duration"])
        assert times == [200] * (MOMENTS - 1) + [1700]
        last = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(last - pictures[-1]).mean() < 2


def test_an_mp4_is_a_film_that_ends(pictures: np.ndarray) -> None:
    data = film.mp4(pictures, 2.0, 1.0)
    assert data[4:12] == b"ftypisom"
    video = inputs.video(data)
    assert video.duration == pytest.approx(3.0) and video.size == (224, 224)
    assert video.moments == pytest.approx(np.arange(MOMENTS) * 0.2)
    clip = video.clip([0.1, 1.9, 2.9])
    for shown, picture in zip(clip.pixels, pictures[[0, -1, -1]], strict=True):
        assert np.abs(shown.astype(int) - picture).mean() < 3
    assert film.mp4(pictures, 2.0, 1.0) == data


@pytest.mark.parametrize("first", range(len(mp4.ENCODERS)), ids=[name for name, _ in mp4.ENCODERS])
def test_a_browser_plays_the_mp4(
    chromium: Any, pictures: np.ndarray, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mp4, "ENCODERS", mp4.ENCODERS[first : first + 1])
    if mp4.encoder() is None:
        pytest.skip("the video library has no such encoder")
    page = chromium.new_page()
    try:
        coded = base64.b64encode(film.mp4(pictures, 2.0, 1.0)).decode()
        duration, width, begin, last = page.evaluate(PLAY, f"data:video/mp4;base64,{coded}")
    finally:
        page.close()
    assert duration == pytest.approx(3.0, abs=0.05) and width == 224
    for shot, picture in ((begin, pictures[0]), (last, pictures[-1])):
        with Image.open(io.BytesIO(base64.b64decode(shot.partition(",")[2]))) as image:
            seen = np.asarray(image).astype(int)
        assert seen.shape == (224, 224, 4) and seen[..., 3].min() == 255
        assert np.abs(seen[..., :3] - picture).mean() < 3
    assert np.abs(pictures[0].astype(int) - pictures[-1]).mean() > 10


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="the system tells no schedules")
@pytest.mark.parametrize("first", range(len(mp4.ENCODERS)), ids=[name for name, _ in mp4.ENCODERS])
def test_no_encoder_makes_the_thread_a_real_time_one(
    pictures: np.ndarray, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mp4, "ENCODERS", mp4.ENCODERS[first : first + 1])
    if mp4.encoder() is None:
        pytest.skip("the video library has no such encoder")
    before = os.sched_getscheduler(0)
    film.mp4(pictures, 1.0)
    assert os.sched_getscheduler(0) == before


def test_without_an_encoder_there_is_one_sentence(
    pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mp4, "ENCODERS", (("no such encoder", {}),))
    with pytest.raises(Refusal) as refusal:
        film.mp4(pictures, 2.0)
    assert refusal.value.code == "no_film"


def test_an_svg_moves_to_the_drawing_and_stays(moments: list[Strokes]) -> None:
    text = film.svg(moments, 2.0)
    paths = ElementTree.fromstring(text).findall(".//{*}path")
    assert len(paths) == 6
    for i, path in enumerate(paths):
        animated = {a.get("attributeName"): a for a in path}
        # Opacity never changes, so nothing is said of it.
        assert set(animated) == {"d", "stroke-width", "stroke"}
        values = str(animated["d"].get("values")).split(";")
        assert values == [moment.paths()[i] for moment in moments]
        assert all(a.get("fill") == "freeze" and a.get("dur") == "2s" for a in path)
    # Without its animations it is the drawing itself.
    assert np.array_equal(Strokes.from_svg(moments[-1].svg()).points, moments[-1].points)
    assert moments[-1].svg().count("<path") == text.count("<path") == 6
