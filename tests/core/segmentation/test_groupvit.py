"""GroupViT on a few thousand weights: grouping, composition, background, names from an oracle, losses."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from core import checkpoints
from core.segmentation import GroupViT, grouping, groupvit, oracle
from tests import tiny
from tests.conftest import Rows

pytestmark = pytest.mark.usefixtures("forget")

CONFIG: dict[str, Any] = {
    "projection_dim": 12,
    "projection_intermediate_dim": 20,
    "text_config": {
        "vocab_size": tiny.tokenizer().get_vocab_size(), "hidden_size": 32, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 12, "hidden_act": "gelu",
        "eos_token_id": tiny.tokenizer().get_vocab_size() - 1,
    },
    "vision_config": {
        "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 3, "depths": [1, 1, 1],
        "num_group_tokens": [6, 3, 0], "num_output_groups": [6, 3, 3], "num_attention_heads": 2, "image_size": 32,
        "patch_size": 8, "assign_mlp_ratio": [0.5, 2],
    },
}  # fmt: skip
LABELS = ["dog", "cat", "red envelope", "sheep"]


@pytest.fixture(scope="module", autouse=True)
def registry(tmp_path_factory: pytest.TempPathFactory, module_rows: Rows) -> None:
    folder = tmp_path_factory.mktemp("bundles")
    tiny.make_bundle(folder / "clip")
    torch.manual_seed(0)
    state = {k: v for k, v in groupvit.build(CONFIG).state_dict().items() if not k.startswith("text_model.")}
    (folder / "group").mkdir()
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "group" / "model.safetensors")
    (folder / "group" / "config.json").write_text(json.dumps(CONFIG))
    rows = tiny.row("tiny-group", folder / "group", loader="core.segmentation.groupvit:load_miniature")
    digest = hashlib.sha256((folder / "clip" / "model.safetensors").read_bytes()).hexdigest()
    head, files = rows.split("[[tiny-group.files]]", 1)
    module_rows(
        tiny.row("tiny-soft", folder / "clip"),
        f"{head}[tiny-group.options]\nshort_side = 32\n"
        f'[tiny-group.requires]\ntiny-soft = "{digest}"\n[[tiny-group.files]]{files}',
    )


@pytest.mark.parametrize("size", [(60, 40), (33, 33), (20, 300), (5, 5)])
def test_pictures_of_any_size(size: tuple[int, int]) -> None:
    found = GroupViT.load("tiny-group", "cpu").segment(tiny.noise(*size), LABELS, threshold=0)
    assert found.mask.shape == found.groups.shape == (size[1], size[0])
    assert found.mask.min() >= 0 and found.scores.shape == (3, 4)
    first, last = found.stages
    assert first.shape[0] == 6 and last.shape[0] == 3 and first.shape[1:] == last.shape[1:]
    # Every patch belongs to the groups in shares.
    np.testing.assert_allclose(first.sum(0), 1, atol=1e-5)
    np.testing.assert_allclose(last.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(found.group_labels[found.groups], found.mask)
    assert found.shares.sum() == pytest.approx(1)


def test_threshold_names_less_and_less_but_never_nothing() -> None:
    model = GroupViT.load("tiny-group", "cpu")
    encoded = model.encode(tiny.noise(60, 40))
    named = [int((model.segment(encoded, LABELS, t).group_labels >= 0).sum()) for t in (0.0, 0.02, 0.1, 1.0)]
    assert named[0] == 3 and named == sorted(named, reverse=True) and named[-1] == 1
    lines = [model.segment(encoded, LABELS, t) for t in (0.01, 1.0)]
    assert lines[0].line == 0.01 and lines[1].line == pytest.approx(lines[1].scores.max())


def test_order_of_labels_does_not_matter() -> None:
    model = GroupViT.load("tiny-group", "cpu")
    order = [2, 0, 3, 1]
    there, back = (
        model.segment(tiny.noise(60, 40), LABELS, 0),
        model.segment(tiny.noise(60, 40), [LABELS[i] for i in order], 0),
    )
    np.testing.assert_allclose(back.scores, there.scores[:, order], atol=1e-6)
    np.testing.assert_array_equal(np.array(order)[back.mask], there.mask)


def test_a_changed_label_encodes_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    model = GroupViT.load("tiny-group", "cpu")
    model.segment(tiny.noise(60, 40), LABELS)
    asked: list[str] = []
    original = groupvit._encode_text
    monkeypatch.setattr(groupvit, "_encode_text", lambda m, texts: asked.extend(texts) or original(m, texts))
    monkeypatch.setattr(groupvit, "_encode_image", lambda *_: pytest.fail("the picture was encoded again"))
    model.segment(tiny.noise(60, 40), [*LABELS, "money"])
    assert asked == ["a photo of a money."]


def test_results_pickle() -> None:
    found = GroupViT.load("tiny-group", "cpu").segment(tiny.noise(60, 40), LABELS)
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.mask, found.mask)
    told = found.to_json()
    assert {row["label"] for row in told["results"]} == {*LABELS, None}
    assert sum(row["share"] for row in told["results"]) == pytest.approx(1)


def test_the_text_tower_is_open_clips(tmp_path: Path) -> None:
    tiny.make_bundle(tmp_path)
    config = json.loads((tmp_path / "open_clip_config.json").read_text())["model_cfg"]
    clip = open_clip.CLIP(**config).eval()
    clip.load_state_dict(load_file(tmp_path / "model.safetensors"))
    model = groupvit.build(CONFIG).eval()
    report = model.load_state_dict(groupvit.text_tower(clip.state_dict()), strict=False)
    assert not report.unexpected_keys
    assert not [name for name in report.missing_keys if name.startswith("text_model.")]
    end = tiny.tokenizer().get_vocab_size() - 1
    ids = torch.tensor([[1, 3, 4, 5, end, 0, 0], [1, 7, 8, end, 0, 0, 0]])
    with torch.inference_mode():
        x = clip.token_embedding(ids) + clip.positional_embedding[:7]
        x = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask[:7, :7]))
        expected = x[torch.arange(2), ids.argmax(1)]
        torch.testing.assert_close(model.text_model(ids).pooler_output, expected, atol=1e-5, rtol=1e-4)


def test_a_published_folder_loads_as_transformers_wrote_it(tmp_path: Path) -> None:
    from transformers import GroupViTConfig, GroupViTModel

    text = {
        **CONFIG["text_config"],
        "vocab_size": 49408,
        "max_position_embeddings": 77,
        "eos_token_id": 49407,
    }
    published = GroupViTModel(GroupViTConfig(**{**CONFIG, "text_config": text})).eval()
    published.config.save_pretrained(tmp_path)
    # Files of 2022 hold the ids of places too, which no model reads.
    state = {**published.state_dict(), "text_model.embeddings.position_ids": torch.arange(77)[None]}
    torch.save(state, tmp_path / "pytorch_model.bin")
    row = replace(
        checkpoints.row("tiny-group"), options={"model": "ViT-B-32-quickgelu", "short_side": 64}, requires={}
    )
    paths = {path.name: path for path in tmp_path.iterdir()}
    loaded = groupvit.load_groupvit(paths, row, "cpu", torch.float32)
    assert loaded.pixels(tiny.noise(60, 40)).shape == (1, 3, 64, 96)
    ids = open_clip.tokenize(["a photo of a dog.", "two"])
    with torch.inference_mode():
        expected = published.get_text_features(ids).pooler_output
        torch.testing.assert_close(loaded.texts(["a photo of a dog.", "two"]), expected, atol=1e-5, rtol=1e-4)


def test_assignment_is_hard_forward_and_soft_backward() -> None:
    torch.manual_seed(0)
    similarity = torch.randn(2, 4, 7, requires_grad=True)
    weights = torch.randn(2, 4, 7)
    chosen = grouping.assign(similarity, noise=False)
    hard = F.one_hot(similarity.argmax(1), 4).transpose(1, 2).float()
    torch.testing.assert_close(chosen.detach(), hard)
    (chosen * weights).sum().backward()
    copy = similarity.detach().clone().requires_grad_()
    (copy.softmax(1) * weights).sum().backward()
    torch.testing.assert_close(similarity.grad, copy.grad)


def test_a_soft_assignment_is_the_softmax_with_or_without_noise() -> None:
    torch.manual_seed(0)
    similarity = torch.randn(2, 4, 7)
    torch.testing.assert_close(grouping.assign(similarity, noise=False, hard=False), similarity.softmax(1))
    noisy = grouping.assign(similarity, noise=True, hard=False)
    torch.testing.assert_close(noisy.sum(1), torch.ones(2, 7))
    assert noisy.min() > 0 and noisy.max() < 1


def test_gumbel_noise_draws_groups_by_their_probabilities() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([0.0, 1.0, 2.0])
    drawn = grouping.assign(logits[None, :, None].expand(1, 3, 60_000), noise=True)
    torch.testing.assert_close(drawn.mean((0, 2)), logits.softmax(0), atol=0.01, rtol=0)


def test_composition_is_a_product_over_the_middle_groups() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(1, 5, 9).softmax(1), torch.randn(1, 2, 5).softmax(1)
    both = grouping.compose([first, second])
    expected = sum(second[:, :, i, None] * first[:, None, i] for i in range(5))
    torch.testing.assert_close(both[1], expected)
    torch.testing.assert_close(both[1].sum(1), torch.ones(1, 9))


def test_oracle_labels_are_the_majority() -> None:
    groups = np.array([[0, 0, 1], [0, 2, 1]])
    truth = np.array([[1, 1, -1], [0, 0, -1]])
    np.testing.assert_array_equal(oracle.oracle_labels(groups, truth, 2), [1, -1, 0])


def test_foreground_iou_leaves_the_background_out() -> None:
    truth = np.array([[0, 0, 1, -1], [0, 0, 1, -1]])
    mask = np.array([[0, 0, -1, -1], [0, 1, 1, 2]])
    # 3 of 4 and 1 of 3; label 2 is in no truth, and -1 is no label.
    assert oracle.foreground_iou(mask, truth, 3) == pytest.approx((3 / 4 + 1 / 3) / 2)
    assert oracle.foreground_iou(truth, truth, 3) == 1
    assert oracle.foreground_iou(mask, np.full((2, 4), -1), 3) == 0


def test_right_names_tell_bad_names_from_bad_groups() -> None:
    found = GroupViT.load("tiny-group", "cpu").segment(tiny.noise(60, 40), LABELS, 0)
    # Where the truth is the groups themselves under other names, naming is all that can be wrong.
    truth = np.array([2, -1, 0])[found.groups]
    right = oracle.right_names(found, truth)
    assert right.right == 1 and len(right.group_labels) == len(found.group_labels) == 3
    assert right.own == pytest.approx(oracle.foreground_iou(found.mask, truth, len(LABELS)))
    np.testing.assert_array_equal(right.mask, truth)


def test_a_map_of_many_groups_is_the_one_of_all_at_once() -> None:
    encoded = GroupViT.load("tiny-group", "cpu").encode(tiny.noise(60, 40))
    generator = np.random.default_rng(1)
    stages = (generator.random((20, 4, 6), np.float32),)
    many = replace(encoded, stages=stages)
    maps = F.interpolate(torch.from_numpy(stages[0])[None], (40, 60), mode="bilinear", align_corners=False)[0]
    np.testing.assert_array_equal(many.group_map(), maps.argmax(0).numpy())


def test_a_row_may_have_a_threshold_of_its_own() -> None:
    assert groupvit.row_threshold("tiny-group") == groupvit.THRESHOLD


def test_losses_are_the_papers() -> None:
    torch.manual_seed(0)
    image, text = F.normalize(torch.randn(3, 5), dim=-1), F.normalize(torch.randn(6, 5), dim=-1)
    scale = torch.tensor(4.0)
    logits = (4 * image @ text.T).tolist()
    truth = torch.tensor([[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]]).bool()
    rows = [
        -math.log(sum(math.exp(logits[i][2 * i + m]) for m in (0, 1)) / sum(map(math.exp, logits[i])))
        for i in range(3)
    ]
    columns = [
        -math.log(math.exp(logits[j // 2][j]) / sum(math.exp(logits[i][j]) for i in range(3)))
        for j in range(6)
    ]
    expected = (sum(rows) / 3 + sum(columns) / 6) / 2
    assert grouping.multi_label_contrast(image, text, truth, scale).item() == pytest.approx(
        expected, rel=1e-5
    )
    # With one text an image it is CLIP's loss.
    one = grouping.multi_label_contrast(image, text[:3], torch.eye(3).bool(), scale)
    torch.testing.assert_close(one, grouping.contrast(image, text[:3], scale))


def test_a_single_group_is_enough_for_a_noun() -> None:
    text = torch.eye(3)[:2]
    truth = torch.tensor([[True, False], [False, True]])
    found = torch.stack([torch.eye(3)[[0, 2]], torch.eye(3)[[1, 2]]])  # one group each is what the noun says
    mixed = torch.nn.functional.normalize(found.mean(1, keepdim=True).expand(-1, 2, -1), dim=-1)
    scale = torch.tensor(10.0)
    good = grouping.group_contrast(found, text, truth, scale)
    assert good < 0.01 and good < grouping.group_contrast(mixed, text, truth, scale)
    # An image that is one group is the paper's loss.
    one = grouping.group_contrast(mixed[:, :1], text, truth, scale)
    torch.testing.assert_close(one, grouping.multi_label_contrast(mixed[:, 0], text, truth, scale))


def test_uneven_use_of_groups_is_measured() -> None:
    even = torch.full((2, 4, 6), 0.25)
    one = torch.zeros(2, 4, 6)
    one[:, 0] = 1
    assert float(grouping.spread([even])) == pytest.approx(0, abs=1e-6)
    assert float(grouping.spread([one, even])) == pytest.approx(np.log(4), abs=1e-5)


def test_groups_of_one_look_leave_nothing_unexplained() -> None:
    patches = torch.tensor([[[0.0], [0.0], [4.0], [4.0]]])
    split = torch.tensor([[[1.0, 1, 0, 0], [0, 0, 1, 1]]])
    mixed = torch.tensor([[[1.0, 0, 1, 0], [0, 1, 0, 1]]])
    assert float(grouping.unexplained([split], patches)) == pytest.approx(0)
    assert float(grouping.unexplained([mixed], patches)) == pytest.approx(1)
    # Through two blocks: the first tells four apart, the second puts them together again.
    assert float(grouping.unexplained([torch.eye(4)[None], mixed], patches)) == pytest.approx(1)


def test_groups_are_asked_for_what_is_said_of_their_own_places() -> None:
    said = torch.eye(4)[[0, 0, 1, 1]][None]  # [B, P, D]
    split = torch.tensor([[[0.9, 0.9, 0.2, 0.2], [0.1, 0.1, 0.8, 0.8], [0.0, 0.0, 0.0, 0.0]]])
    right = torch.eye(4)[[0, 1, 3]][None]  # the third group has no place: nothing is asked of it
    assert float(grouping.unlike(right, [split], said)) == pytest.approx(0)
    assert float(grouping.unlike(right[:, [1, 0, 2]], [split], said)) == pytest.approx(1)
    assert float(grouping.unlike(torch.eye(4)[[0, 0, 0]][None], [split], said)) == pytest.approx(0.5)


def test_a_noun_that_one_group_answers_to_is_decided() -> None:
    text, truth, scale = torch.eye(4)[:2], torch.tensor([[True, False]]), torch.tensor(30.0)
    one = torch.eye(4)[[0, 2, 3]][None]
    assert float(grouping.undecided(one, text, truth, scale)) < 0.01
    all_alike = torch.eye(4)[[0, 0, 0]][None]
    assert float(grouping.undecided(all_alike, text, truth, scale)) == pytest.approx(np.log(3), abs=1e-5)
