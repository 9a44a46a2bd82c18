"""ViLD's recipe for a few steps, what it exports, and the evaluation's arithmetic."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from core.classroom.recipes.vild import evaluate as evaluate_vild
from core.classroom.recipes.vild import train as vild
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.concepts import concepts, seen, unseen
from core.classroom.world.scenes import render
from core.classroom.world.specs import SceneSettings, sample


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return open_atlas(("twemoji", "symbola"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, atlas: Atlas) -> vild.Trainer:
    out = tmp_path_factory.mktemp("vild")
    settings = vild.Settings(out=out, steps=3, scenes=8, batch=4, fresh=2, log_every=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vild, "PRECOMPUTED", 3)
        patch.setattr(vild, "PROPOSING", 0.3)  # one step for stage 1, two for the heads
        trainer = vild.Trainer(settings, atlas)
        trainer.began = {k: v.clone() for k, v in trainer.net.state_dict().items()}  # type: ignore[attr-defined]
        trainer.told = []  # type: ignore[attr-defined]
        trainer.run(trainer.told.append)  # type: ignore[attr-defined]
    return trainer


def test_boxes_are_of_what_is_seen(atlas: Atlas) -> None:
    scenes = render(sample(6, 3, atlas, SceneSettings(kinds=(0, 0, 0, 1))), atlas, 64)
    for b, truth in enumerate(vild.truths(scenes)):
        for box, concept in zip(truth.boxes, truth.concepts, strict=True):
            k = scenes.spec.concept[b].tolist().index(int(concept))
            rows, columns = torch.nonzero(scenes.visible[b, k], as_tuple=True)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_every_part_learns_but_the_tower(run: vild.Trainer) -> None:
    now = run.net.state_dict()
    changed = {k for k, v in run.began.items() if not torch.equal(v, now[k])}  # type: ignore[attr-defined]
    parts = {".".join(k.split(".")[:2]) for k in changed}
    assert {"heads.text", "heads.image", "heads.vild", "proposer.fpn", "proposer.rpn", "box.deltas"} <= parts
    assert {"background.text", "background.vild"} <= changed
    assert not any(k.startswith("pretrained.") for k in changed)
    lines = run.told  # type: ignore[attr-defined]
    assert len(lines) == 3 and "vild image 0 " in lines[0] and "vild image 0 " not in lines[1]
    # Crops were seen by CLIP once, for every scene of the set.
    assert len(run.shelf.crops) == 8 and run.shelf.crops[0].shape[1] == 192
    torch.testing.assert_close(run.shelf.crops[0].norm(dim=1), torch.ones(len(run.shelf.crops[0])))


def test_novel_things_are_background_and_base_ones_have_a_column(run: vild.Trainer) -> None:
    base, novel = seen()[5], unseen()[0]
    assert run.column[novel] == 0 and run.column[base] == 6
    where = torch.tensor([[10.0, 10.0, 50.0, 50.0], [60.0, 60.0, 110.0, 110.0]])
    truth = vild.Truth(where, torch.tensor([base, novel])).only(run.base)
    assert truth.concepts.tolist() == [base]
    found = torch.cat(
        [where, where + 2, torch.rand(40, 2).repeat(1, 2) + torch.tensor([0.0, 100.0, 9.0, 120.0])]
    )
    boxes, matched, target = run.sampled([found], [truth])
    assert len(boxes[0]) == vild.SAMPLED == len(target)
    inside = target > 0
    assert (
        target[inside] == 6
    ).all() and inside.sum() == 3  # the box, itself moved, and the truth that is added
    assert (matched[0][inside] == where[0]).all()
    nothing = run.sampled([found], [vild.Truth(torch.empty(0, 4), torch.empty(0, dtype=torch.long))])
    assert (nothing[2] == 0).all()


def test_the_export_is_loaded_and_examined(
    run: vild.Trainer, atlas: Atlas, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run.out / "classroom-vild"
    assert not any(k.startswith("pretrained.") for k in load_file(folder / "model.safetensors"))
    words = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
    assert len(words["en"]) == len(words["zh"]) == len(seen()) and words["en"][0] == concepts()[seen()[0]].en
    monkeypatch.setattr(evaluate_vild, "open_atlas", lambda: atlas)
    monkeypatch.setattr(evaluate_vild, "PROPOSALS", 8)
    rows = evaluate_vild.evaluate(str(folder), count=3, groups=1, say=lambda _: None)
    assert len(rows) == 2 + 5 * (2 * 3 + 3 + 3)
    assert {row["split"] for row in rows} == {"base", "novel", *evaluate_vild.NAMES.values()}
    assert all(row["paper"] == "vild" and 0 <= row["value"] <= 1 for row in rows)


def test_a_stopped_run_goes_on(run: vild.Trainer, atlas: Atlas) -> None:
    again = vild.Trainer(vild.Settings(out=run.out, steps=4, scenes=8), atlas)
    assert again.step == 3
    torch.testing.assert_close(again.net.state_dict(), run.net.state_dict())


def test_vocabularies_share_no_name_and_a_fifth_of_each_is_novel() -> None:
    every = [evaluate_vild.vocabulary(group) for group in range(evaluate_vild.GROUPS)]
    assert sorted(i for one in every for i in one) == list(range(len(concepts())))
    for one in every:
        assert 0.15 < len(set(one) & set(unseen())) / len(one) < 0.25


def test_average_precision_by_hand() -> None:
    def box(image: int, category: int, x: float, **more: object) -> dict[str, object]:
        return {"image_id": image, "category_id": category, "bbox": [x, 0.0, 10.0, 10.0], **more}

    truth = [
        box(0, 1, 0.0, id=1, area=100.0, iscrowd=0),
        box(1, 1, 0.0, id=2, area=100.0, iscrowd=0),
        box(0, 2, 50.0, id=3, area=100.0, iscrowd=0),
        box(1, 3, 0.0, id=4, area=100.0, iscrowd=1),
    ]
    found = [
        box(0, 1, 1.0, score=0.9),  # right
        box(0, 1, 80.0, score=0.8),  # nothing there
        box(1, 1, 0.0, score=0.7),  # right
        box(0, 2, 56.0, score=0.9),  # too far: IoU 4 / 16
        box(1, 3, 0.0, score=0.9),  # almost hidden: neither right nor wrong
    ]
    got = evaluate_vild.average_precision(truth, found, 2)
    # Precision 1 up to half the recall, then 2/3: of COCO's 101 points, 51 and 50.
    assert got == {1: pytest.approx((51 + 50 * 2 / 3) / 101), 2: 0.0}
