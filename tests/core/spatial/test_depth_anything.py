"""Depth Anything V2 through its own loader, with a configuration of a few thousand random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from core import inputs
from core.errors import Refusal
from core.spatial.depth_anything import DepthAnything
from tests import tiny

SIDE = 28  # pixels that the model sees, two patches of 14


def config() -> dict[str, object]:
    """The published architecture with fewer and narrower layers."""
    backbone = {
        "model_type": "dinov2",
        "hidden_size": 16,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "mlp_ratio": 2,
        "image_size": SIDE,
        "patch_size": 14,
        "out_features": ["stage1", "stage2", "stage3", "stage4"],
        "reshape_hidden_states": False,
        "apply_layernorm": True,
    }
    return {
        "model_type": "depth_anything",
        "architectures": ["DepthAnythingForDepthEstimation"],
        "backbone_config": backbone,
        "reassemble_hidden_size": 16,
        "neck_hidden_sizes": [8, 8, 8, 8],
        "fusion_hidden_size": 8,
        "head_hidden_size": 8,
        "patch_size": 14,
    }


def row(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a row with the files that it has on the Hub, in a registry of its own."""
    import transformers

    torch.manual_seed(0)
    folder = tmp_path / name
    model = transformers.DepthAnythingForDepthEstimation(transformers.DepthAnythingConfig(**config()))
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": "DPTImageProcessor", "do_resize": True, "size": {"height": SIDE, "width": SIDE},
                "keep_aspect_ratio": True, "ensure_multiple_of": 14, "resample": 3, "do_rescale": True,
                "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
                "do_pad": False, "size_divisor": None,
            }
        ),
        encoding="utf-8",
    )  # fmt: skip
    head = tiny.row(name, folder, loader="core.spatial.depth_anything:load").split("[[")[0]
    names = ("config.json", "preprocessor_config.json", "model.safetensors")
    files = "".join(f'[[{name}.files]]\npath = "{file}"\n' for file in names)
    (tmp_path / "registry.toml").write_text(f"{head}\n{files}", encoding="utf-8")
    monkeypatch.setenv("CLIP_ATLAS_REGISTRY", str(tmp_path / "registry.toml"))
    monkeypatch.setenv("CLIP_ATLAS_DEVICE", "cpu")
    return folder


def picture(width: int, height: int) -> Image.Image:
    """An image of noise."""
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    return inputs.image(Image.fromarray(pixels))


def test_every_pixel_of_the_image_gets_a_nearness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    folder = row("tiny-depth", tmp_path, monkeypatch)
    image = picture(90, 60)
    found = DepthAnything.load("tiny-depth").estimate(image)
    assert found.nearness.shape == (60, 90) and found.nearness.dtype == np.float32
    assert np.isfinite(found.nearness).all() and found.nearness.min() >= 0
    # The library alone gives the same with the same files.
    model = transformers.DepthAnythingForDepthEstimation.from_pretrained(folder).eval()
    processor = transformers.DPTImageProcessorPil.from_pretrained(folder)
    with torch.inference_mode():
        depth = model(**processor(images=image, return_tensors="pt")).predicted_depth
        whole = torch.nn.functional.interpolate(depth[:, None], (60, 90), mode="bicubic", align_corners=False)
    assert np.allclose(found.nearness, whole[0, 0].clamp_min(0).numpy(), atol=1e-5)
    assert np.ptp(found.nearness) > 0


def test_a_tensor_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = row("broken-depth", tmp_path, monkeypatch)
    state = load_file(folder / "model.safetensors")
    name = sorted(name for name in state if name.startswith("neck"))[0]
    del state[name]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(Refusal) as caught:
        DepthAnything.load("broken-depth").estimate(picture(30, 30))
    assert name in caught.value.text("en")
