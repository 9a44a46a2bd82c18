"""Sounds in a real browser: a video gives its sound track, the microphone records one, what has no sound is one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import Refusal
from demos.audioclip.words import sounds
from tests.browser.driving import ANSWERED, newer, open_tab, refusal, refuse_device, upload
from tests.sounds import film

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
# A microphone that hears a tone.
MICROPHONE = """navigator.mediaDevices.getUserMedia = async (asked) => {
  if (asked.video) throw new Error("a camera");
  const context = new AudioContext(), tone = context.createOscillator(), out = context.createMediaStreamDestination();
  tone.connect(out);
  tone.start();
  return out.stream;
}"""


@pytest.fixture
def films(tmp_path: Path) -> dict[str, Path]:
    """A video with the sound of a dog, and one without sound."""
    made = {"loud": film(sounds()["dog"]["sound"]), "mute": film(None)}
    for name, content in made.items():
        (tmp_path / f"{name}.mp4").write_bytes(content)
    return {name: tmp_path / f"{name}.mp4" for name in made}


def choose(page: Any, path: Path) -> None:
    """Chooses a file as the sound, in place of the example."""
    page.locator("#sound .icon-button-wrapper button").click()
    page.locator("#sound input[type=file]").set_input_files(path)


def test_a_video_is_a_sound_on_every_tab(visit: Visits, films: dict[str, Path]) -> None:
    page = visit().open("/audioclip", ANSWERED)
    with newer(page):
        choose(page, films["loud"])
    player = page.locator("#try-player audio")
    page.wait_for_function("document.querySelector('#try-player audio').readyState > 0")
    assert player.evaluate("(one) => one.duration") == pytest.approx(1, abs=0.1)
    open_tab(page, "Many files")
    with newer(page, "many", press=True):
        upload(page, "#many-files", list(films.values()))
    rows = page.locator("#many-table tbody tr")
    assert rows.count() == 2
    assert Refusal("sound_without_track").text("en") in rows.nth(1).inner_text()


def test_a_video_without_sound_is_one_sentence(visit: Visits, films: dict[str, Path]) -> None:
    page = visit(locale="zh-CN").open("/audioclip?lang=zh", ANSWERED)
    choose(page, films["mute"])
    assert Refusal("sound_without_track").text("zh") in refusal(page).inner_text()


def test_the_microphone_records_until_it_is_pressed_again(visit: Visits) -> None:
    page = visit(script=MICROPHONE).open("/audioclip", ANSWERED)
    with newer(page):
        page.locator("#sound-microphone button").click()
        page.locator("#sound-microphone [role=status]", has_text="28 s").wait_for()
        page.locator("#sound-microphone button").click()
        page.wait_for_function(
            "document.querySelector('#sound').innerText.replaceAll('\\n', '').includes('microphone.webm')"
        )
    assert page.locator("#sound-microphone [role=status]").inner_text() == ""
    page.wait_for_function("document.querySelector('#try-player audio').readyState > 0")


def test_without_a_microphone_there_is_one_sentence(visit: Visits) -> None:
    refuse_device(visit, "/clifs", "#sound_query-microphone", "无法使用麦克风")
