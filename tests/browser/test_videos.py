"""Clips in a real browser: real files open, play and rank; the camera records one; numbers on frames can be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from demos.actionclip import answer as actionclip
from demos.actionclip.page import Question
from demos.kit import library
from tests.browser.driving import ANSWERED, newer, refuse_device

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
REAL = library.videos()
# Presses the frame in the middle of a clip; the player's time once it has moved on from there.
PLAYED = """async (card) => {
  const frames = [...card.querySelectorAll("[data-at]")], video = card.querySelector("video");
  const frame = frames[Math.floor(frames.length / 2)], from = Number(frame.dataset.at);
  frame.click();
  for (let i = 0; i < 3600 && !(video.currentTime > from + 0.05); i++) await new Promise((done) => setTimeout(done, 50));
  const played = { from, time: video.currentTime, wide: video.videoWidth, error: video.error?.message ?? null };
  video.pause();
  return played;
}"""
# A camera whose image changes all the time.
CAMERA = """navigator.mediaDevices.getUserMedia = async () => {
  const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
  [canvas.width, canvas.height] = [320, 240];
  let at = 0;
  setInterval(() => { context.fillStyle = `hsl(${at += 7} 80% 50%)`; context.fillRect(0, 0, 320, 240); }, 40);
  return canvas.captureStream(25);
}"""


def played(page: Any, name: str) -> dict[str, Any]:
    """What happens when a frame of a clip is pressed."""
    return dict(page.locator(f'[data-clip="{name}"]').evaluate(PLAYED))


def test_the_real_clips_open_play_and_rank_on_clip4clip(visit: Visits) -> None:
    page = visit().open("/clip4clip?clips=real&example=car_above", ANSWERED)
    names = [card.get_attribute("data-clip") for card in page.locator("#try-shelf [data-clip]").all()]
    assert sorted(names) == sorted(REAL)
    scores = [float(text) for text in page.locator("#try-shelf .score").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    for name in REAL:
        found = played(page, name)
        assert found["error"] is None and found["wide"] > 0 and found["time"] > found["from"], (name, found)


def test_the_real_clips_open_play_and_are_named_on_actionclip(visit: Visits) -> None:
    page = visit().open("/actionclip", ANSWERED)
    for name in REAL:
        with newer(page):
            page.locator(f'#examples [data-example="{name}"]').click()
        labels = actionclip.fill(name, Question(checkpoint="classroom-actionclip"), "en")["labels"]
        asked = sorted(label.strip() for label in labels.split(","))
        assert sorted(page.locator("#try-bars tbody th").all_inner_texts()) == asked
        found = played(page, "clip")
        assert found["error"] is None and found["time"] > found["from"], (name, found)


def test_the_camera_records_a_clip_that_is_answered(visit: Visits) -> None:
    page = visit(script=CAMERA).open("/actionclip", ANSWERED)
    with newer(page):
        page.locator("#video-camera button").click()
        page.wait_for_function(
            "document.querySelector('#video').innerText.replaceAll('\\n', '').includes('camera.webm')"
        )
    assert page.locator('[data-clip="clip"] [data-at]').count() == 8
    assert page.locator("#video-camera [role=status]").inner_text() == ""


def test_without_a_camera_there_is_one_sentence(visit: Visits) -> None:
    refuse_device(visit, "/actionclip", "#video-camera", "无法使用摄像头")
