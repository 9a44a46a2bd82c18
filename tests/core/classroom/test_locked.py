"""Chinese-CLIP's two stages in small: what is locked stays, what moves moves, a stop ends it."""

from __future__ import annotations

import pytest
import torch

from core import checkpoints
from core.classroom.recipes.chinese_clip.live import TwoStages
from core.runtime import Cancel

MINIATURE = next(row.name for row in checkpoints.rows("clip") if row.bundled)


@pytest.fixture(scope="module")
def ended() -> tuple[TwoStages, list]:
    training = TwoStages(MINIATURE, locked_steps=30, free_steps=10, pictures=128, exam=96)
    return training, list(training.run())


def test_locked_steps_teach_chinese_and_leave_english_to_the_digit(ended: tuple[TwoStages, list]) -> None:
    _, moments = ended
    exams = moments[-1].exams
    locked = [one for one in exams if one.step <= 30]
    assert {one.english for one in locked} == {exams[0].english}
    assert all(one.kept == pytest.approx(1, abs=1e-5) for one in locked)
    # 16 names: guessing gives 6 %. The text tower had never read anything.
    assert exams[0].chinese < 0.25 and locked[-1].chinese > 0.5


def test_then_the_image_tower_moves(ended: tuple[TwoStages, list]) -> None:
    training, moments = ended
    assert moments[-1].exams[-1].kept < 0.9999
    assert not torch.equal(training.image.weight, torch.eye(len(training.image.weight)))


def test_moments_say_where_it_stands(ended: tuple[TwoStages, list]) -> None:
    _, moments = ended
    shares = [moment.share for moment in moments]
    assert shares == sorted(shares) and shares[-1] == 1
    assert [moment.done for moment in moments] == [False] * (len(moments) - 1) + [True]
    assert all(moment.locked == (moment.step < 30) for moment in moments)


def test_a_stop_ends_it_while_pictures_are_encoded_and_between_steps() -> None:
    for moments_seen in (1, 4):
        cancel = Cancel()
        training = TwoStages(MINIATURE, locked_steps=10, free_steps=200, pictures=48, exam=32)
        moments = []
        for moment in training.run(cancel):
            moments.append(moment)
            if len(moments) == moments_seen:
                cancel.set()
        assert moments[-1].done and moments[-1].stopped and moments[-1].step < 210
