"""The CLIFS page in a real browser: large members of an archive play, from the time of their hit."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.classroom.world.sound_set import wav
from core.mp4 import mp4
from demos.draw import players
from tests.browser.driving import ANSWERED, newer, upload

pytestmark = pytest.mark.browser

# Presses the time of a hit; where its player stands once it has moved on from there.
PLAYED = """async (card) => {
  const player = card.querySelector("video, audio"), from = Number(card.querySelector("[data-at]").dataset.at);
  card.querySelector("[data-at]").click();
  for (let i = 0; i < 3600 && !player.error && !(player.currentTime > from + 0.05); i++)
    await new Promise((done) => setTimeout(done, 50));
  player.pause();
  return { from, time: player.currentTime, carried: player.src.startsWith("data:"), error: player.error?.message ?? null };
}"""


def test_large_members_of_an_archive_play(visit: Callable[..., Any], tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (16, 240, 320, 3), np.uint8)
    members = {
        "film.mp4": mp4(iter(noise), [125] * len(noise)),
        "tone.wav": wav(torch.sin(torch.arange(44_100 * 6) / 20) / 2),
    }
    assert min(map(len, members.values())) > players.CARRIED
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    page = visit().open("/clifs", ANSWERED)
    with newer(page, press=True):
        upload(page, "#own", tmp_path / "own.zip")
    cards = page.locator("#try-hits [data-clip]")
    names = {card.locator(".vid-caption").get_attribute("title") for card in cards.all()}
    assert names == set(members)
    for card in cards.all():
        played = card.evaluate(PLAYED)
        assert played["error"] is None and played["time"] > played["from"] and not played["carried"], played
