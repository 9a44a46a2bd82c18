"""The lessons that draw masks: fixed scenes of new compositions, frames that say where they stand, Stop, nothing on disk."""

from __future__ import annotations

import tempfile
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

from core.classroom.recipes.common import live_masks
from core.classroom.recipes.common.lessons import MaskSettings
from core.classroom.recipes.common.live_masks import EVERY, EXAM, Lesson, lesson
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.concepts import seen
from core.classroom.world.specs import new_pair
from core.errors import Refusal
from core.runtime import Cancel

TINY = ((1.01, 32, 4),)


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return open_atlas(("twemoji", "symbola"))


@pytest.fixture(scope="module", params=["lseg", "groupvit"])
def made(request: pytest.FixtureRequest, atlas: Atlas) -> Lesson:
    return lesson(MaskSettings(request.param, minutes=1, language="zh"), atlas, phases=TINY)


def test_frames_tell_where_it_stands_and_stop_ends_it_before_the_next_step(
    made: Lesson, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Whatever a lesson wrote would be below one of these.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ticks, cancel = count(), Cancel()
    # A clock that goes on by half the time between two frames whenever it is read.
    frames = made.run(cancel, clock=lambda: EVERY / 2 * next(ticks))
    first, second = next(frames), next(frames)
    assert (first.step, first.seconds, first.done) == (0, 0.0, False) and not first.points("loss")
    assert second.step == 1 and second.pictures == 4 and 0 < second.left < 60
    assert second.points("loss")[0][1] > 0 and [row["step"] for row in second.curve] == [0, 1]
    for frame in (first, second):
        assert frame.mask.shape == (live_masks.SIZE,) * 2 and frame.mask.max() < len(frame.names)
        assert 0 <= frame.iou <= 1 and 0 <= frame.mean_iou <= 1
    cancel.set()
    (last,) = frames
    assert last.done and last.stopped and last.step == 1
    assert not list(tmp_path.rglob("*"))


def test_the_scenes_are_compositions_that_no_training_shows(made: Lesson) -> None:
    assert len(made.truth) == EXAM
    for truth, offered in zip(made.truth, made.offered, strict=True):
        own = sorted(set(truth.unique().tolist()) - {-1})
        assert offered[:2] == own and len(offered) == 2 + live_masks.DISTRACTORS
        assert new_pair(*torch.tensor(own)) and set(own) <= set(seen())
    # The image and its truth are large ones of the first scene.
    assert made.picture.size == made.true_mask.shape == (live_masks.DRAWN,) * 2
    assert set(np.unique(made.true_mask)) == {0, 1, 2} and made.labels[0] == "背景"


def test_a_scene_drawn_as_it_is_has_full_marks(made: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    right = [live_masks.Look(np.zeros((1, 1), np.uint16), ("",), truth) for truth in made.truth]
    monkeypatch.setattr(made, "look", lambda: right)
    assert made.judge()[1:] == (1.0, 1.0)
    wrong = [live_masks.Look(look.mask, look.names, look.guess * 0 - 1) for look in right]
    monkeypatch.setattr(made, "look", lambda: wrong)
    assert made.judge()[1:] == (0.0, 0.0)


def test_time_is_a_limit(made: Lesson) -> None:
    ticks = count()
    frames = list(made.run(clock=lambda: 25.0 * next(ticks)))
    assert frames[-1].done and not frames[-1].stopped and frames[-1].left == 0


@pytest.mark.parametrize("minutes", [0.0, 6.0, float("nan")])
def test_minutes_out_of_range_are_refused(minutes: float) -> None:
    with pytest.raises(Refusal) as refused:
        lesson(MaskSettings("lseg", minutes))
    assert refused.value.code == "lesson_range"
