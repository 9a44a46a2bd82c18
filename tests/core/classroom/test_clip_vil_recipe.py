"""The recipe of CLIP-ViL: the supervised encoder, questions with features, heads that learn, the table, the live lesson."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from core.classroom.recipes.clip_vil import encoders, evaluate, live, table
from core.classroom.recipes.clip_vil.questions import QuestionSet, ids_of, question_set
from core.classroom.recipes.clip_vil.train import Settings, Trainer
from core.classroom.recipes.common.ablations import averaged, once
from core.classroom.world.atlas import open_atlas
from core.classroom.world.specs import SceneSettings
from core.errors import Refusal
from core.vqa.clip_vil.models import ENCODERS, CLIPViL

TINY = ((1.01, 32, 4, SceneSettings(kinds=(1, 0, 0, 0), poses=0.0)),)


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder after two small steps."""
    out = tmp_path_factory.mktemp("supervised")
    settings = encoders.Settings(out=out, steps=2, phases=TINY)
    return encoders.Trainer(settings).run(lambda _: None)


@pytest.fixture(scope="module")
def towers(supervised: Path) -> dict[str, Any]:
    """The three encoders."""
    return {
        "random": encoders.random_encoder(open_atlas(), 64),
        "supervised": encoders.supervised_encoder(supervised),
        "clip": encoders.clip_encoder(),
    }


@pytest.fixture(scope="module")
def questions(towers: dict[str, Any]) -> QuestionSet:
    """A few questions with features and maps."""
    return question_set(towers, 8, 1 << 42, open_atlas(), keep_maps=True, side=64)


def test_features_are_those_of_the_last_stage(towers: dict[str, Any], questions: QuestionSet) -> None:
    assert len(questions) == 40 and set(questions.features) == set(ENCODERS)
    for name in ENCODERS:
        assert questions.features[name].shape == (8, 4, 640) and questions.maps[name].shape == (8, 320, 4, 4)
        again = towers[name].layer4(questions.maps[name].float()).flatten(2).transpose(1, 2)
        largest = float(again.abs().max())
        assert torch.allclose(again, questions.features[name].float(), atol=0.05 * largest)


def test_heads_learn_alike_and_are_exported(
    tmp_path: Path, towers: dict[str, Any], supervised: Path, questions: QuestionSet
) -> None:
    settings = Settings(supervised=supervised, out=tmp_path, scenes=8, steps=3, batch=8, side=64)
    trainer = Trainer(settings, open_atlas(), towers, questions)
    starts = [head.proj.weight.clone() for head in trainer.learner.heads.values()]  # type: ignore[union-attr,operator]
    assert torch.equal(starts[0], starts[2])
    before = trainer.learner.heads["clip"].embedding.weight.clone()  # type: ignore[union-attr,operator]
    folder = trainer.run(lambda _: None)
    assert torch.equal(before, trainer.learner.heads["clip"].embedding.weight)  # type: ignore[union-attr]
    model = evaluate.Candidate.open(str(folder), 6)
    for name in ENCODERS:
        head = trainer.learner.eval().heads[name]
        given, ids = questions.features[name][:2].float(), torch.tensor([[3, 4, 5], [6, 7, 8]])
        with torch.inference_mode():
            wanted = head(given, ids, (2, 2))
            found = model.logits(name)(given, ids)
        # The row keeps a byte for each number of a matrix.
        assert torch.allclose(found, wanted, atol=0.1 * float(wanted.std() + wanted.abs().mean()))
    shares = model.right("clip", "en")
    assert shares and all(0 <= share <= 1 for share in shares.values())


def test_a_share_of_the_questions_is_part_of_a_larger_one(
    tmp_path: Path, towers: dict[str, Any], supervised: Path, questions: QuestionSet
) -> None:
    def rows(share: float, seed: int = 0) -> list[int]:
        settings = Settings(
            supervised=supervised, out=tmp_path / "x", steps=1, share=share, seed=seed, side=64
        )
        return Trainer(settings, open_atlas(), towers, questions).rows

    assert rows(0.5) == rows(1.0)[:20] and len(rows(0.01)) == 1 and rows(0.5, 1) != rows(0.5)


def test_a_tuned_run_changes_the_last_stage_alone(
    tmp_path: Path, towers: dict[str, Any], supervised: Path, questions: QuestionSet
) -> None:
    settings = Settings(
        supervised=supervised, out=tmp_path, steps=2, batch=4, tuned=True, which=("clip",), side=64
    )
    trainer = Trainer(settings, open_atlas(), towers, questions)
    stage, own = trainer.learner.last["clip"], towers["clip"].layer4
    assert torch.equal(stage[0].conv1.weight, own[0].conv1.weight)  # type: ignore[index,union-attr]
    statistics = stage[0].bn1.running_mean.clone()  # type: ignore[index,union-attr,operator]
    trainer.run(lambda _: None)
    assert not torch.equal(stage[0].conv1.weight, own[0].conv1.weight)  # type: ignore[index,union-attr]
    assert torch.equal(statistics, stage[0].bn1.running_mean)  # type: ignore[index,union-attr]


def test_guessing_is_worth_what_a_question_leaves_open(questions: QuestionSet) -> None:
    shares = evaluate.guessing(questions.questions)
    assert shares["exists"] == 0.5 and shares["count"] == 0.25
    truth = evaluate.by_kind(questions.questions.answer, questions.questions)
    assert set(truth.values()) == {1.0}
    assert not torch.equal(evaluate.shuffled(questions.questions), questions.questions.scene)


def test_questions_become_padded_ids(questions: QuestionSet) -> None:
    model = CLIPViL.load("classroom-clip-vil", "cpu")
    with model.use() as loaded:
        ids = ids_of(loaded.tokenize, ["dog", "is there a dog in the image?"])
    assert ids.shape[0] == 2 and ids[0, -1] == 0 and ids[1, -1] > 0


def test_the_table_has_a_row_for_each_encoder_and_share(
    tmp_path: Path, supervised: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"EXAM": 4, "ENCODERS": ("clip",), "MORE": 1, "FEW": 2}.items():
        monkeypatch.setattr(table, name, value)
    base = Settings(supervised=supervised, scenes=4, batch=4, side=64)
    frozen = list(table.rows(4, tmp_path, table.FROZEN, once, averaged, base, seeds=(0, 1)))
    tuned = list(table.rows(4, tmp_path, table.TUNED, once, averaged, base, seeds=(0, 1)))
    names = [measure for measure, _, _ in (*frozen, *tuned)]
    for share in table.SHARES:
        assert f"frozen, {share} of the questions" in names and f"tuned, {share} of the questions" in names
    assert any("spread of 2 seeds" in name for name in names)
    assert all(encoder == "clip" and 0 <= value <= 1 for _, encoder, value in (*frozen, *tuned))
    # What was measured is read again.
    monkeypatch.setattr(table, "right", None)
    assert list(table.rows(4, tmp_path, table.FROZEN, once, averaged, base, seeds=(0, 1))) == frozen


def test_a_lesson_learns_on_three_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "EXAM", 4)
    lesson = live.Lesson(live.LiveSettings(minutes=0.05, questions=20))
    frames = list(lesson.run())
    assert frames[0].step == 0 and frames[-1].done and not frames[-1].stopped
    assert frames[-1].step > 0 and set(frames[-1].right) == set(ENCODERS)


def test_a_lesson_learns_on_the_resnet_of_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "EXAM", 2)
    lesson = live.Lesson(live.LiveSettings(minutes=0.05, questions=10, row="classroom-rn"))
    lesson.cancel.set()
    frames = list(lesson.run())
    assert frames[-1].stopped and set(frames[-1].right) == {"classroom-rn"}


def test_a_lesson_has_limits() -> None:
    with pytest.raises(Refusal) as caught:
        live.Lesson(live.LiveSettings(minutes=60))
    assert caught.value.code == "lesson_range"
