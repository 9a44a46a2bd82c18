"""The recipes of CLIP4Clip and ActionCLIP in a few steps: true captions, exports that load again, rows of the ablations."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from core import checkpoints
from core.classroom.recipes.actionclip import evaluate as evaluate_actionclip
from core.classroom.recipes.actionclip import train as actionclip
from core.classroom.recipes.clip4clip import evaluate as evaluate_clip4clip
from core.classroom.recipes.clip4clip import live
from core.classroom.recipes.clip4clip import train as clip4clip
from core.classroom.recipes.common import ablations
from core.classroom.recipes.common.clip_sets import ClipSet, encode_clips, together
from core.classroom.recipes.common.miniature import Miniature, export_folder
from core.classroom.world.atlas import open_atlas
from core.classroom.world.clips import ClipSettings, sample_clips
from core.classroom.world.concepts import seen
from core.classroom.world.motions import MOTIONS, OPPOSITES
from core.video.actionclip.recognizer import ActionRecognizer
from core.video.clip4clip.heads import HEADERS

SMALL: dict[str, Any] = {"steps": 2, "log_every": 1}


@pytest.fixture(scope="module")
def tower() -> Miniature:
    return Miniature(export_folder("classroom-rn"))


@pytest.fixture(scope="module")
def clips(tower: Miniature) -> ClipSet:
    return encode_clips(tower, 40, 3, open_atlas(), ClipSettings(concepts=seen()[:6]))


def test_features_are_kept_and_read_again(tower: Miniature, tmp_path: Path) -> None:
    kept = tmp_path / "features.pt"
    first = encode_clips(tower, 3, 5, open_atlas(), kept=kept)
    assert first.features.shape == (3, 8, 192) and first.features.dtype == torch.float16 and kept.exists()
    visual, tower.model.visual = tower.model.visual, None
    try:
        again = encode_clips(tower, 3, 5, open_atlas(), kept=kept)
    finally:
        tower.model.visual = visual
    assert torch.equal(again.features, first.features)


def test_a_caption_is_true_of_its_clip_and_its_opposite_is_not(clips: ClipSet) -> None:
    every = list(range(len(clips)))
    for kind in ("content", "order", "whole"):
        truth = clips.truth(every, [kind] * len(clips), every)  # type: ignore[list-item]
        assert (truth.diagonal() == 1).all()
        told = clips.sentences(every, [kind] * len(clips), "en", [0] * len(clips))  # type: ignore[list-item]
        same = torch.tensor([[a.text == b.text for b in told] for a in told])
        assert (truth[same] == 1).all()  # equal sentences are true of the same clips
    directed = [i for i in every if MOTIONS[int(clips.spec.motion[i])] in OPPOSITES]
    turned = clips.truth(directed, ["order"] * len(directed), directed, opposite=True)
    assert not turned.diagonal().any()


def test_a_batch_has_several_clips_of_a_thing(clips: ClipSet) -> None:
    rows = together(clips.facts, 4, 3, random.Random(0))
    assert len(rows) == len(set(rows)) == 12
    things = clips.facts[rows, 0].tolist()
    assert max(things.count(thing) for thing in things) >= 3


def test_clip4clip_learns_is_exported_and_ranks(clips: ClipSet, tmp_path: Path) -> None:
    settings = clip4clip.Settings(clips=30, out=tmp_path / "run", **SMALL)
    trainer = clip4clip.Trainer(settings, open_atlas(), clips)
    before = {name: t.clone() for name, t in trainer.learner.state_dict().items()}
    folder = trainer.run(lambda _: None)
    after = trainer.learner.state_dict()
    moved = {name for name, t in before.items() if not torch.equal(t, after[name])}
    assert any(name.startswith("text.") for name in moved)
    assert {header for header in HEADERS if any(f"heads.{header}." in name for name in moved)} == {
        *HEADERS[1:]
    }
    assert sum(file.stat().st_size for file in folder.iterdir()) < 1_750_000
    model = evaluate_clip4clip.Candidate(str(folder))
    assert model.headers == HEADERS
    trainer.learner.eval()
    for header in HEADERS:
        texts = ["a dog moving left", "狗向左移动"]
        with torch.inference_mode():
            frames = clips.features[:3].float()
            own = trainer.learner.heads[header](
                trainer.learner.text(texts), frames, torch.ones(3, 8), trainer.learner.scale
            )
        ours = model.logits(header, texts, clips.take([0, 1, 2]))
        torch.testing.assert_close(ours, own, atol=0.15, rtol=0.1)  # matrices are stored in bytes
    again = clip4clip.Trainer(settings, open_atlas(), clips)
    assert again.step == 2


def test_a_head_alone_and_the_tower_of_an_export(clips: ClipSet, tmp_path: Path) -> None:
    folder = export_folder("classroom-rn")
    settings = clip4clip.Settings(clip=str(folder), headers=("seqLSTM",), clips=20, out=tmp_path, **SMALL)
    model = evaluate_clip4clip.Candidate(
        str(clip4clip.Trainer(settings, open_atlas(), clips).run(lambda _: None))
    )
    assert model.headers == ("seqLSTM",)


def test_clip4clip_is_measured(clips: ClipSet) -> None:
    rows = evaluate_clip4clip.evaluate("classroom-clip4clip", 12, 12, say=lambda _: None)
    assert {row["split"] for row in rows} == set(HEADERS) and all(0 <= row["value"] <= 1 for row in rows)


@pytest.mark.parametrize("loss", ["kl", "ce"])
def test_actionclip_learns_is_exported_and_names(clips: ClipSet, tmp_path: Path, loss: Any) -> None:
    settings = actionclip.Settings(clips=30, batch=8, loss=loss, out=tmp_path, **SMALL)
    folder = actionclip.Trainer(settings, open_atlas(), clips).run(lambda _: None)
    model = evaluate_actionclip.Candidate(str(folder))
    spec = evaluate_actionclip.exam(("left", "jump"), 4)
    features = model.clips(spec)
    assert features.shape == (4, 192)
    assert model.probabilities(features, ["left", "jump"], "zh").sum(1).tolist() == pytest.approx([1] * 4)
    assert isinstance(model.model, ActionRecognizer) and model.model.parts == ("post",)


def test_prompts_in_the_tower_are_trained_and_loaded(tmp_path: Path) -> None:
    base = actionclip.Settings(batch=2, out=tmp_path, **SMALL)
    settings = actionclip.variant(base, pre="position", shift=8)
    assert settings.clip == actionclip.TOWER
    trainer = actionclip.Trainer(settings)
    folder = trainer.run(lambda _: None)
    assert trainer.learner.image.time_embedding.abs().max() > 0  # began at zero
    model = evaluate_actionclip.Candidate(str(folder))
    assert model.model.parts == ("pre", "in", "post")
    assert model.clips(evaluate_actionclip.exam(("left",), 2)).shape == (2, 192)
    with pytest.raises(SystemExit, match="classroom-vit"):
        actionclip.Trainer(
            actionclip.Settings(clip="classroom-rn", shift=8, batch=2, out=tmp_path / "x", **SMALL)
        )


def test_held_out_motions_are_in_no_training() -> None:
    spec = sample_clips(200, 1, open_atlas(), actionclip.Settings().world)
    assert not {MOTIONS[i] for i in spec.motion.tolist()} & set(actionclip.HELD_OUT)


def test_the_row_that_ships_is_what_its_training_says() -> None:
    import json

    row = checkpoints.row("classroom-actionclip")
    note = json.loads((row.folder / "training.json").read_text(encoding="utf-8"))
    assert {name: row.options[name] for name in note["options"]} == note["options"]


def test_rows_of_the_ablation_of_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablations, "CLIPS", 8)
    monkeypatch.setattr(ablations, "PAIRS", 8)
    rows = list(ablations.clip4clip_rows(1, tmp_path, sizes=(16,), seeds=(0, 1)))
    assert {row[1] for row in rows} == set(HEADERS) and len(rows) == 4 * len(HEADERS)
    spreads = [value for measure, _, value in rows if measure.endswith("spread of 2 seeds")]
    assert len(spreads) == 2 * len(HEADERS) and min(spreads) >= 0
    # What was measured in a folder is not trained again.
    monkeypatch.setattr(ablations.clip4clip, "Trainer", None)
    assert list(ablations.clip4clip_rows(1, tmp_path, sizes=(16,), seeds=(0, 1))) == rows


def test_rows_of_the_ablations_of_actionclip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[actionclip.Settings] = []
    trainer = actionclip.Trainer

    def trained(settings: actionclip.Settings, atlas: Any, clips: ClipSet | None) -> Any:
        made.append(settings)
        assert (clips is None) == settings.has_tower
        return trainer(settings, atlas, clips)

    monkeypatch.setattr(ablations.actionclip, "Trainer", trained)
    monkeypatch.setattr(ablations.actionclip, "Settings", partial(actionclip.Settings, clips=16, log_every=1))
    exam = evaluate_actionclip.exam
    monkeypatch.setattr(ablations.evaluate_actionclip, "exam", lambda motions: exam(motions, 4))
    monkeypatch.setattr(ablations, "POSTS", ("meanP",))
    monkeypatch.setattr(ablations, "FEWER", 2)
    rows = list(ablations.actionclip_rows(1, tmp_path / "a", seeds=(0, 1)))
    assert [row[1] for row in rows] == ["kl", "kl", "ce", "ce", "meanP"]
    assert [(s.loss, s.seed) for s in made[:4]] == [("kl", 0), ("kl", 1), ("ce", 0), ("ce", 1)]
    some = {name: ablations.NETWORK_PROMPTS[name] for name in ("post", "pre + in + post")}
    monkeypatch.setattr(ablations, "NETWORK_PROMPTS", some)
    rows = list(ablations.prompt_rows(1, tmp_path / "b"))
    assert [row[1] for row in rows] == list(some) and {s.batch for s in made[5:]} == {2}
    assert [s.clip for s in made[5:]] == [actionclip.TOWER] * 2


def test_a_lesson_learns_and_stops() -> None:
    from core.runtime import Cancel

    cancel = Cancel()
    lesson = live.Lesson(live.LiveSettings("seqLSTM", 50, 1.0))
    frames = []
    for frame in lesson.run(cancel):
        frames.append(frame)
        cancel.set()
    assert [frame.done for frame in frames] == [False, True] and frames[-1].stopped
    assert 0 <= frames[0].recall <= 1 and 0 <= frames[0].direction <= 1
