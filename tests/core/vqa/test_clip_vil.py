"""CLIP-ViL's rows: towers and heads of a file, answers with where the head looked, the grid of a CLIP row; BLIP's answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core import checkpoints
from core.checkpoints import registry
from core.checkpoints.registry import File
from core.errors import Refusal
from core.vqa.clip_vil import grid, mcan
from core.vqa.clip_vil.blip import BlipVQA
from core.vqa.clip_vil.models import ENCODERS, CLIPViL, GridEncoder, random_tower

ROW = "classroom-clip-vil"
VISION = {"layers": [1, 1, 1, 1], "width": 16, "image_size": 64}
IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 140, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def model() -> CLIPViL:
    """The bundled row."""
    return CLIPViL.load(ROW, "cpu")


@pytest.mark.parametrize(
    ("size", "seen"), [((140, 90), (600, 1000)), ((90, 140), (600, 1000)), ((3000, 100), (600, 1000))]
)
def test_every_image_is_squashed_to_one_size(size: tuple[int, int], seen: tuple[int, int]) -> None:
    assert grid.resized(Image.new("RGB", size)).size[::-1] == seen


def test_a_view_without_a_size_keeps_the_shape() -> None:
    view = grid.GridView(60, 100, None)
    assert grid.resized(Image.new("RGB", (140, 90)), view).size == (93, 60)
    assert grid.resized(Image.new("RGB", (10, 300)), view).size == (3, 100)


def test_positions_are_resized_and_the_first_row_stays() -> None:
    positions = torch.randn(50, 8)
    same, larger = (grid.resized_positions(positions, (side, side)) for side in (7, 14))
    assert torch.allclose(same, positions, atol=1e-5)
    assert larger.shape == (197, 8) and torch.equal(larger[0], positions[0])


def test_a_random_tower_is_that_of_its_seed() -> None:
    one, same, other = (random_tower(VISION, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(one["conv1.weight"], same["conv1.weight"])
    assert not torch.equal(one["conv1.weight"], other["conv1.weight"])


def test_padding_is_not_read() -> None:
    """Words behind the end and places of zeros change nothing."""
    torch.manual_seed(0)
    net = mcan.MCAN(mcan.MCANSettings(20, 5, 6, 8, 16, 2, 1, 16, 8, 1, 12)).eval()
    features, ids = torch.randn(1, 4, 6), torch.tensor([[3, 4, 5]])
    wanted = net(features, ids)
    padded = net(torch.cat([features, torch.zeros(1, 2, 6)], 1), torch.tensor([[3, 4, 5, 0, 0]]))
    assert torch.allclose(wanted, padded, atol=1e-5)


def test_rows_and_columns_are_learned_and_spread_over_another_grid() -> None:
    torch.manual_seed(0)
    net = mcan.MCAN(mcan.MCANSettings(20, 5, 6, 8, 16, 2, 1, 16, 8, 1, 12, places=5)).eval()
    ids, features = torch.tensor([[3, 4, 5]]), torch.ones(1, 9, 6)
    looked = net.look(features, ids, (3, 3))
    assert looked.over_grid.shape == (1, 9) and looked.guided.shape == (1, 9, 3)
    assert torch.allclose(looked.over_grid.sum(), torch.tensor(1.0))
    # Places that look alike are told apart by where they are.
    assert looked.over_grid.std() > 0
    assert not torch.allclose(net(features, ids, (3, 3)), net(features, ids, (1, 9)))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_encoder_answers_and_tells_where_it_looked(model: CLIPViL, encoder: str) -> None:
    found = model.answer(IMAGE, "what is this?", encoder)
    rows, columns = found.attention.shape
    assert found.grid_features.shape == (640, rows, columns) and found.guided.shape[:2] == (rows, columns)
    assert np.isclose(found.attention.sum(), 1, atol=1e-4)
    assert found.probabilities.shape == (len(found.answers),) and (found.probabilities <= 1).all()
    told = found.to_json()
    assert told["answer"] == found.best == told["results"][0]["answer"] and told["encoder"] == encoder


def test_encoders_share_an_architecture_and_differ_in_weights(model: CLIPViL) -> None:
    features = {name: model.encode(IMAGE, name).grid_features for name in ENCODERS}
    assert len({one.shape for one in features.values()}) == 1
    assert not np.allclose(features["clip"], features["supervised"])
    assert not np.allclose(features["random"], features["supervised"])


def test_the_answer_has_the_language_of_the_question(model: CLIPViL) -> None:
    english, chinese = model.answer(IMAGE, "what is this?"), model.answer(IMAGE, "这是什么？")
    assert english.answers[0] == "dog" or english.answers[0].isascii()
    assert not chinese.answers[0].isascii() and len(english.answers) == len(chinese.answers)


@pytest.mark.parametrize(
    ("question", "encoder", "code"), [("", "clip", "no_text"), ("what?", "vgg", "unknown_method")]
)
def test_what_cannot_be_answered_is_refused(model: CLIPViL, question: str, encoder: str, code: str) -> None:
    with pytest.raises(Refusal) as caught:
        model.answer(IMAGE, question, encoder)
    assert caught.value.code == code


def test_a_file_that_lacks_a_tensor_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    row = checkpoints.row(ROW)
    state = load_file(row.folder / "model.safetensors")
    del state["heads.clip.proj.bias"]
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "answers.json").write_bytes((row.folder / "answers.json").read_bytes())
    files = tuple(File(file.path) for file in row.files)
    registry.add(replace(row, name="broken-clip-vil", bundled=str(tmp_path), files=files))
    with pytest.raises(Refusal) as caught:
        CLIPViL.load("broken-clip-vil", "cpu")
    assert caught.value.code == "bad_checkpoint" and caught.value.params["tensor"] == "proj.bias"


def test_the_grid_of_a_clip_row_and_a_row_without_one() -> None:
    features = GridEncoder.load("classroom-rn", "cpu").encode(IMAGE, grid.GridView(64, 64, (64, 96)))
    assert features.shape == (2, 3, 640)
    with pytest.raises(Refusal) as caught:
        GridEncoder.load("classroom-vit", "cpu").encode(IMAGE)
    assert caught.value.code == "no_grid"


def test_the_clip_encoder_is_that_of_the_clip_row(model: CLIPViL) -> None:
    side = checkpoints.row(ROW).options["side"]
    view = grid.GridView(side, side, (side, side))
    wanted = GridEncoder.load("classroom-rn", "cpu").encode(IMAGE, view)
    np.testing.assert_allclose(model.encode(IMAGE).grid_features, wanted, atol=1e-3)


def test_blip_is_transformers_own(tmp_path: Path) -> None:
    from transformers import BertTokenizer, BlipConfig, BlipForQuestionAnswering, BlipImageProcessor

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "what", "is", "this", "?", "a", "dog", "two"]
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BlipConfig(
        text_config={
            **size, "vocab_size": len(words), "encoder_hidden_size": 32, "bos_token_id": 2, "eos_token_id": 3,
            "sep_token_id": 3, "pad_token_id": 0, "max_position_embeddings": 24,
        },
        vision_config={**size, "image_size": 32, "patch_size": 16},
        projection_dim=16,
    )  # fmt: skip
    torch.manual_seed(0)
    net = BlipForQuestionAnswering(config).eval()
    for parameter in net.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    net.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    BlipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    row = checkpoints.row("blip-vqa-base")
    files = tuple(File(file.path) for file in row.files)
    registry.add(replace(row, name="tiny-blip", repo=None, bundled=str(tmp_path), files=files))
    found = BlipVQA.load("tiny-blip", "cpu").answer(IMAGE, "what is this?")
    ids = BertTokenizer(str(tmp_path / "vocab.txt"))("what is this?", return_tensors="pt")
    pixels = BlipImageProcessor(size={"height": 32, "width": 32})(images=IMAGE, return_tensors="pt")
    with torch.inference_mode():
        wanted = net.generate(
            ids["input_ids"], pixels["pixel_values"], ids["attention_mask"], num_beams=3, max_new_tokens=10,
            length_penalty=0.0,
        )  # fmt: skip
    tokenizer = BertTokenizer(str(tmp_path / "vocab.txt"))
    assert found.best == tokenizer.decode(wanted[0], skip_special_tokens=True).strip()
    assert 0 < found.probabilities.max() <= 1 and found.words[1:4] == ("what", "is", "this")
    with pytest.raises(Refusal):
        BlipVQA.load("tiny-blip", "cpu").answer(IMAGE, "what is this?", "clip")
