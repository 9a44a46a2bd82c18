"""The tokenizer, the recipe on a tiny model, its export in open_clip's class, and the evaluation's arithmetic."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core.classroom import report
from core.classroom.recipes.clip import evaluate
from core.classroom.recipes.clip.batches import ECHO, Batch, Batches, Phase, feed
from core.classroom.recipes.clip.learner import EMBED, Learner, attention_pool, build
from core.classroom.recipes.clip.objectives import (
    Roles,
    choice,
    content,
    contrast,
    role_loss,
    soft_cross_entropy,
    true_pairs,
)
from core.classroom.recipes.clip.train import Settings, Trainer
from core.classroom.recipes.common import tokenizer as tokens
from core.classroom.recipes.common.export import MEAN, STD, export, folded
from core.classroom.recipes.common.miniature import Miniature, open_miniature
from core.classroom.recipes.common.muon import Muon, orthogonal
from core.classroom.world import sprites
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.captions import Caption, claims
from core.classroom.world.concepts import concepts
from core.classroom.world.specs import SceneSettings, sample

TINY = {
    "classroom-rn": {
        "layers": [1, 1, 1, 1],
        "width": 4,
        "head_width": 32,
        "image_size": 64,
        "patch_size": None,
    },
    "classroom-vit": {"layers": 2, "width": EMBED, "head_width": 64, "image_size": 32, "patch_size": 8},
}


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return open_atlas(("twemoji", "symbola"))


def test_tokenizer_knows_every_name_and_falls_back_to_bytes() -> None:
    tokenizer = tokens.train()
    assert 1500 <= tokenizer.get_vocab_size() <= 2500
    pad, sot, eot = (tokenizer.token_to_id(t) for t in ("<pad>", "<sot>", "<eot>"))
    assert (pad, eot) == (0, tokenizer.get_vocab_size() - 1) and sot == eot - 1
    unknown = tokenizer.token_to_id("<unk>")
    for concept in concepts():
        for name in (concept.en, concept.zh):
            ids = tokenizer.encode(name).ids
            assert ids[0] == sot and ids[-1] == eot and unknown not in ids
            spelled = "".join(tokenizer.id_to_token(i) for i in ids[1:-1])
            assert spelled == name.lower().replace(" ", ""), name
    strange = tokenizer.encode("鸞 ☃").tokens
    assert any(t.startswith("<0x") for t in strange)


def test_tokenizer_cuts_long_texts_and_keeps_the_end() -> None:
    tokenizer = tokens.train()
    ids = tokens.tokenize(tokenizer, ["dog", "dog " * 100], 32)
    assert ids.shape == (2, 32)
    assert ids[1, -1] == tokenizer.get_vocab_size() - 1
    assert ids[0, 3:].eq(0).all()
    assert torch.equal(*(tokens.tokenize(tokenizer, [t]) for t in ("A photo of a DOG.", "a photo of a dog")))


def test_soft_targets() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0]])
    one = soft_cross_entropy(logits, torch.tensor([[1.0, 0, 0]]))
    assert one.item() == pytest.approx(math.log(sum(map(math.exp, (2, 1, 0)))) - 2, abs=1e-6)
    both = soft_cross_entropy(logits, torch.tensor([[1.0, 1.0, 0]]))
    assert both.item() == pytest.approx(one.item() + 0.5, abs=1e-6)


def test_contrast_falls_when_pairs_agree_and_swapped_captions_hurt() -> None:
    x = torch.eye(4)
    truth, scale = torch.eye(4), torch.tensor(10.0)
    good, bad = contrast(x, x, truth, scale), contrast(x, x.flip(0), truth, scale)
    assert good < 0.01 < bad
    assert contrast(x, x, truth, scale, swapped=x[:1]) > good


def test_true_pairs(atlas: Atlas) -> None:
    spec = sample(4, 0, atlas, SceneSettings(kinds=(1, 0, 0, 0), poses=0))
    codes = [c.code for c in concepts()]
    dog, cat = codes.index("1F415"), codes.index("1F408")
    spec.concept[:, 0] = torch.tensor([dog, cat, dog, dog])
    said = [
        Caption("a dog", claim=dog),
        Caption("a pet", claim=claims()["pet"]),
        Caption("a dog on the left"),
        Caption("狗", claim=dog),
    ]
    expected = [[1, 1, 0, 1], [0, 1, 0, 0], [1, 1, 1, 1], [1, 1, 0, 1]]
    assert true_pairs(said, spec).tolist() == expected


def test_own_attention_pool_is_open_clips() -> None:
    clip, _ = build("classroom-rn", 300, TINY["classroom-rn"])
    x = torch.randn(3, 128, 2, 2)
    assert torch.allclose(attention_pool(clip.visual.attnpool, x), clip.visual.attnpool(x), atol=1e-5)
    assert attention_pool(clip.visual.attnpool, torch.randn(3, 128, 1, 1)).shape == (3, EMBED)


@pytest.mark.parametrize("model", ["classroom-rn", "classroom-vit"])
def test_ten_steps_lower_the_loss_resume_and_export(model: str, tmp_path: Path, atlas: Atlas) -> None:
    size = TINY[model]["image_size"]
    assert isinstance(size, int)
    # Few concepts, so that ten steps suffice to see the loss fall.
    few = SceneSettings(
        kinds=(1, 0, 0, 0),
        looks=(1, 0, 0, 0, 0, 0),
        augment=0.0,
        easy=True,
        concepts=tuple(range(6)),
        poses=0,
    )
    phases = (Phase(0.8, size, 32, few, False), Phase(1.01, size, 32, SceneSettings(), True))

    def trainer(steps: int) -> Trainer:
        return Trainer(
            Settings(model, out=tmp_path, steps=steps, vision=TINY[model], phases=phases, log_every=2), atlas
        )

    first = trainer(10)
    steps = [first.train_step() for _ in range(8)]
    assert min(s["shown"] for s in steps[-4:]) < steps[0]["shown"] - 0.3, "pictures"
    assert 0 < steps[4]["named"] < steps[0]["named"], "names"
    first.save()
    second = trainer(10)
    assert second.step == 8
    lines: list[str] = []
    folder = second.run(lines.append)
    assert second.step == 10 and lines and (tmp_path / "curve.csv").exists()

    miniature = Miniature(folder)
    assert (folder / "model.safetensors").stat().st_size < 8_000_000
    config = json.loads((folder / "open_clip_config.json").read_text())
    assert config["preprocess_cfg"]["mean"] == list(MEAN)

    learner = second.learner.eval()
    picture = torch.rand(2, 3, size, size)
    with torch.no_grad():
        expected = torch.nn.functional.normalize(learner.encode_image(picture), dim=-1)
        ids = tokens.tokenize(second.tokenizer, ["a dog", "狗在树的左边"])
        said = torch.nn.functional.normalize(learner.encode_text(ids), dim=-1)
    assert torch.allclose(miniature.images(picture), expected, atol=2e-2), "BatchNorm is folded"
    assert torch.allclose(miniature.texts(["a dog", "狗在树的左边"]), said, atol=2e-2)
    assert (
        folded(learner)["visual.proj" if model == "classroom-vit" else "visual.attnpool.c_proj.weight"]
        .isfinite()
        .all()
    )
    patches = miniature.patches(picture)
    assert patches.shape[:1] == (2,)
    if model == "classroom-vit":
        learner.hint = torch.nn.Linear(EMBED, 3)
        with torch.no_grad():
            image, _, said = learner.look(picture, torch.arange(patches[0, ..., 0].numel()))
        assert torch.allclose(torch.nn.functional.normalize(image, dim=-1), expected, atol=1e-4)
        said = torch.nn.functional.normalize(said, dim=-1).view_as(patches)
        assert torch.allclose(patches, said, atol=2e-2), "what is learned of patches is what is read of them"
    assert STD[0] > 0


def test_style_evaluation_reads_a_folder(tmp_path: Path, atlas: Atlas) -> None:
    clip, config = build("classroom-rn", tokens.train().get_vocab_size(), TINY["classroom-rn"])

    learner = Learner(clip)
    export(learner, config, tokens.train(), tmp_path / "model")
    folder = tmp_path / "crayon"
    folder.mkdir()
    sheet = sprites.sheet("twemoji")
    for concept in concepts()[:3]:
        Image.fromarray(sheet[concept.index]).save(folder / f"{concept.code}.png")
    Image.fromarray(np.zeros((8, 8, 4), np.uint8)).save(folder / "1F600.png")
    Image.fromarray(sheet[5]).save(folder / "ABCDE.png")
    result = evaluate.style(str(tmp_path / "model"), folder)
    assert result.concepts == 3
    assert result.line().startswith(f"style {folder}: 3 concepts, top-1 en ")
    assert set(result.row()) == {"style", "concepts", "top1", "top5"}
    rows = result.rows("model")
    assert [(r["measure"], r["language"]) for r in rows[:2]] == [
        ("unseen style top-1", "en"),
        ("unseen style top-1", "zh"),
    ]
    assert len(rows) == 4 and all(0 <= r["value"] <= 1 for r in rows)
    with pytest.raises(SystemExit):
        evaluate.style(str(tmp_path / "model"), tmp_path)
    with pytest.raises(SystemExit):
        open_miniature("no-such-model")


def test_topk() -> None:
    features = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    names = torch.eye(2)
    assert evaluate.topk(features, names, torch.tensor([0, 0]), 1) == 0.5
    assert evaluate.topk(features, names, torch.tensor([0, 0]), 2) == 1.0


def test_report_replaces_rows_of_the_same_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "CARD", tmp_path / "card.json")
    row = {"paper": "clip", "checkpoint": "a", "command": "evaluate", "measure": "m", "value": 1}
    report.record([row, {**row, "checkpoint": "b"}])
    report.record([{**row, "value": 2}])
    assert [(r["checkpoint"], r["value"]) for r in report.rows()] == [("b", 1), ("a", 2)]


def test_a_taught_vit_learns_its_teachers_features_and_keeps_its_text_tower(
    tmp_path: Path, atlas: Atlas
) -> None:
    own = Trainer(Settings("classroom-rn", out=tmp_path / "rn", steps=2, vision=TINY["classroom-rn"]), atlas)
    model = export(own.learner, own.config, own.tokenizer, tmp_path / "rn" / "classroom-rn")
    vision = TINY["classroom-vit"] | {"image_size": 64}
    few = SceneSettings(kinds=(1, 1, 0, 0), looks=(1, 0, 0, 0, 0, 0), concepts=tuple(range(6)), pairs="any")
    phases = (Phase(0.1, 64, 16, few, False), Phase(1.01, 64, 32, few, True))

    def trainer(steps: int) -> Trainer:
        return Trainer(
            Settings(
                "classroom-vit",
                out=tmp_path / "vit",
                steps=steps,
                vision=vision,
                phases=phases,
                teacher=model,
            ),
            atlas,
        )

    first = trainer(20)
    steps = [first.train_step() for _ in range(16)]
    assert sum(s["named"] for s in steps[-3:]) < sum(s["named"] for s in steps[:3]), "distance to the teacher"
    first.save()
    folder = trainer(20).run(lambda line: None)
    taught, teacher = Miniature(folder), Miniature(model)
    lines = ["a dog", "狗在树的左边"]
    assert torch.allclose(taught.texts(lines), teacher.texts(lines), atol=1e-3)
    assert taught.scale == pytest.approx(teacher.scale)


def test_orthogonal_steps_move_all_directions_alike() -> None:
    torch.manual_seed(0)
    for shape in ((12, 40), (40, 12)):
        values = torch.linalg.svdvals(
            orthogonal(torch.randn(shape) @ torch.diag(torch.linspace(0.1, 2, shape[1])))
        )
        assert values.min() > 0.5 and values.max() < 1.3
    weight = torch.nn.Parameter(torch.randn(6, 4, 3, 3))
    weight.grad = torch.randn_like(weight)
    before = weight.detach().clone()
    Muon([weight], lr=0.01).step()
    step = (weight.detach() - before).pow(2).mean().sqrt().item()
    assert step == pytest.approx(0.01 * 0.2, rel=0.4), "as large as AdamW's"
    assert (weight.grad * (weight.detach() - before)).sum() < 0


def test_roles_tell_who_is_left(atlas: Atlas) -> None:
    settings = SceneSettings(kinds=(0, 1, 0, 0), axes=(1, 0, 0), poses=0)
    spec = sample(32, 0, atlas, settings)
    roles, anchors = Roles(EMBED), torch.nn.functional.normalize(torch.randn(len(concepts()), EMBED), dim=-1)
    left, right = roles.matrix[0], roles.matrix[1]
    pair = anchors[spec.concept[:, 0]] @ left + anchors[spec.concept[:, 1]] @ right
    swapped = anchors[spec.concept[:, 1]] @ left + anchors[spec.concept[:, 0]] @ right
    scale = 10.0
    turned = roles.turned(anchors)
    right, wrong = (role_loss(x, turned, spec, scale, 0.0) for x in (pair, swapped))
    assert right < wrong - 1
    shares = content(spec)
    assert torch.allclose(shares.sum(1), torch.ones(32)) and shares[0, spec.concept[0, 0]] == 0.5


def test_the_order_loss_prefers_the_true_sentence() -> None:
    image, told, scale = torch.eye(3), torch.eye(3), torch.tensor(10.0)
    swapped = told.flip(0)
    assert choice(image, told, swapped[:, None], scale) < choice(image, swapped, told[:, None], scale)
    assert choice(image, told, told[:, None], scale).item() == pytest.approx(math.log(2))
    assert choice(image, told, told[:, None].repeat(1, 3, 1), scale).item() == pytest.approx(math.log(4))


def test_workers_make_the_batches_that_the_recipe_makes_alone(atlas: Atlas) -> None:
    scenes = SceneSettings(kinds=(0.5, 0.5, 0, 0), poses=0)
    phases = Phase(0.4, 32, 8, scenes, False), Phase(1.01, 32, 8, scenes, True)
    batches = Batches(0, atlas, tokens.train())

    def made(workers: int, first: int = 0) -> list[Batch]:
        def phase_at(step: int) -> Phase:
            return phases[step >= 8]

        steps = feed(batches, first, phase_at, torch.device("cpu"), workers)
        return [next(steps) for _ in range(20 - first)]

    alone, shared = made(0), made(2)
    for step, (one, other) in enumerate(zip(alone, shared, strict=True)):
        assert torch.equal(one.picture, other.picture) and torch.equal(one.ids, other.ids)
        assert torch.equal(one.truth, other.truth) and one.captions == other.captions
        assert one.phase == phases[step >= 8] and bool(one.captions) == (step >= 8)
    # The scenes of an even step come back ECHO steps later, in the other language and a little moved.
    echoes = [(alone[step], alone[step - ECHO]) for step in (15, 17, 19)]
    assert all(torch.equal(a.spec.x, b.spec.x) and a.lang != b.lang for a, b in echoes)
    assert any(not torch.equal(a.picture, b.picture) for a, b in echoes)
    # A run that goes on in between draws again what it has not seen.
    resumed = made(0, first=11)
    assert all(torch.equal(a.spec.x, b.spec.x) for a, b in zip(alone[11:], resumed, strict=True))
