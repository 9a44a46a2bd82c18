"""Synthesised sounds: the same from a seed, different from each other, in range; the data set; the recipe's small parts."""

from __future__ import annotations

import json
import random
import wave
from pathlib import Path

import pytest
import torch

from core.classroom.__main__ import main
from core.classroom.recipes.audioclip import train
from core.classroom.world import sounds
from core.classroom.world.concepts import by_code
from core.classroom.world.synthesis import RATE, Draw, buzz, hold, since


def test_about_forty_things_sound() -> None:
    assert 40 <= len(sounds.SOUNDING) <= 48
    assert [concept.code for concept in sounds.sounding()] == list(sounds.SOUNDING)
    assert set(sounds.SOUNDING) <= set(by_code())


@pytest.mark.parametrize("code", sounds.SOUNDING)
def test_a_voice_is_the_same_from_a_seed_and_varies(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sounds, "PART", 4)  # a quarter of the sounds that are made at a time
    made = sounds.made(code, 3, 5)
    assert made.shape == (3, sounds.LENGTH) and made.isfinite().all() and float(made.abs().max()) <= 1
    assert torch.equal(sounds.made(code, 2, 5), made[:2])
    assert not torch.equal(sounds.made(code, 1, 6)[0], made[0])
    assert float((made[0] - made[1]).abs().max()) > 1e-3
    assert (made.abs().amax(1) > 0.02).all()


def test_the_pitch_of_a_buzz_is_what_was_asked() -> None:
    x = buzz(torch.full((1, RATE), 200.0), 8)
    found = torch.fft.rfft(x[0]).abs()
    assert sorted(found.topk(3).indices.tolist()) == [200, 400, 600]


def test_since_counts_from_the_last_event() -> None:
    t = torch.arange(10) / 10
    s = since(torch.tensor([[0.2, 0.5]]), t)[0]
    assert (
        s[:2].min() > 100
        and float(s[4]) == pytest.approx(0.2)
        and float(s[9]) == pytest.approx(0.4, abs=1e-6)
    )
    assert float(hold(torch.tensor([-1.0, 0.5, 2.0]), 1.0).sum()) == 1


def test_one_seed_draws_one_rhythm() -> None:
    one, other = Draw(4, 3).starts((0.2, 0.6)), Draw(4, 3).starts((0.2, 0.6))
    assert torch.equal(one, other) and (one.diff(dim=1) > 0).all()


def test_the_command_writes_sounds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", "--kind", "sound", "--out", str(tmp_path / "set"), "--scenes", "5"]) == 0
    assert "5 of 5 sounds" in capsys.readouterr().err
    table = json.loads((tmp_path / "set" / "annotations" / "sounds_train.json").read_text())["sounds"]
    assert len(table) == 4 and {row["code"] for row in table} == set(sounds.SOUNDING[:4])
    with wave.open(str(tmp_path / "set" / "sounds" / "train" / table[0]["file_name"])) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (RATE, 1, sounds.LENGTH)
    assert len([*(tmp_path / "set").rglob("*.wav")]) == 5


def test_masks_hide_a_few_bins_and_frames() -> None:
    decibels = torch.randn(2, 1, 3, 85, 99)
    masked = train.masked(decibels, random.Random(1))
    changed = (masked != decibels).float().mean()
    assert 0 < float(changed) < 0.6 and masked.shape == decibels.shape


def test_a_step_learns_and_the_filters_stay_positive(tmp_path: Path) -> None:
    codes = sounds.SOUNDING[:3]
    known = train.Frozen(
        torch.randn(3, 2, 192), {lang: torch.randn(3, 2, 192) for lang in ("en", "zh")}, 10.0
    )
    known = train.Frozen(
        torch.nn.functional.normalize(known.images, dim=-1),
        {lang: torch.nn.functional.normalize(one, dim=-1) for lang, one in known.texts.items()},
        10.0,
    )
    waves = train.training_sounds(codes, 2, 9)
    settings = train.Settings(codes=codes, sounds=2, steps=2, out=tmp_path, groups=1)
    trainer = train.Trainer(settings, known, waves)
    before = trainer.learner.audio.fbsp.fc.detach().clone()
    assert all(value == value for _ in range(2) for value in trainer.advance().values())
    assert not torch.equal(before, trainer.learner.audio.fbsp.fc)
    assert float(trainer.learner.audio.fbsp.fb.detach().min()) > 0
    folder = trainer.export()
    note = json.loads((folder / "training.json").read_text())
    assert note["options"]["encoder"]["outputs"] == 192 and note["things"] == list(codes)
