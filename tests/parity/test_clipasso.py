"""CLIPasso's losses, saliency and start points against the records of the paper's own code."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from torch import nn

from core.clip.encoders import OPENAI_MEAN, OPENAI_STD
from core.clip.towers import OpenClipResNet, OpenClipViT
from core.drawing import saliency
from core.drawing.losses import Distance, PerceptualLoss

FOLDER = Path(os.environ.get("GOLDENS") or Path(__file__).parent / "records") / "clipasso"
DISTANCES: dict[str, Distance] = {"l1": "l1", "l2": "l2", "cos": "cosine", "cosine": "cosine"}
MODELS = {"RN101": "RN101-quickgelu", "ViT-B/32": "ViT-B-32-quickgelu"}


def records(kind: str) -> list[str]:
    return sorted(path.name.removesuffix(".manifest.json") for path in FOLDER.glob(f"{kind}*.manifest.json"))


def read(case: str) -> tuple[dict[str, Any], Any]:
    manifest = json.loads((FOLDER / f"{case}.manifest.json").read_text())
    return manifest, np.load(FOLDER / f"{case}.npz")


def drawn(key: str, shape: torch.Size, like: torch.Tensor) -> torch.Tensor:
    """The made-up value of a state-dict entry, by the weight rule of the records."""
    if not like.is_floating_point() or not shape:
        return like
    t = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))
    if key.endswith("running_var"):
        return 1 + 0.1 * t.abs()
    if key.endswith("running_mean"):
        return 0.1 * t
    if t.ndim == 1:
        return 1 + 0.1 * t if key.endswith("weight") else 0.1 * t
    if key.endswith(("positional_embedding", "embedding.weight")):
        return 0.02 * t
    return t / (t.numel() / shape[0]) ** 0.5


def filled(module: nn.Module, prefix: str = "") -> nn.Module:
    """A module of the meta device with made-up weights."""
    state = {
        name: drawn(prefix + name, value.shape, torch.zeros(value.shape, dtype=value.dtype))
        for name, value in module.state_dict().items()
    }
    module = module.to_empty(device="cpu")
    module.load_state_dict(state)
    return module.eval().requires_grad_(False)


def tower(clip: str) -> OpenClipResNet | OpenClipViT:
    """The image tower of a CLIP with made-up weights."""
    with torch.device("meta"):
        visual: nn.Module = open_clip.CLIP(**open_clip.get_model_config(MODELS[clip])).visual
    visual = filled(visual, "visual.")
    return OpenClipResNet(visual) if clip.startswith("RN") else OpenClipViT(visual)


def pixels(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None] / 255


def close(ours: np.ndarray, record: Any, manifest: dict[str, Any], name: str, rtol: float) -> None:
    """Within rtol of the array's greatest value, at the places that were stored."""
    entry = manifest["arrays"][name]
    assert list(ours.shape) == entry["shape"]
    error = np.abs(ours.ravel()[:: entry["step"]] - record[name].ravel()).max()
    assert error <= rtol * entry["absmax"], (name, error)


@pytest.mark.parametrize("case", records("loss"))
def test_losses_and_their_gradient(case: str) -> None:
    manifest, record = read(case)
    settings = manifest["settings"]
    vision = tower(settings["clip"])
    residual = isinstance(vision, OpenClipResNet)
    names = (
        ["stem", "layer1", "layer2", "layer3", "layer4"]
        if residual
        else [f"block{i + 1}" for i in range(len(settings["layer_weights"]))]
    )
    weights = dict(zip(names, settings["layer_weights"], strict=True))
    kinds = settings["conv_loss"]  # one for all layers, or one a layer
    kinds = [kinds] * len(names) if isinstance(kinds, str) else kinds
    distance = {name: DISTANCES[kind.lower()] for name, kind in zip(names, kinds, strict=True)}
    mean, std = torch.tensor(OPENAI_MEAN), torch.tensor(OPENAI_STD)
    loss = PerceptualLoss(vision, mean, std, 224, weights, settings["fc_weight"], distance=distance)
    sketch = pixels(record["sketch_u8"]).requires_grad_()
    drawing = loss.see(sketch)
    with torch.no_grad():
        picture = loss.see(pixels(record["photo_u8"]))
    terms = loss.terms(drawing, picture)
    for i, name in enumerate(names):
        if name in terms:
            assert terms[name].item() == pytest.approx(record[f"clip_conv_loss_layer{i}"].item(), rel=1e-3)
    assert terms["semantic"].item() == pytest.approx(record["fc"].item(), rel=1e-3)
    total = loss(drawing, picture)
    assert total.item() == pytest.approx(record["total"].item(), rel=1e-3)
    (grad,) = torch.autograd.grad(total.sum(), sketch)
    close(grad.numpy(), record, manifest, "grad_wrt_sketch", 5e-3)
    close(picture.image_features.numpy(), record, manifest, "fc_photo", 1e-3)
    for i, name in enumerate(names):
        if name in picture.maps and f"features_photo_layer{i}" in record:
            close(picture.maps[name].numpy(), record, manifest, f"features_photo_layer{i}", 1e-3)


@pytest.mark.parametrize("case", records("saliency"))
def test_saliency_edges_and_start_points(case: str) -> None:
    manifest, record = read(case)
    settings = manifest["settings"]
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (OPENAI_MEAN, OPENAI_STD))
    normalised = (pixels(record["photo_u8"]) - mean) / std
    with torch.inference_mode():
        attention = tower(settings["clip"]).attention(normalised)[0].numpy()  # [layers, heads, 50, 50]
    rows = attention[:, :, 0, 1:].mean(1)
    np.testing.assert_allclose(rows, record["cls_row_mean_over_heads_by_layer"], atol=1e-4)
    ours = saliency.attention_map(attention, 224)
    np.testing.assert_allclose(
        ours.ravel()[:: manifest["arrays"]["saliency_224"]["step"]], record["saliency_224"].ravel(), atol=2e-3
    )
    edge = saliency.edges(normalised[0].numpy())
    background = np.unpackbits(record["xdog_bits"]).reshape(224, 224).astype(bool)
    assert (edge == background).mean() < 0.002
    distribution = saliency.probability(ours, edge if settings["xdog"] else None, settings["softmax_temp"])
    assert distribution.sum() == pytest.approx(1)
    theirs = record["probability_224"].ravel()
    mine = distribution.ravel()[:: manifest["arrays"]["probability_224"]["step"]]
    both = (mine > 0) & (theirs > 0)
    assert ((mine > 0) == (theirs > 0)).mean() > 0.998
    np.testing.assert_allclose(mine[both], theirs[both], rtol=1e-2)
    points = saliency.draw(distribution, settings["num_paths"], settings["numpy_legacy_seed"])
    # A sample near the border of two pixels' shares may fall on the neighbour.
    same = np.abs(points[:, ::-1] - record["sampled_rows_cols"]).max(1) <= 1
    assert same.mean() >= 0.8
    np.testing.assert_allclose(points[same] / 224, record["normalised_points_xy"][same], atol=1.01 / 224)


@pytest.mark.parametrize("case", records("gradcam"))
def test_class_gradient(case: str) -> None:
    manifest, record = read(case)
    with torch.device("meta"):
        model: Any = open_clip.CLIP(**open_clip.get_model_config(MODELS[manifest["settings"]["clip"]]))
    model = filled(model)
    model.attn_mask = torch.full((77, 77), -torch.inf).triu_(1)
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (OPENAI_MEAN, OPENAI_STD))
    with torch.no_grad():
        text_features = model.encode_text(torch.from_numpy(record["tokens"]).long())
    normalised = (pixels(record["photo_u8"]) - mean) / std
    ours = saliency.class_gradient(OpenClipResNet(model.visual), normalised, text_features, 224)
    step = manifest["arrays"]["gradcam_224"]["step"]
    np.testing.assert_allclose(ours.ravel()[::step], record["gradcam_224"].ravel(), atol=1e-2)
