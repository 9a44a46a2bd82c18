"""The recipes of the miniature LSeg and GroupViT for two steps, what they export, and the evaluations' arithmetic."""

from __future__ import annotations

import csv
import json
import random
from functools import partial
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from core import checkpoints
from core.checkpoints.integrity import sha256
from core.classroom.recipes.common import ablations, masks
from core.classroom.recipes.common import tokenizer as tokens
from core.classroom.recipes.common.miniature import WEIGHTS, export_folder, tensors
from core.classroom.recipes.groupvit import evaluate as evaluate_groupvit
from core.classroom.recipes.groupvit import train as groupvit
from core.classroom.recipes.lseg import evaluate as evaluate_lseg
from core.classroom.recipes.lseg import train as lseg
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.concepts import unseen
from core.classroom.world.scenes import render
from core.classroom.world.specs import SceneSettings, sample
from core.segmentation.blocks import Kind
from core.segmentation.dpt import double


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return open_atlas(("twemoji", "symbola"))


def lseg_run(out: Path, steps: int, atlas: Atlas) -> lseg.Trainer:
    settings = lseg.Settings(
        out=out, steps=steps, log_every=1, phases=((1.01, 32, 6),), block="bottleneck", depth=2
    )
    return lseg.Trainer(settings, atlas)


def test_pixels_are_labelled_with_what_is_seen_there(atlas: Atlas) -> None:
    scenes = render(sample(6, 3, atlas, SceneSettings(kinds=(0, 0, 0, 1))), atlas, 48)
    truth = masks.labelled(scenes)
    for b in range(6):
        for k in torch.nonzero(scenes.spec.present[b])[:, 0]:
            assert (truth[b][scenes.visible[b, k]] == scenes.spec.concept[b, k]).all()
    assert (truth[~scenes.visible.any(1)] == -1).all()


def test_lseg_trains_resumes_and_is_examined(tmp_path: Path, atlas: Atlas) -> None:
    run = lseg_run(tmp_path, 2, atlas)
    before = {k: v.clone() for k, v in run.net.state_dict().items()}
    lines: list[str] = []
    run.run(lines.append)
    assert len(lines) == 2 and "min left" in lines[0]
    changed = [k for k, v in run.net.state_dict().items() if not torch.equal(v, before[k])]
    assert any("head_block" in k for k in changed) and not any(k.startswith("pretrained.") for k in changed)
    # A concept without masks is never offered as a label while training; a picture's own come first.
    chosen, texts = run.labels([[0, 1], [2]], random.Random(0), "zh")
    assert chosen[0][:2] == [0, 1] and chosen[1][0] == 2
    assert all(len(set(one)) == lseg.LABELS and not set(one) & set(unseen()) for one in chosen)
    assert texts.shape == (2, lseg.LABELS + 1, 192)

    again = lseg_run(tmp_path, 3, atlas)
    assert again.step == 2
    folder = again.run(lines.append)
    assert again.step == 3 and len(lines) == 3
    curve = list(csv.DictReader((tmp_path / "curve.csv").open()))
    assert [row["step"] for row in curve] == ["1", "2", "3"]
    assert json.loads((folder / "training.json").read_text())["block"] == "bottleneck"

    rows = evaluate_lseg.evaluate(str(folder), count=3, say=lambda _: None)
    assert {row["split"] for row in rows} == {"seen", "never seen"}
    assert all(row["paper"] == "lseg" and -1 <= row["value"] <= 1 for row in rows)


def test_the_decoder_starts_as_clips_own_reading_of_places(tmp_path: Path, atlas: Atlas) -> None:
    run = lseg_run(tmp_path, 1, atlas)
    net = run.net.eval()
    for name in ("layer1_rn", "layer2_rn", "layer3_rn"):
        net.scratch.get_submodule(name).weight.data.zero_()
    tower = open_clip.CLIP(**json.loads((run.folder / "open_clip_config.json").read_text())["model_cfg"])
    tower.load_state_dict(load_file(run.folder / "model.safetensors"))
    pool = tower.eval().float().visual.attnpool
    pixels = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        coarse = net.pretrained(pixels)[3][:, -pool.v_proj.in_features :]  # [B, C, 2, 2] of the last stage
        places = coarse.flatten(2).transpose(1, 2) + pool.positional_embedding[1:].mean(0)
        alone = pool.c_proj(pool.v_proj(places)).transpose(1, 2).unflatten(2, (2, 2))  # [B, D, 2, 2]
        for _ in range(4):
            alone = double(alone)
        names = torch.cat(run.names["en"])
        wanted = torch.einsum("nd,bdhw->bnhw", names, alone)
        got = torch.einsum("nd,bdhw->bnhw", names, net.scratch(net.pretrained(pixels)))
    # The decoder is narrower than the joint space: almost all that texts can see fits.
    assert (got - wanted).norm() < 0.05 * wanted.norm()


@pytest.mark.parametrize("block", ["bottleneck", "depthwise"])
@pytest.mark.parametrize("depth", [1, 4])
def test_blocks_start_as_no_change_of_the_winners(
    tmp_path: Path, atlas: Atlas, block: Kind, depth: int
) -> None:
    settings = lseg.Settings(out=tmp_path, steps=1, phases=((1.01, 32, 6),), block=block, depth=depth)
    net = lseg.Trainer(settings, atlas).net
    maps = 4 * torch.randn(2, 7, 5, 5)
    maps[:, 0] = 1.0  # one label is above zero everywhere: what the leaky ReLU leaves as it is
    assert (net.regularized(maps).argmax(1) == maps.argmax(1)).all()


def test_groupvit_trains_without_masks_and_is_examined(
    tmp_path: Path, atlas: Atlas, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A mask would have to come from these.
    for name in ("visible", "amodal"):
        monkeypatch.setattr(
            f"core.classroom.world.scenes.Scenes.{name}", property(lambda _: pytest.fail("a mask was read"))
        )
    settings = groupvit.Settings(out=tmp_path, steps=2, log_every=1, phases=((1.01, 32, 6),), groups=(8, 4))
    run = groupvit.Trainer(settings, atlas)
    frozen = {k: v.clone() for k, v in run.learner.text_model.state_dict().items()}
    lines: list[str] = []
    folder = run.run(lines.append)
    for name, value in run.learner.text_model.state_dict().items():
        torch.testing.assert_close(value, frozen[name])
    monkeypatch.undo()
    rows = evaluate_groupvit.evaluate(str(folder), count=4, say=lambda _: None)
    named = {row["measure"]: row["value"] for row in rows}
    assert named["foreground mIoU, oracle labels"] >= 0 and len(lines) == 2


def test_projections_and_text_tower_start_as_clips(tmp_path: Path, atlas: Atlas) -> None:
    run = groupvit.Trainer(groupvit.Settings(out=tmp_path, steps=1, phases=((1.01, 32, 24),)), atlas)
    clip = open_clip.CLIP(**json.loads((run.folder / "open_clip_config.json").read_text())["model_cfg"])
    clip.load_state_dict(tensors(run.folder))
    clip.eval().float()
    lines = ["a photo of a dog", "a red envelope", "一只羊"]
    ids = tokens.tokenize(run.tokenizer, lines, run.context)
    x = 3 * torch.randn(5, 192)
    with torch.no_grad():
        wanted = F.normalize(clip.encode_text(ids), dim=-1)
        run.learner.eval()
        got = F.normalize(run.learner.text_projection(run._read(lines)), dim=-1)
        torch.testing.assert_close(got, wanted, atol=2e-3, rtol=0)
        torch.testing.assert_close(
            run.learner.visual_projection(x), x @ clip.visual.proj, atol=2e-3, rtol=2e-3
        )


def test_a_run_of_groupvit_goes_on_from_what_ships(tmp_path: Path, atlas: Atlas) -> None:
    phases = ((0.5, 32, 4), (1.01, 32, 6))
    settings = groupvit.Settings(
        start="classroom-groupvit", out=tmp_path, steps=1, log_every=1, phases=phases
    )
    run = groupvit.Trainer(settings, atlas)
    shipped = checkpoints.load_state_dict(export_folder("classroom-groupvit") / WEIGHTS)
    state = run.learner.state_dict()
    assert all(torch.equal(state[name], tensor.to(state[name].dtype)) for name, tensor in shipped.items())
    scale = float(shipped["logit_scale"])
    assert run.train_step()["batch"] == 6  # of the last phase
    # A scale that had to be learned again would begin at the published start.
    assert run.learner.logit_scale.item() == pytest.approx(scale, abs=0.05)
    note = json.loads((run.export() / "training.json").read_text())
    assert note["start"]["weights"] == sha256(export_folder("classroom-groupvit") / WEIGHTS)
    assert "--start classroom-groupvit" in note["command"]


def test_one_grouping_block_is_enough_for_a_run(tmp_path: Path, atlas: Atlas) -> None:
    run = groupvit.Trainer(
        groupvit.Settings(out=tmp_path, steps=1, phases=((1.01, 32, 4),), groups=(8,)), atlas
    )
    assert np.isfinite(run.train_step()["loss"])


def test_an_ablation_trains_and_measures_every_row(
    tmp_path: Path, atlas: Atlas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablations, "open_atlas", lambda: atlas)
    monkeypatch.setattr(ablations, "BLOCKS", (("none", 0), ("depthwise", 2)))
    monkeypatch.setattr(ablations, "GROUPS", ((8, 4), (8,)))
    tiny = ((1.01, 32, 4),)
    monkeypatch.setattr(ablations.lseg, "Settings", partial(lseg.Settings, phases=tiny))
    monkeypatch.setattr(ablations.groupvit, "Settings", partial(groupvit.Settings, phases=tiny))
    blocks = list(ablations.lseg_rows(1, tmp_path, scenes=2))
    assert [(what[-10:], row) for what, row, _ in blocks] == [
        ("mIoU, seen", "none"), ("never seen", "none"), ("mIoU, seen", "depthwise x 2"), ("never seen", "depthwise x 2"),
    ]  # fmt: skip
    tokens = list(ablations.groupvit_rows(1, tmp_path, scenes=2))
    assert [row for _, row, _ in tokens] == ["8-4", "8-4", "8", "8"]
    assert all(0 <= value <= 1 for *_, value in (*blocks, *tokens))


def test_iou_adds_pictures_up() -> None:
    total = masks.IoU.empty()
    truth = torch.tensor([[0, 0, -1, -1]])
    total.add(torch.tensor([[0, -1, -1, 5]]), truth, [0, 5])
    total.add(torch.tensor([[0, 0, 0, -1]]), truth, [0])
    # Concept 0: 3 of 5 pixels; concept 5 is offered, said, and never shown: not in the mean.
    assert total.mean == pytest.approx(3 / 5)
    assert total.background == pytest.approx(2 / 5)
