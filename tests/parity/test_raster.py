"""The torch rasterizer against brute-force images and boundary integrals, at the records' tolerances."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.drawing import bezier
from core.drawing.rasterize import render

FOLDER = Path(os.environ.get("GOLDENS") or Path(__file__).parent / "records") / "raster"
SCENES = json.loads((FOLDER / "scenes.json").read_text())["scenes"] if FOLDER.exists() else []


@cache
def archive(name: str) -> Any:
    return np.load(FOLDER / f"{name}.npz")


def tensors(scene: dict[str, Any]) -> list[torch.Tensor]:
    """points [1, S, P, 2], widths [1, S], colors [1, S, 4], as leaves."""
    paths = scene["paths"]
    points = bezier.pad([torch.tensor(path["points"]) for path in paths])
    widths, colors = torch.tensor([p["width"] for p in paths]), torch.tensor([p["rgba"] for p in paths])
    return [value[None].requires_grad_() for value in (points, widths, colors)]


def answer(scene: dict[str, Any], kind: str) -> tuple[np.ndarray, float, list[np.ndarray]]:
    """Image [H, W, 3], loss, and gradients as the records store them: points [sum P_i, 2], width, rgba."""
    leaves = tensors(scene)
    image = render(*leaves, (scene["height"], scene["width"]))[0].permute(1, 2, 0)
    size = f"{scene['width']}x{scene['height']}"
    if kind == "ref":
        loss = (image - torch.from_numpy(archive("targets")[f"target_{size}"])).square().mean()
    else:
        loss = (image * torch.from_numpy(archive("targets")[f"noise_{size}"] / 32).float()).mean()
    points, widths, colors = (grad[0] for grad in torch.autograd.grad(loss, leaves))
    unpadded = []
    for grad, path in zip(points, scene["paths"], strict=True):
        count = len(path["points"])
        # Padding repeats the last point, whose copies share its gradient.
        unpadded.append(torch.cat([grad[: count - 1], grad[count - 1 :].sum(0, keepdim=True)]))
    grads = [torch.cat(unpadded), widths, colors]
    return image.detach().numpy(), loss.item(), [grad.numpy() for grad in grads]


def relative(ours: np.ndarray, reference: np.ndarray) -> float:
    return float(np.linalg.norm(ours - reference) / np.linalg.norm(reference))


def cosine(ours: np.ndarray, reference: np.ndarray) -> float:
    return float((ours * reference).sum() / np.linalg.norm(ours) / np.linalg.norm(reference))


def is_dot(path: dict[str, Any]) -> bool:
    return all(point == path["points"][0] for point in path["points"])


def is_closed(path: dict[str, Any]) -> bool:
    return not is_dot(path) and path["points"][0] == path["points"][-1]


def regular(scene: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Which rows of the point gradients and which paths are compared number by number.

    A dot's gradient may be split in any way over its points. Where a path ends in its own beginning the two
    round caps coincide, and the record counts that piece of outline twice (13.1e-5 for the width of path 2 of
    degenerate_a, where central differences of an 8x render give 10.0e-5, as we do): such a path is left out.
    """
    paths = np.array([not is_dot(path) and not is_closed(path) for path in scene["paths"]])
    return np.repeat(paths, [len(path["points"]) for path in scene["paths"]]), paths


def thinnest(scene: dict[str, Any]) -> float:
    return min(path["width"] for path in scene["paths"])


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: f"raster-{scene['id']}")
def test_image(scene: dict[str, Any]) -> None:
    image, _, _ = answer(scene, "ref")
    error = image - archive("images")[f"{scene['id']}/ref"]
    crowded = len(scene["paths"]) >= 64
    assert np.sqrt(np.square(error).mean()) <= (0.012 if crowded else 0.008)
    assert np.abs(error).mean() <= (0.003 if crowded else 0.002)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: f"raster-{scene['id']}")
def test_gradients_of_a_noise_like_loss(scene: dict[str, Any]) -> None:
    _, loss, grads = answer(scene, "ref_noise")
    assert loss == pytest.approx(scene["loss_noise_ref"], abs=2e-5)
    points, widths, colors = (
        archive("grads")[f"{scene['id']}/ref_noise/{name}"] for name in ("points", "width", "rgba")
    )
    rows, paths = regular(scene)
    thin = thinnest(scene) < 1
    assert cosine(grads[0][rows], points[rows]) >= (0.97 if thin else 0.99)
    assert relative(grads[0][rows], points[rows]) <= (0.25 if thin else 0.12)
    assert relative(grads[1][paths], widths[paths]) <= 0.10
    assert relative(grads[2], colors) <= 0.02


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: f"raster-{scene['id']}")
def test_gradients_of_a_smooth_loss(scene: dict[str, Any]) -> None:
    _, loss, grads = answer(scene, "ref")
    assert loss == pytest.approx(scene["loss_ref"], rel=2e-3)
    points, widths, colors = (
        archive("grads")[f"{scene['id']}/ref/{name}"] for name in ("points", "width", "rgba")
    )
    rows, paths = regular(scene)
    assert all(np.isfinite(grad).all() for grad in grads)
    assert relative(grads[1][paths], widths[paths]) <= 0.10
    assert relative(grads[2], colors) <= 0.02
    # The two sides of a black stroke nearly cancel, so a single or a thin one says nothing about its points.
    if len(scene["paths"]) > 1 and thinnest(scene) >= 2:
        assert cosine(grads[0][rows], points[rows]) >= 0.9
    ends = np.cumsum([len(path["points"]) for path in scene["paths"]])
    for i, path in enumerate(scene["paths"]):
        if is_dot(path):
            dot = slice(ends[i] - len(path["points"]), ends[i])
            total, expected = grads[0][dot].sum(0), points[dot].sum(0)
            assert np.linalg.norm(total - expected) <= 0.12 * np.linalg.norm(expected)
            assert grads[1][i] == pytest.approx(widths[i], rel=0.10)
