"""The recipe of StyleCLIP's miniature: exact pairs and their texts, both trainings, what they export and how that is measured."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from core.classroom.recipes.styleclip import editor, evaluate, generator, scenes, train
from core.classroom.world.atlas import open_atlas
from core.editing import settings
from core.editing.editor import ARCHITECTURE, fold, unfold
from core.editing.model import Editor

TINY: dict[str, Any] = {**ARCHITECTURE, "block_out_channels": [16, 16], "norm_num_groups": 8}
SMALL: dict[str, Any] = {
    "size": 32, "width": 96, "depth": 1, "rate": 0.1, "channels": {4: 16, 8: 8, 16: 8, 32: 8}
}  # fmt: skip


def test_a_pair_differs_in_one_factor() -> None:
    before, after, change = scenes.pairs(300, 1, (0.4, 0.2, 0.2, 0.2))
    for at, name in enumerate(scenes.CHANGES):
        differs = getattr(before, name) != getattr(after, name)
        assert torch.equal(differs, change == at), name
    assert torch.equal(before.style, after.style) and torch.equal(before.half, after.half)
    # A ground changes where it is seen.
    assert (before.rendering[change == 1] == 0).all()
    assert {s.lower() for s in scenes.thing_names("en")} == set(scenes.THINGS)


def test_images_of_a_pair_are_exact() -> None:
    atlas = open_atlas()
    before, after, _ = scenes.pairs(64, 1, (0, 1, 0, 0))
    first, second = scenes.draw(before, atlas), scenes.draw(after, atlas)
    assert torch.equal(first, scenes.draw(before, atlas))
    thing = scenes.draw(before.take(slice(0, 1)), atlas, 64)
    assert thing.shape == (1, 3, 64, 64)
    # The corner is ground in both images, and another one; the thing's middle stays.
    assert ((first[:, :, 0, 0] - second[:, :, 0, 0]).abs().amax(1) > 0.02).float().mean() > 0.9
    middle = before.place == 0
    same = (first[middle, :, 16, 16] - second[middle, :, 16, 16]).abs().amax(1) < 0.05
    assert same.float().mean() > 0.6
    torch.testing.assert_close(unfold(fold(first)), first, atol=1e-6, rtol=0)


def test_texts_tell_what_changed() -> None:
    rng = random.Random(0)
    before, after, change = scenes.pairs(200, 2, (0, 0.5, 0.3, 0.2))
    for row in range(200):
        told = scenes.told(before, after, row, rng, alone=False)
        name = scenes.CHANGES[int(change[row])]
        coloured = int(after.rendering[row]) == 0
        assert name in told or (name == "ground" and not coloured)
        assert coloured or "ground" not in told
        # What was drawn in ink has no ground to keep.
        if coloured and int(before.rendering[row]):
            assert "ground" in told
        text = scenes.caption(after, row, "en", told)
        if "ground" in told:
            assert any(
                word in text for word in (*scenes.GROUNDS, "sky", "grass", "night", "beach", "sand", "sea")
            )
    aligned = scenes.states(50, 3, aligned=True, plain=True)
    assert set(aligned.place.tolist()) == {0} and set(aligned.rendering.tolist()) == {0}


def test_the_editor_trains_resumes_and_exports(tmp_path: Path) -> None:
    chosen = editor.Settings(out=tmp_path, batch=4, steps=3, log_every=1, architecture=TINY)
    trainer = editor.Trainer(chosen)
    trainer.advance()
    trainer.advance()
    trainer.save()
    resumed = editor.Trainer(chosen)
    assert resumed.step == 2
    for a, b in zip(trainer.learner.parameters(), resumed.learner.parameters(), strict=True):
        assert torch.equal(a, b)
    folder = resumed.run(lambda line: None)
    assert (folder / "curve.csv").read_text().count("\n") == 2
    state = load_file(folder / "model.safetensors")
    assert state.keys() == resumed.parts["mean"].unet.state_dict().keys()
    config = json.loads((folder / "config.json").read_text())
    assert config["unet"] == TINY and config["schedule"]["prediction_type"] == "v_prediction"
    note = json.loads((folder / "training.json").read_text())
    assert note["steps"] == 3 and set(note["clip"]) == {"classroom-rn"}


def test_texts_and_sources_are_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trainer = editor.Trainer(editor.Settings(out=tmp_path, batch=64, steps=1, architecture=TINY))
    source, target, text = trainer.batch(5)
    left_out = (source.flatten(1).abs().sum(1) == 0).float().mean()
    assert 0.05 < left_out < 0.4
    nothing = trainer.texts.nothing
    empty = (text.feature - nothing.feature).abs().amax(1) < 1e-4
    assert 0.02 < empty.float().mean() < 0.25
    assert target.shape == (64, 12, 16, 16) and bool(text.real[:, 0].all())


def test_the_generator_trains_and_exports(tmp_path: Path) -> None:
    chosen = generator.Settings(out=tmp_path, batch=8, steps=4, log_every=2, architecture=SMALL)
    trainer = generator.Trainer(chosen)
    folder = trainer.run(lambda line: None)
    state = load_file(folder / "model.safetensors")
    assert {name.split(".")[0] for name in state} == {"generator", "encoder", "codes", "latent_avg"}
    assert state["codes"].shape == (50 + 3 + 15 + 4, 96)
    table = generator.codes(96)
    torch.testing.assert_close(table @ table.T, 96 * torch.eye(len(table)), atol=1e-3, rtol=0)
    states = scenes.states(5, 1, aligned=True)
    z = generator.latent(states, table)
    # Each code can be read from the sum.
    found = (z @ table.T)[:, : len(scenes.THINGS)].argmax(1)
    assert torch.equal(found, states.thing)


def test_true_edits_are_judged_right() -> None:
    atlas, namers = open_atlas(), evaluate.Namers()
    before, after, _ = scenes.pairs(60, 9, (1, 0, 0, 0))
    before, after = (replace(s, rendering=torch.zeros_like(s.rendering)) for s in (before, after))
    true = scenes.draw(after, atlas)
    assert evaluate.share(evaluate.ground_of(true, after, atlas, before) == after.ground) > 0.98
    for which in namers.clips:
        named = namers.named(which, true)
        assert evaluate.share(named == after.thing) > 0.85 > 0.2 > evaluate.share(named == before.thing)
    for k in range(len(scenes.DRAWN)):
        drawn = replace(after, rendering=torch.full_like(after.thing, k))
        right = evaluate.rendering_of(scenes.draw(drawn, atlas), drawn, atlas) == k
        assert evaluate.share(right) > 0.95
    # What stays as it was has no new ground.
    _, other, _ = scenes.pairs(60, 9, (0, 1, 0, 0))
    kept = replace(other, rendering=torch.zeros_like(other.rendering))
    moved = replace(kept, ground=(kept.ground + 1) % len(scenes.GROUNDS))
    assert evaluate.share(evaluate.ground_of(scenes.draw(kept, atlas), moved, atlas) == moved.ground) < 0.05


def test_both_parts_become_one_row_that_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings.CLASSROOM["mapper"], "steps", 1)
    monkeypatch.setitem(settings.DEFAULTS["optimization"], "steps", 1)
    monkeypatch.setattr(train, "SOURCES", 2)
    common: dict[str, Any] = {"batch": 2, "steps": 1}
    editor.Trainer(editor.Settings(out=tmp_path / "editor", architecture=TINY, **common)).run(lambda _: None)
    generator.Trainer(generator.Settings(out=tmp_path / "generator", architecture=SMALL, **common)).run(
        lambda _: None
    )
    # Both are exported, so that the run has only to join them.
    folder = train.Trainer(train.Settings(out=tmp_path)).run(lambda _: None)
    assert folder == tmp_path / train.ROW
    note = json.loads((folder / "training.json").read_text())
    assert set(note["clip"]) == {"classroom-rn"} and note["parts"]["generator"]["steps"] == 1
    with Editor.load(train.row_of(folder).name, "cpu").use() as loaded:
        made = loaded.generator
        channels = sum(w for i, w in enumerate(made.style_widths) if i not in made.to_rgb)
        assert loaded.relevance.shape == (channels, 192)
        assert bool(loaded.relevance.isfinite().all()) and bool(loaded.relevance.any())
        exported = load_file(tmp_path / "generator" / "generator" / "model.safetensors")
        kept = loaded.encoder.one.weight
        torch.testing.assert_close(kept, exported["encoder.one.weight"].float(), atol=0.01, rtol=0.01)
        states = scenes.states(3, 1, aligned=True)
        torch.testing.assert_close(
            evaluate.w_of(loaded, states),
            made.map(generator.latent(states, loaded.codes)),
            atol=1e-4,
            rtol=1e-4,
        )
    told = evaluate.evaluate(str(folder), lambda _: None, count=4)
    measures = [(row["measure"], row["split"]) for row in told]
    assert ("edit: squared error", "share of the unedited one's") in measures
    assert ("StyleCLIP, global direction: the thing named", "other") in measures
    assert len(set(measures)) == len(measures) == 24
    assert all(row["paper"] == "styleclip" for row in told)
