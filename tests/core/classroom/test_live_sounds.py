"""The lesson that learns sounds while one watches: it learns, its exam is new, only the chosen pair counts, it stops."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace

import pytest
import torch

from core.classroom.recipes.audioclip import live
from core.classroom.recipes.audioclip.live import Lesson, LiveSettings
from core.classroom.recipes.common import looks
from core.errors import Refusal
from core.runtime import Cancel


@pytest.fixture(scope="module")
def lesson() -> Iterator[Lesson]:
    """Three things, two sounds of each to learn from and one to be asked; sounds meet drawings alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "CODES", live.CODES[:3])
        patch.setattr(live, "SOUNDS", 2)
        patch.setattr(live, "EXAM", 1)
        yield Lesson(LiveSettings(pairs="audio-image"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by half a second whenever it is read: a lesson then has as many steps on every machine."""
    ticks = count()
    monkeypatch.setattr(looks, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 2))


def test_its_exam_is_new(lesson: Lesson) -> None:
    learned = lesson.trainer.decibels
    assert learned is not None and lesson.right.tolist() == [0, 1, 2]
    for spectrum in lesson.decibels[:, 0]:
        assert all((spectrum - one).abs().max() > 1 for one in learned.float().flatten(0, 1))


def test_the_tower_learns_from_the_chosen_pair_alone_and_its_filters_stay(lesson: Lesson) -> None:
    trainer, learner = lesson.trainer, lesson.trainer.learner
    assert trainer.settings.pairs == (("audio", "image"),)
    filters = learner.audio.fbsp
    fixed = [filters.m, filters.fb, filters.fc, learner.logit_scale_at]
    learned = [learner.audio.fc.weight, learner.logit_scale_ai]
    before = [one.detach().clone() for one in (*fixed, *learned)]
    for _ in range(2):
        trainer.advance()
    assert all(map(torch.equal, before, fixed))
    assert not any(map(torch.equal, before[len(fixed) :], learned))


def test_the_loss_falls_and_stop_ends_it_before_the_next_step(lesson: Lesson, clock: None) -> None:
    cancel = Cancel()
    steps = lesson.run(cancel)
    frames = [next(steps) for _ in range(5)]
    assert frames[0].loss is None
    assert [frame.step for frame in frames] == sorted({frame.step for frame in frames})
    assert frames[-1].loss < frames[1].loss
    assert all(0 <= share <= 1 for frame in frames for share in (frame.text, frame.image))
    cancel.set()
    end = list(steps)
    assert [(frame.done, frame.stopped, frame.step) for frame in end] == [(True, True, frames[-1].step)]


@pytest.mark.parametrize("minutes", [0.0, 6.0, math.nan])
def test_settings_out_of_range_are_refused(minutes: float) -> None:
    with pytest.raises(Refusal) as refused:
        Lesson(LiveSettings(minutes=minutes))
    assert refused.value.code == "lesson_range" and refused.value.text("zh")


def test_the_command_line_prints_where_it_stands(
    lesson: Lesson, clock: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[LiveSettings] = []
    monkeypatch.setattr(live, "Lesson", lambda settings: asked.append(settings) or lesson)
    assert live.main(["--minutes", "0.2", "--pairs", "audio-image"]) == 0
    assert asked == [LiveSettings(0.2, "audio-image")]
    first, *others = capsys.readouterr().out.splitlines()
    assert "loss -" in first and others
    assert all("loss -" not in line and "drawing" in line for line in others[:-1])
