"""SigLIP 2 against transformers called directly on the same random weights, and its full-size rows by name and shape."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

from core import checkpoints
from core.clip import encoders, siglip
from core.clip.zero_shot import ZeroShot, normalise
from tests import tiny
from tests.conftest import Rows

TEXTS = ["a dog", "Two DOGS on a red rug", "躺着的羊", "a dog " * 60]


def photos() -> list[Image.Image]:
    """Two images of awkward shape, from a seed."""
    generator = np.random.default_rng(0)
    return [
        Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for height, width in ((90, 150), (201, 64))
    ]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[encoders.DualEncoder, Any, Path]:
    """A tiny model loaded the way a row is, transformers' own object, and the folder of both."""
    folder = tmp_path_factory.mktemp("siglip")
    tiny.make_siglip(folder)
    paths = {path.name: path for path in folder.iterdir()}
    encoder = siglip.load_siglip(paths, checkpoints.row("siglip2-b16"), "cpu", torch.float32)
    return encoder, SiglipModel.from_pretrained(folder, local_files_only=True).eval(), folder


def padded(folder: Path, texts: list[str], length: int) -> torch.Tensor:
    """The ids as transformers' SigLIP 2 tokenizer makes them: lower case, 64 places, padding included."""
    from transformers import Siglip2Tokenizer

    tokenizer = Siglip2Tokenizer.from_pretrained(folder, local_files_only=True)
    batch = tokenizer(
        texts,
        padding="max_length",
        truncation=True,
        max_length=length,
        padding_side="right",
        return_tensors="pt",
    )
    return batch["input_ids"]


def test_ids_are_lower_case_with_an_end_piece_and_at_most_64(
    pair: tuple[encoders.DualEncoder, Any, Path],
) -> None:
    encoder, model, folder = pair
    ids = encoder.text.tokenize(TEXTS)
    length = model.config.text_config.max_position_embeddings
    assert encoder.text.tokenize(["TWO dogs"]) == encoder.text.tokenize(["two DOGS"])
    assert max(map(len, ids)) == length == len(ids[3])
    pieces = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    assert {text[-1] for text in ids} == {pieces["<eos>"]}
    assert all(pieces["<bos>"] not in text and pieces["<pad>"] not in text for text in ids)


@torch.inference_mode()
def test_text_features_are_transformers(pair: tuple[encoders.DualEncoder, Any, Path]) -> None:
    encoder, model, folder = pair
    length = model.config.text_config.max_position_embeddings
    tokens = padded(folder, TEXTS, length)
    assert tokens.shape == (len(TEXTS), length)
    expected = F.normalize(model.get_text_features(input_ids=tokens).pooler_output, dim=-1).numpy()
    np.testing.assert_allclose(encoder.encode_text(TEXTS), expected, atol=1e-5)
    # The same text alone and in a batch of longer ones: padding is part of what it is.
    np.testing.assert_allclose(encoder.encode_text(TEXTS[:1]), expected[:1], atol=1e-5)


@torch.inference_mode()
def test_image_features_logits_and_probabilities_are_transformers(
    pair: tuple[encoders.DualEncoder, Any, Path],
) -> None:
    encoder, model, folder = pair
    pixels = SiglipImageProcessor.from_pretrained(folder)(images=photos(), return_tensors="pt")[
        "pixel_values"
    ]
    length = model.config.text_config.max_position_embeddings
    output = model(input_ids=padded(folder, TEXTS, length), pixel_values=pixels)
    images, texts = encoder.encode_image(photos()), encoder.encode_text(TEXTS)
    np.testing.assert_allclose(images, output.image_embeds.numpy(), atol=1e-5)
    np.testing.assert_allclose(encoder.encode_patches(photos()[0])[0], images[0], atol=1e-5)
    assert encoder.logit_bias == pytest.approx(float(model.logit_bias))
    logits = encoder.logit_scale * images @ texts.T + encoder.logit_bias
    np.testing.assert_allclose(logits, output.logits_per_image.numpy(), atol=1e-4)
    np.testing.assert_allclose(
        normalise(logits, "sigmoid"), torch.sigmoid(output.logits_per_image).numpy(), atol=1e-5
    )
    assert encoder.preprocess.crop(150, 90) == (0, 0, 150, 90)


@torch.inference_mode()
def test_the_probe_read_over_patches_rebuilds_the_image_feature(
    pair: tuple[encoders.DualEncoder, Any, Path],
) -> None:
    encoder, model, _ = pair
    pixels = encoder.pixels(photos()[:1])
    attention = encoder.vision.attention(pixels)  # [1, 1, heads, T, T]
    torch.testing.assert_close(attention.sum(-1), torch.ones(attention.shape[:-1]))
    head, x = model.vision_model.head, model.vision_model(pixels).last_hidden_state
    width, heads = x.shape[-1], attention.shape[2]
    pool = head.attention
    values = F.linear(x[0], pool.in_proj_weight[2 * width :], pool.in_proj_bias[2 * width :])
    values = values.unflatten(-1, (heads, -1))  # [h*w, heads, W / heads]
    mixed = pool.out_proj(torch.einsum("ht,thw->hw", attention[0, 0, :, 0, 1:], values).flatten())
    rebuilt = mixed + head.mlp(head.layernorm(mixed))
    np.testing.assert_allclose(
        F.normalize(rebuilt, dim=-1).numpy(), encoder.encode_image(photos()[:1])[0], atol=1e-5
    )


@torch.inference_mode()
def test_a_picture_of_one_patch_is_its_own_patch_feature(tmp_path: Path) -> None:
    tiny.make_siglip(tmp_path, image_size=16)
    paths = {path.name: path for path in tmp_path.iterdir()}
    encoder = siglip.load_siglip(paths, checkpoints.row("siglip2-b16"), "cpu", torch.float32)
    # Attention over a single place is that place: the value path is then exact.
    image_features, patch_features = encoder.encode_patches(photos()[0])
    assert patch_features.shape[:2] == (1, 1)
    np.testing.assert_allclose(patch_features[0, 0], image_features, atol=1e-5)


def test_stages_carry_gradients(pair: tuple[encoders.DualEncoder, Any, Path]) -> None:
    encoder, model, _ = pair
    pixels = encoder.pixels(photos()[:1]).requires_grad_()
    seen = encoder.vision.see(pixels)
    assert tuple(seen.maps) == encoder.vision.stage_names
    assert all(stage.ndim == 4 for stage in seen.maps.values())
    with torch.no_grad():
        expected = model.get_image_features(pixel_values=pixels).pooler_output
    torch.testing.assert_close(seen.image_features.detach(), expected)
    sum(stage.square().sum() for stage in encoder.stages(pixels).values()).backward()
    assert pixels.grad is not None and pixels.grad.abs().sum() > 0


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tiny.make_siglip(tmp_path)
    weights = tmp_path / "model.safetensors"
    state = {k: v for k, v in load_file(weights).items() if k != "vision_model.head.probe"}
    save_file(state, weights, metadata={"format": "pt"})
    paths = {path.name: path for path in tmp_path.iterdir()}
    with pytest.raises(encoders.Refusal, match=r"vision_model\.head\.probe"):
        siglip.load_siglip(paths, checkpoints.row("siglip2-b16"), "cpu", torch.float32)


def test_sigmoid_probabilities_are_each_labels_own_and_never_warn() -> None:
    logits = np.array([-1000, -17.0, 0.0, 30.0, 1000], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probabilities = normalise(logits, "sigmoid")
    np.testing.assert_allclose(
        probabilities, [0, 1 / (1 + math.exp(17)), 0.5, 1 / (1 + math.exp(-30)), 1], rtol=1e-5
    )


def test_a_sigmoid_row_classifies_without_sharing_out(tmp_path: Path, rows: Rows) -> None:
    tiny.make_siglip(tmp_path / "bundle")
    rows(tiny.row("test-sigmoid", tmp_path / "bundle", "sigmoid", "core.clip.siglip:load_siglip"))
    clip = ZeroShot.load("test-sigmoid", "cpu")
    photo = photos()[0]
    alone = clip.classify(photo, ["a dog"])
    among = clip.classify(photo, ["a dog", "a cat", "a red envelope"])
    assert among.normalisation == "sigmoid" and among.logit_bias != 0
    # A label's probability does not depend on its company.
    np.testing.assert_allclose(alone.probabilities[0], among.probabilities[0], rtol=1e-4)
    assert abs(float(among.probabilities.sum()) - 1) > 1e-3


@pytest.mark.parametrize(
    ("name", "sizes", "parameters"),
    [
        ("siglip2-b16", {"image_size": 224, "patch_size": 16}, 375_187_970),
        ("siglip2-b32", {"image_size": 256, "patch_size": 32}, 376_856_066),
    ],
)
def test_a_full_size_row_has_the_published_names_and_shapes(
    name: str, sizes: dict[str, int], parameters: int
) -> None:
    """The tensors that the pinned files hold: their bytes are the size that the row tells a visitor."""
    config = SiglipConfig(text_config={"vocab_size": 256_000}, vision_config=sizes)
    with torch.device("meta"):
        state = SiglipModel(config).state_dict()
    assert sum(tensor.numel() for tensor in state.values()) == parameters
    side = sizes["image_size"] // sizes["patch_size"]
    shapes = {key: tuple(state[key].shape) for key in state}
    assert shapes["vision_model.embeddings.patch_embedding.weight"] == (768, 3, *(sizes["patch_size"],) * 2)
    assert shapes["vision_model.embeddings.position_embedding.weight"] == (side * side, 768)
    assert shapes["vision_model.head.probe"] == (1, 1, 768)
    assert shapes["text_model.embeddings.token_embedding.weight"] == (256_000, 768)
    assert shapes["text_model.embeddings.position_embedding.weight"] == (64, 768)
    assert shapes["text_model.head.weight"] == (768, 768)
    assert shapes["logit_scale"] == shapes["logit_bias"] == (1,)
    # Weights in 32 bits, and 34.4 MB of tokenizer.
    assert checkpoints.row(name).size_bytes == pytest.approx(4 * parameters + 34.4e6, rel=2e-3)
