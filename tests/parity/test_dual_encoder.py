"""Our dual encoder against open_clip and transformers called directly on the same random weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

from core import checkpoints
from core.clip import encoders
from tests import tiny

SMALL_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
CONFIGS = {
    "vit": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 64, "layers": 3, "width": 64, "head_width": 16, "patch_size": 16},
        "text_cfg": SMALL_TEXT,
        "quick_gelu": True,
    },
    "resnet": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
        "text_cfg": SMALL_TEXT,
    },
}
TEXTS = ["a dog", "a photo of a very small red envelope on a wooden table.", "狗", "x" * 400]


def photos() -> list[Image.Image]:
    """Two images of awkward shape, from a seed."""
    generator = np.random.default_rng(0)
    return [
        Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for height, width in ((90, 150), (201, 64))
    ]


def open_clip_encoder(kind: str, folder: Path) -> tuple[encoders.DualEncoder, torch.nn.Module]:
    """A small open_clip model with random weights, loaded the way a row is; and the library's own object."""
    torch.manual_seed(0)
    model = open_clip.CLIP(**CONFIGS[kind]).eval()
    for parameter in model.parameters():
        # open_clip starts logits and projections near zero; a test of arithmetic wants them apart.
        if parameter.ndim:
            torch.nn.init.normal_(parameter, std=0.2)
    save_file({k: v.clone() for k, v in model.state_dict().items()}, folder / "model.safetensors")
    config = {"model_cfg": CONFIGS[kind], "preprocess_cfg": {"resize_mode": "shortest"}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    row = replace(checkpoints.row("clip-vit-b32"), name=f"test-{kind}")
    paths = {path.name: path for path in folder.iterdir()}
    return encoders.load_open_clip(paths, row, "cpu", torch.float32), model


@pytest.fixture(params=["vit", "resnet"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[encoders.DualEncoder, torch.nn.Module]:
    return open_clip_encoder(request.param, tmp_path)


@torch.inference_mode()
def test_image_features_are_open_clips(pair: tuple[encoders.DualEncoder, torch.nn.Module]) -> None:
    encoder, model = pair
    transform = open_clip.image_transform(64, is_train=False)
    pixels = torch.stack([transform(image) for image in photos()])
    expected = model.encode_image(pixels, normalize=True).numpy()
    np.testing.assert_allclose(encoder.encode_image(photos()), expected, atol=1e-5)
    image_features, patch_features = encoder.encode_patches(photos()[0])
    np.testing.assert_allclose(image_features, expected[0], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(patch_features, axis=-1), 1, atol=1e-5)


@torch.inference_mode()
def test_text_features_are_open_clips_without_its_padding(
    pair: tuple[encoders.DualEncoder, torch.nn.Module],
) -> None:
    encoder, model = pair
    tokens = open_clip.tokenize(TEXTS)  # [N, 77]
    expected = model.encode_text(tokens, normalize=True).numpy()
    np.testing.assert_allclose(encoder.encode_text(TEXTS), expected, atol=1e-5)


@torch.inference_mode()
def test_attention_rows_sum_to_one_and_rebuild_the_image_feature(tmp_path: Path) -> None:
    encoder, model = open_clip_encoder("resnet", tmp_path)
    attention = encoder.attention(photos()[0])  # [1, heads, T, T]
    np.testing.assert_allclose(attention.sum(-1), 1, atol=1e-5)
    # The pooled feature is what the class row of the attention makes of the values.
    pool = model.visual.attnpool
    x = model.visual.forward_intermediates(
        encoder.pixels(photos()[:1]), indices=[4], intermediates_only=True
    )["image_intermediates"][0]
    tokens = x.flatten(2).transpose(1, 2)
    tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1) + pool.positional_embedding
    heads = attention.shape[1]
    values = pool.v_proj(tokens)[0].unflatten(-1, (heads, -1))  # [T, heads, W / heads]
    mixed = torch.einsum("ht,thw->hw", torch.from_numpy(attention[0, :, 0]), values).flatten()
    rebuilt = F.normalize(pool.c_proj(mixed), dim=-1).numpy()
    np.testing.assert_allclose(rebuilt, encoder.encode_image(photos()[:1])[0], atol=1e-5)


@torch.inference_mode()
def test_vit_attention_rebuilds_the_last_block(tmp_path: Path) -> None:
    encoder, model = open_clip_encoder("vit", tmp_path)
    pixels = encoder.pixels(photos()[:1])
    attention = encoder.vision.attention(pixels)[:, -1]  # [B, heads, T, T]
    x = model.visual._embeds(pixels)
    for block in model.visual.transformer.resblocks[:-1]:
        x = block(x)
    block = model.visual.transformer.resblocks[-1]
    width = x.shape[-1]
    values = F.linear(
        block.ln_1(x), block.attn.in_proj_weight[2 * width :], block.attn.in_proj_bias[2 * width :]
    )
    mixed = attention @ values.unflatten(-1, (attention.shape[1], -1)).transpose(1, 2)
    y = x + block.attn.out_proj(mixed.transpose(1, 2).flatten(2))
    y = y + block.mlp(block.ln_2(y))
    np.testing.assert_allclose(y.numpy(), block(x).numpy(), atol=1e-4)


def test_stages_carry_gradients(pair: tuple[encoders.DualEncoder, torch.nn.Module]) -> None:
    encoder, _ = pair
    pixels = torch.rand(1, 3, 64, 64, requires_grad=True)
    stages = encoder.stages(pixels)
    sum(stage.square().sum() for stage in stages.values()).backward()
    assert pixels.grad is not None and pixels.grad.abs().sum() > 0
    assert all(stage.ndim == 4 for stage in stages.values())


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    encoder, model = open_clip_encoder("vit", tmp_path)
    state = {k: v.clone() for k, v in model.state_dict().items() if k != "visual.proj"}
    with pytest.raises(encoders.Refusal, match=r"visual\.proj"):
        encoders.put_state(model, state, encoder.row)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    state["visual.extra"] = torch.zeros(1)
    with pytest.raises(encoders.Refusal, match=r"visual\.extra"):
        encoders.put_state(model, state, encoder.row)


@torch.inference_mode()
def test_chinese_clip_is_transformers(tmp_path: Path) -> None:
    from transformers import BertTokenizerFast, ChineseCLIPImageProcessor, ChineseCLIPModel

    tiny.make_chinese_clip(tmp_path)
    model = ChineseCLIPModel.from_pretrained(tmp_path, local_files_only=True).eval()
    paths = {path.name: path for path in tmp_path.iterdir()}
    row = checkpoints.row("chinese-clip-b16")
    encoder = encoders.load_chinese_clip(paths, row, "cpu", torch.float32)

    texts = ["站立的羊", "进食的羊，躺着的羊。", "dog"]
    tokens = BertTokenizerFast.from_pretrained(tmp_path)(texts, padding=True, return_tensors="pt")
    expected = F.normalize(model.get_text_features(**tokens).pooler_output, dim=-1).numpy()
    np.testing.assert_allclose(encoder.encode_text(texts), expected, atol=1e-5)

    pixels = ChineseCLIPImageProcessor.from_pretrained(tmp_path)(images=photos(), return_tensors="pt")
    expected = F.normalize(model.get_image_features(**pixels).pooler_output, dim=-1).numpy()
    np.testing.assert_allclose(encoder.encode_image(photos()), expected, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_patches(photos()[0])[0], expected[0], atol=1e-5)
    assert encoder.preprocess.crop(150, 90) == (0, 0, 150, 90)
    assert encoder.logit_scale == pytest.approx(float(model.logit_scale.exp()))
