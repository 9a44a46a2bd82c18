"""The lesson that trains while one watches: its loss is the paper's, its world is honest, one runs at a time."""

from __future__ import annotations

import math
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from core.classroom.recipes.clip import live
from core.classroom.recipes.clip.live import Lesson, contrastive_loss
from core.classroom.recipes.common import lessons
from core.classroom.recipes.common.lessons import LiveSettings, default_concepts
from core.classroom.world.concepts import concepts
from core.errors import Refusal
from core.runtime import Cancel

SMALL = LiveSettings(default_concepts(4), minutes=0.2, batch=16, exam=8)


@pytest.fixture(scope="module")
def lesson() -> Lesson:
    return Lesson(SMALL)


def test_the_loss_is_the_papers_where_no_concept_repeats() -> None:
    torch.manual_seed(0)
    image, text, scale = torch.randn(5, 8), torch.randn(5, 8), torch.tensor(7.0)
    logits = scale * F.normalize(image, dim=1) @ F.normalize(text, dim=1).T
    labels = torch.arange(5)
    paper = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    assert contrastive_loss(image, text, scale, torch.eye(5)).item() == pytest.approx(paper.item(), abs=1e-6)


def test_guessing_costs_log_of_the_choices_and_perfect_is_free_also_with_repeats() -> None:
    label = torch.arange(4).repeat(3)
    same = (label[:, None] == label).float()
    alike = torch.ones(12, 8)
    assert contrastive_loss(alike, alike, torch.tensor(5.0), same).item() == pytest.approx(
        math.log(4), abs=1e-5
    )
    perfect = F.one_hot(label).float()
    assert contrastive_loss(perfect, perfect, torch.tensor(100.0), same).item() == pytest.approx(0, abs=1e-5)


def test_held_out_scenes_are_never_trained_on(lesson: Lesson) -> None:
    seen = {
        (c, b)
        for seed in range(40)
        for spec in [live.training_scenes(64, seed, lesson.atlas)]
        for c, b in zip(spec.concept[:, 0].tolist(), spec.background.tolist(), strict=True)
    }
    held = set(zip(lesson.held_out.concept[:, 0].tolist(), lesson.held_out.background.tolist(), strict=True))
    assert len(held) >= 8 and not seen & held
    assert {c for c, _ in seen} == {c for c, _ in held} == set(lesson.chosen)


def test_the_fixed_batch_shows_every_concept_once_in_order(lesson: Lesson) -> None:
    assert lesson.labels(lesson.held_out)[:4].tolist() == [0, 1, 2, 3]
    assert torch.bincount(lesson.labels(lesson.held_out)).tolist() == [8] * 4


def test_every_concept_has_scenes_to_be_tested_on() -> None:
    atlas = live.small_atlas(range(len(concepts())))
    spec = live.held_out_scenes(1, range(len(concepts())), atlas)
    assert spec.concept[:, 0].tolist() == list(range(len(concepts())))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_lesson_speaks_its_language(language: str) -> None:
    made = Lesson(LiveSettings(default_concepts(3), language=language, exam=1))
    assert made.names[0] == ("羊" if language == "zh" else "sheep")
    assert made.captions[0] == ("一张羊的照片" if language == "zh" else "a photo of a sheep")
    assert len({tuple(row) for row in made.ids[:, 0].tolist()}) == 3


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by 0.1 s whenever it is read: a lesson then has as many steps on every machine."""
    ticks = count()
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 10))


def test_the_loss_falls_and_stop_ends_it_before_the_next_step(lesson: Lesson, clock: None) -> None:
    cancel = Cancel()
    steps = lesson.run(cancel)
    shots = [next(steps)]
    assert shots[0].step == 0 and shots[0].logits.shape == shots[0].probabilities.shape == (4, 4)
    while len(shots) < 9:
        shots.append(next(steps))
    assert shots[1].step > 0 and sorted({shot.step for shot in shots}) == [shot.step for shot in shots]
    assert shots[-1].loss < 0.8 * shots[1].loss
    cancel.set()
    end = list(steps)
    assert [(shot.done, shot.stopped, shot.step) for shot in end] == [(True, True, shots[-1].step)]
    assert np.allclose(end[0].probabilities.sum(1), 1, atol=1e-5)

    toy = lesson.toy()
    picture, name = toy.scene(0)
    probabilities, cosines = toy.classify(picture)
    assert name == "sheep" and probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert probabilities.argmax() == cosines.argmax() and np.abs(cosines).max() <= 1 + 1e-6


def test_a_fixed_temperature_stays() -> None:
    made = Lesson(LiveSettings(default_concepts(3), batch=8, exam=1, learn_scale=False, scale=20))
    learned = Lesson(LiveSettings(default_concepts(3), batch=8, exam=1, scale=20))
    for _ in range(3):
        made.train_step(0.5)
        learned.train_step(0.5)
    assert made.t.exp().item() == pytest.approx(20)
    assert learned.t.exp().item() != pytest.approx(20, abs=1e-4)


def test_time_is_a_limit(clock: None) -> None:
    shots = list(Lesson(LiveSettings(default_concepts(2), minutes=0.05, batch=4, exam=1)).run())
    assert shots[-1].done and not shots[-1].stopped and shots[-1].left == 0
    assert 3 <= shots[-1].seconds < 4 and 5 < shots[-1].step < 20


@pytest.mark.parametrize(
    "wrong",
    [
        {"concepts": (0,)},
        {"concepts": tuple(range(25))},
        {"minutes": 60},
        {"minutes": math.nan},
        {"batch": 2},
        {"learning_rate": 1.0},
        {"scale": 0.0},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(Refusal) as refused:
        LiveSettings(**wrong).check()  # type: ignore[arg-type]
    assert refused.value.code == "lesson_range" and refused.value.text("zh")


def test_the_command_line_prints_where_it_stands(capsys: pytest.CaptureFixture[str], clock: None) -> None:
    live.main(["--minutes", "0.05", "--concepts", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["0", "s", "0"] and "of 80" in lines[-2] and "on the diagonal" in lines[-1]
    with pytest.raises(SystemExit):
        live.main(["--minutes", "99"])
    assert "minutes must be from" in capsys.readouterr().err


def test_one_lesson_at_a_time() -> None:
    with lessons.seat(2):
        with pytest.raises(Refusal) as refused, lessons.seat(1):
            pass
        assert refused.value.code == "lesson_running" and refused.value.params == {"minutes": 2}
    with lessons.seat(1):
        pass


def test_a_lesson_that_was_left_behind_gives_up_its_seat(monkeypatch: pytest.MonkeyPatch) -> None:
    left = lessons.seat(1)
    left.__enter__()
    later = lessons.time.monotonic() + 60 + lessons.GRACE + 1
    monkeypatch.setattr(lessons, "time", SimpleNamespace(monotonic=lambda: later))
    with lessons.seat(1):
        # The one left behind does not take the new one's seat with it.
        left.__exit__(None, None, None)
        with pytest.raises(Refusal), lessons.seat(1):
            pass


@pytest.mark.parametrize("name", ["SPACE_ID", "SPACES_ZERO_GPU"])
def test_no_lesson_on_a_space(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(Refusal) as refused, lessons.seat(1):
        pass
    assert refused.value.code == "lesson_off"
