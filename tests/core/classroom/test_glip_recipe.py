"""GLIP's losses, the recipe of the miniature for a few steps, and the evaluation's arithmetic."""

from __future__ import annotations

import csv
import json
import random
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.ops import deform_conv2d, generalized_box_iou_loss

from core import checkpoints
from core.checkpoints.integrity import sha256
from core.classroom.recipes.common import ablations
from core.classroom.recipes.common.miniature import WEIGHTS, export_folder
from core.classroom.recipes.glip import evaluate as evaluate_glip
from core.classroom.recipes.glip import train as glip
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.concepts import concepts, seen, unseen
from core.classroom.world.grounded import Prompter
from core.classroom.world.scenes import render
from core.classroom.world.specs import SceneSettings, sample
from core.detection.glip import losses
from core.detection.glip.deform import modulated_conv
from core.detection.glip.language import Prompt
from tests.parity.records import Records, normal


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return open_atlas(("twemoji", "symbola"))


def settings(out: Path, steps: int, gold: int = 8) -> glip.Settings:
    return glip.Settings(out=out, steps=steps, log_every=1, sizes=(32,), batch=4, gold=gold)


# --- losses --------------------------------------------------------------------------------------------


def test_the_token_loss_is_that_of_the_record() -> None:
    manifest, arrays = Records("glip").read("token_loss_a0_a")
    made = {k: normal(v["seed_key"], v["shape"]) for k, v in manifest["arrays"].items() if "seed_key" in v}
    logits, targets = 2 * made["logits"] - 1, (made["targets"] > 1.2).float()
    loss = losses.token_loss(logits, targets, torch.from_numpy(arrays["text_mask"]))
    np.testing.assert_allclose(loss.item(), arrays["loss_sum"].item(), rtol=1e-5)


def test_giou_is_torchvisions() -> None:
    a, b = (torch.rand(50, 4) for _ in range(2))
    a, b = (torch.cat([x[:, :2], x[:, :2] + x[:, 2:] + 0.01], 1) for x in (a, b))
    torch.testing.assert_close(losses.giou_loss(a, b), generalized_box_iou_loss(a, b), atol=1e-4, rtol=1e-4)


def squares(size: int, stride: int) -> torch.Tensor:
    steps = torch.arange(stride // 2, size, stride).float()
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    middle = torch.stack([x, y], -1).flatten(0, 1)
    return torch.cat([middle - 2 * stride, middle + 2 * stride], 1)


def test_anchors_go_to_the_box_they_cover_and_padding_gets_none() -> None:
    anchors = torch.cat([squares(96, 8), squares(96, 16)])
    boxes = torch.tensor([[[8.0, 8, 40, 40], [40, 40, 96, 96], [0, 0, 96, 96]]])
    owner = losses.assign(anchors, [144, 36], boxes, torch.tensor([[True, True, False]]))[0]
    assert set(owner.tolist()) == {-1, 0, 1}
    middle = (anchors[:, :2] + anchors[:, 2:]) / 2
    for k in range(2):
        own = middle[owner == k]
        assert (own > boxes[0, k, :2]).all() and (own < boxes[0, k, 2:]).all()
        # The anchor that covers it best is among its own.
        iou, _ = losses.overlaps(anchors, boxes[0, k])
        assert owner[iou.argmax()] == k
    assert (losses.assign(anchors, [144, 36], boxes, torch.zeros(1, 3, dtype=torch.bool)) == -1).all()


def test_right_predictions_cost_less() -> None:
    anchors = squares(96, 8)
    boxes = torch.tensor([[[8.0, 8, 40, 40]]])
    present, belongs = torch.ones(1, 1, dtype=torch.bool), torch.tensor([[[1.0, 1.0, 0.0]]])
    words = torch.ones(1, 3)
    owner = losses.assign(anchors, [144], boxes, present)

    def cost(right: bool, place: torch.Tensor) -> losses.Losses:
        told = belongs[:, 0, None] * (owner[..., None] >= 0)
        logits = 6 * (2 * told - 1) * (1 if right else -1)
        return losses.detection_losses(
            logits, place, torch.zeros(1, 144), anchors, [144], boxes, present, belongs, words
        )

    good, bad = cost(True, boxes.expand(1, 144, 4)), cost(False, anchors[None])
    assert good.alignment < 0.01 < 10 < bad.alignment
    assert good.box.abs() < 1e-5 < bad.box
    assert good.positives == (owner >= 0).sum()


def test_modulated_convolutions_are_torchvisions() -> None:
    torch.manual_seed(0)
    for stride, side in ((1, 6), (2, 3)):
        x, weight = torch.randn(2, 5, 6, 6, requires_grad=True), torch.randn(7, 5, 3, 3, requires_grad=True)
        offset, mask = 2 * torch.randn(2, 18, side, side), torch.rand(2, 9, side, side)
        offset.requires_grad_()
        bias = torch.randn(7)
        ours = modulated_conv(x, offset, mask, weight, bias, stride)
        theirs = deform_conv2d(x, offset, weight, bias, stride=stride, padding=1, mask=mask)
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
        for a, b in zip(
            torch.autograd.grad(ours.square().sum(), (x, weight, offset)),
            torch.autograd.grad(theirs.square().sum(), (x, weight, offset)),
            strict=True,
        ):
            torch.testing.assert_close(a, b, atol=1e-2, rtol=1e-3)


# --- prompts -------------------------------------------------------------------------------------------


def test_phrases_lie_where_they_say_and_mean_what_is_there(atlas: Atlas) -> None:
    prompter = Prompter(sample(24, 5, atlas, SceneSettings(kinds=(1, 1, 1, 1))))
    for i in range(24):
        for lang in ("en", "zh"):
            said = prompter.caption(i, lang, random.Random(i), names=0.0)
            assert sorted(k for own in said.slots for k in own) == list(range(prompter.number[i]))
            for text, concept in zip(said.phrases, said.concepts, strict=True):
                name = concepts()[concept].name(lang)
                assert name.split()[-1][:3] in text, (text, name)
            listed = prompter.listing(i, lang, random.Random(i), seen(), 7, names=0.0)
            assert len(set(listed.concepts)) == len(listed.phrases) == 7
            assert {c for c, own in zip(listed.concepts, listed.slots, strict=True) if own} == set(
                said.concepts
            )


# --- the recipe ----------------------------------------------------------------------------------------


def test_teacher_and_student_learn_in_turn_and_are_examined(tmp_path: Path, atlas: Atlas) -> None:
    run = glip.Trainer(settings(tmp_path, 4), atlas)
    before = {name: {k: v.clone() for k, v in net.state_dict().items()} for name, net in run.nets.items()}
    assert all(torch.equal(v, before["student"][k]) for k, v in before["teacher"].items())

    def changed(name: str) -> set[str]:
        return {k for k, v in run.nets[name].state_dict().items() if not torch.equal(v, before[name][k])}

    run.advance()
    assert changed("teacher") and not changed("student")
    run.advance()
    taught = {k: v.clone() for k, v in run.nets["teacher"].state_dict().items()}
    lines: list[str] = []
    folder = run.run(lines.append)
    assert len(lines) == 2 and all("student 1" in line for line in lines)
    assert all(torch.equal(v, taught[k]) for k, v in run.nets["teacher"].state_dict().items())
    learned = changed("student")
    assert any("b_attn" in k for k in learned) and any("fpn" in k for k in learned)
    assert not any(k.startswith("backbone.body.") for k in learned)

    again = glip.Trainer(settings(tmp_path, 5), atlas)
    assert again.step == 4 and torch.equal(again.nets["student"].head.bias0, run.nets["student"].head.bias0)
    assert [row["step"] for row in csv.DictReader((tmp_path / "curve.csv").open())] == ["3", "4"]
    assert json.loads((folder / "training.json").read_text())["who"] == "student"
    assert json.loads((tmp_path / "teacher" / "training.json").read_text())["who"] == "teacher"
    rows = evaluate_glip.evaluate(str(folder), count=3, say=lambda _: None)
    assert len(rows) == 8 and all(row["paper"] == "glip" and 0 <= row["value"] <= 1 for row in rows)


def test_a_run_that_goes_on_has_its_student_as_it_was_for_a_teacher(tmp_path: Path, atlas: Atlas) -> None:
    run = glip.Trainer(replace(settings(tmp_path, 2), start="classroom-glip"), atlas)
    shipped = checkpoints.load_state_dict(export_folder("classroom-glip") / WEIGHTS)
    for net in run.nets.values():
        state = net.state_dict()
        assert all(torch.equal(state[name], tensor.to(state[name])) for name, tensor in shipped.items())
    teacher = {name: tensor.clone() for name, tensor in run.nets["teacher"].state_dict().items()}
    folder = run.run(lambda _: None)
    assert all(
        torch.equal(run.nets["teacher"].state_dict()[name], tensor) for name, tensor in teacher.items()
    )
    learned = checkpoints.load_state_dict(folder / WEIGHTS)
    assert any(not torch.equal(learned[name], tensor) for name, tensor in shipped.items())
    note = json.loads((folder / "training.json").read_text())
    assert note["steps of"] == {"teacher": 0, "student": 2} and not (tmp_path / "teacher").exists()
    assert note["start"]["weights"] == sha256(export_folder("classroom-glip") / WEIGHTS)
    assert "--start classroom-glip" in note["command"]


def test_boxes_that_a_person_drew_are_of_seen_concepts(tmp_path: Path, atlas: Atlas) -> None:
    run = glip.Trainer(settings(tmp_path, 4, gold=4), atlas)
    batch = run.gold(4, 32, "en", random.Random(1))
    assert not {c for said in batch.said for c in said.concepts} & set(unseen())
    # The set is small: its scenes come again.
    run.step = 3
    torch.testing.assert_close(run.gold(4, 32, "en", random.Random(2)).pictures, batch.pictures)
    words = [p.tokens for p in batch.asked]
    for b, said in enumerate(batch.said):
        for phrase, slots in enumerate(said.slots):
            for k in slots:
                assert torch.nonzero(batch.belongs[b, k])[:, 0].tolist() == sorted(words[b][phrase])


def test_the_teacher_reads_captions_and_no_truth(
    tmp_path: Path, atlas: Atlas, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("boxes", "visible", "amodal"):
        monkeypatch.setattr(
            f"core.classroom.world.scenes.Scenes.{name}", lambda *_: pytest.fail("truth was read")
        )
    run = glip.Trainer(settings(tmp_path, 4), atlas)
    written = torch.tensor([[[2.0, 2, 20, 20], [0, 0, 0, 0]]]).repeat(4, 1, 1)
    present = torch.tensor([[True, False]] * 4)

    def write(
        pictures: torch.Tensor, asked: list[Prompt], words: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return written, present, torch.zeros(4, 2, dtype=torch.long)

    monkeypatch.setattr(run, "write", write)
    batch = run.captioned(4, 32, "en", random.Random(0))
    for b, (said, asked) in enumerate(zip(batch.said, batch.asked, strict=True)):
        words = torch.nonzero(batch.belongs[b, 0])[:, 0].tolist()
        assert words in [sorted(tokens) for tokens in asked.tokens] and not batch.belongs[b, 1].any()
        # Of the picture's phrases only the one with a box is looked at; names of nothing are.
        silent = {t for own, tokens in zip(said.slots, asked.tokens, strict=True) if own for t in tokens}
        silent -= set(words)
        assert not batch.counted[b, sorted(silent)].any() and batch.counted[b, words].all()
        assert batch.counted[b].sum() == batch.mask[b].sum() - len(silent)


def test_the_teacher_keeps_what_it_is_sure_of(
    tmp_path: Path, atlas: Atlas, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = glip.Trainer(settings(tmp_path, 4), atlas)
    scenes = run._scenes(9, 4, 64)
    asked, words, mask = run._read(
        [Prompter(scenes.spec).caption(i, "en", random.Random(i)) for i in range(4)]
    )
    boxes, present, phrases = run.write(scenes.picture, asked, words, mask)
    assert present.any() and (boxes >= 0).all() and (boxes <= 64).all()
    assert all(p < len(asked[b].phrases) for b, k in torch.nonzero(present) for p in [phrases[b, k]])
    monkeypatch.setattr(glip, "SURE", 1.0)
    assert not run.write(scenes.picture, asked, words, mask)[1].any()


def test_the_network_starts_as_clips_own_reading_of_places(tmp_path: Path, atlas: Atlas) -> None:
    run = glip.Trainer(settings(tmp_path, 4), atlas)
    net = run.nets["teacher"].eval()
    for name in ("fpn_inner2", "fpn_inner3"):
        net.backbone.fpn.get_submodule(name).weight.data.zero_()
    scenes = render(
        sample(8, 3, atlas, SceneSettings(kinds=(1, 0, 0, 0), looks=(1, 0, 0, 0, 0, 0))), atlas, 64
    )
    names = run.reader.phrases([c.name("en") for c in concepts()])
    with torch.no_grad():
        pool = run.reader.model.visual.attnpool
        coarse = run.body((scenes.picture - 0.5) / 0.25)[3]
        places = coarse.flatten(2).mT + pool.positional_embedding[1:].mean(0)
        wanted = pool.c_proj(pool.v_proj(places)) @ names.T
        levels = net.features((scenes.picture - 0.5) / 0.25)
        words = names.expand(8, -1, -1)
        said = net.head(levels, words, torch.ones(8, len(names), dtype=torch.bool))
    got = said.logits[:, -(coarse.shape[-1] ** 2) :] - net.head.bias0
    # One factor apart, and up to what texts cannot see.
    factor = (got * wanted).sum() / wanted.square().sum()
    assert (got - factor * wanted).norm() < 0.1 * got.norm()


def test_an_ablation_trains_and_measures_every_row(
    tmp_path: Path, atlas: Atlas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablations, "open_atlas", lambda: atlas)
    monkeypatch.setattr(ablations.glip, "Settings", partial(glip.Settings, sizes=(32,), batch=4, gold=8))
    rows = list(ablations.glip_rows(1, tmp_path, scenes=2))
    assert [name for _, name, _ in rows] == [
        name for name in ("without fusion", "with fusion", "teacher", "student") for _ in range(6)
    ]
    assert all(0 <= value <= 1 for *_, value in rows)
