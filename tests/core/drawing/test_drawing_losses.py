"""The perceptual loss, its warps and the start points on small and awkward inputs."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from core.clip.encoders import OPENAI_MEAN, OPENAI_STD, DualEncoder, OpenClipPreprocess
from core.clip.towers import OpenClipResNet, OpenClipViT
from core.drawing import guides, saliency
from core.drawing.losses import PerceptualLoss, Warps

VISION = {
    "resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
    "vit": {"image_size": 64, "layers": 6, "width": 32, "head_width": 16, "patch_size": 16},
}
TEXT = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}


def usual_loss(model: DualEncoder) -> PerceptualLoss:
    usual = guides.guide("", model.vision)
    return PerceptualLoss.of(model, usual.stages, usual.semantic)


def encoder(kind: str) -> DualEncoder:
    """What the loss needs of an encoder: a small random tower and its preprocessing."""
    torch.manual_seed(0)
    visual = open_clip.CLIP(16, VISION[kind], TEXT, quick_gelu=True).visual.eval().requires_grad_(False)
    for value in visual.parameters():
        if value.ndim > 1:
            torch.nn.init.normal_(value, std=(value.shape[0] / value.numel()) ** 0.5)
    vision = OpenClipResNet(visual) if kind == "resnet" else OpenClipViT(visual)
    preprocess = OpenClipPreprocess(64, OPENAI_MEAN, OPENAI_STD, "bicubic", "shortest")
    made = SimpleNamespace(vision=vision, preprocess=preprocess, device="cpu", dtype=torch.float32)
    return cast(DualEncoder, made)


@pytest.mark.parametrize("kind", VISION)
def test_loss_of_a_batch_of_sketches(kind: str) -> None:
    loss = usual_loss(encoder(kind))
    torch.testing.assert_close(loss.mean.flatten(), torch.tensor(OPENAI_MEAN), atol=1e-5, rtol=0)
    torch.testing.assert_close(loss.std.flatten(), torch.tensor(OPENAI_STD), atol=1e-5, rtol=0)
    assert loss.side == 64 and list(loss.stages.values()) == [1, 1]
    picture = torch.rand(1, 3, 224, 224)
    sketches = torch.cat([picture, torch.rand(2, 3, 224, 224)]).requires_grad_()
    terms = loss.terms(loss.see(sketches), loss.see(picture))
    assert set(terms) == {*loss.stages, "semantic"}
    for term in terms.values():
        assert term.shape == (3,) and term[0].abs() < 3e-7 and (term[1:] > 3e-7).all()
    total = loss(loss.see(sketches), loss.see(picture))
    torch.testing.assert_close(total, sum(terms.values()))
    (grad,) = torch.autograd.grad(total.sum(), sketches)
    assert grad.isfinite().all() and grad[1:].abs().amax((1, 2, 3)).gt(0).all()
    # A sketch's loss is its own: the others of the batch do not touch it.
    alone = loss(loss.see(sketches[1:2]), loss.see(picture))
    torch.testing.assert_close(alone, total[1:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", VISION)
def test_weights_choose_the_terms(kind: str) -> None:
    model = encoder(kind)
    names = list(model.vision.see(torch.rand(1, 3, 64, 64)).maps)
    assert tuple(names) == model.vision.stage_names
    assert len(names) == (5 if kind == "resnet" else 6)
    loss = PerceptualLoss.of(model, {names[0]: 2.0, names[1]: 0.0}, semantic=0)
    a, b = loss.see(torch.zeros(1, 3, 64, 64)), loss.see(torch.ones(1, 3, 64, 64))
    assert set(loss.terms(a, b)) == {names[0]}
    half = PerceptualLoss.of(model, {names[0]: 1.0}, semantic=0)
    torch.testing.assert_close(loss(a, b), 2 * half(a, b))


FORMULAS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "l1": lambda a, b: np.abs(a - b).mean(),
    "l2": lambda a, b: ((a - b) ** 2).mean(),
    "cosine": lambda a, b: (1 - (a * b).sum(0) / np.sqrt((a * a).sum(0) * (b * b).sum(0))).mean(),
}


@pytest.mark.parametrize("kind", VISION)
@pytest.mark.parametrize("distance", FORMULAS)
def test_every_distance_is_its_formula(kind: str, distance: Any) -> None:
    model = encoder(kind)
    names = model.vision.stage_names[:2]
    loss = PerceptualLoss.of(model, dict.fromkeys(names, 3.0), semantic=0, distance=distance)
    sketches, pictures = loss.see(torch.rand(4, 3, 64, 64)), loss.see(torch.rand(2, 3, 64, 64))
    terms = loss.terms(sketches, pictures)  # two views of two sketches
    for name in names:
        for i in range(4):
            a, b = sketches.maps[name][i].numpy(), pictures.maps[name][i // 2].numpy()
            assert terms[name][i].item() == pytest.approx(3 * FORMULAS[distance](a, b), rel=1e-4)


@pytest.mark.parametrize("kind", VISION)
def test_each_stage_may_have_a_distance_of_its_own(kind: str) -> None:
    model = encoder(kind)
    first, second = model.vision.stage_names[:2]
    mixed = PerceptualLoss(
        model.vision, torch.zeros(3), torch.ones(3), 64, {first: 1.0, second: 1.0}, 0.0,
        distance={first: "l1", second: "cosine"},
    )  # fmt: skip
    sketch, picture = mixed.see(torch.rand(1, 3, 64, 64)), mixed.see(torch.rand(1, 3, 64, 64))
    a, b = (seen.maps[first][0].numpy() for seen in (sketch, picture))
    c, d = (seen.maps[second][0].numpy() for seen in (sketch, picture))
    assert mixed(sketch, picture).item() == pytest.approx(
        FORMULAS["l1"](a, b) + FORMULAS["cosine"](c, d), rel=1e-4
    )


@pytest.mark.parametrize("kind", VISION)
def test_views_of_a_batch_meet_their_own_picture(kind: str) -> None:
    """K views of N sketches against K views of one picture: as K calls with one view each."""
    loss = usual_loss(encoder(kind))
    pictures, sketches = torch.rand(3, 3, 64, 64), torch.rand(3, 2, 3, 64, 64)
    together = loss(loss.see(sketches.flatten(0, 1)), loss.see(pictures))
    apart = [loss(loss.see(s), loss.see(p[None])) for s, p in zip(sketches, pictures, strict=True)]
    torch.testing.assert_close(together, torch.cat(apart), rtol=1e-4, atol=1e-5)


def test_warps_without_chance_change_nothing() -> None:
    images = torch.rand(2, 3, 20, 30)
    still = Warps(distortion=0, area=(1, 1))
    views = still.apply(images, still.draw(3, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(views, images.repeat(3, 1, 1, 1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_warps(fill: float) -> None:
    warps = Warps(fill=fill)
    matrices = warps.draw(200, torch.Generator().manual_seed(0))
    assert torch.equal(matrices, warps.draw(200, torch.Generator().manual_seed(0)))
    corners = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]])
    found = torch.einsum("mij,kj->mki", matrices, corners)
    found = found[..., :2] / found[..., 2:]
    # A view's corners lie on the canvas or beyond it by what a corner may have moved in, never flipped.
    assert (found.sign() == corners[:, :2]).all() and found.abs().max() < 5
    grey = torch.full((1, 3, 32, 32), 0.5)
    views = warps.apply(grey, matrices)
    assert views.shape == (200, 3, 32, 32)
    # Between canvas and fill the border is interpolated; the middle is always canvas.
    assert (
        views.min() >= min(fill, 0.5)
        and views.max() <= max(fill, 0.5)
        and torch.allclose(views[:, :, 16, 16], grey[0, 0, 0, 0])
    )
    beyond = (views == fill).float().mean()
    assert 0.02 < beyond < 0.4
    pair = warps.apply(torch.stack([grey[0], grey[0]]), matrices[:4])
    assert torch.equal(pair[::2], pair[1::2])


def test_warps_keep_the_stated_area() -> None:
    warps = Warps(distortion=0, area=(0.7, 0.9), ratio=(3 / 4, 4 / 3))
    matrices = warps.draw(500, torch.Generator().manual_seed(0))
    area = matrices[:, 0, 0] * matrices[:, 1, 1]
    assert area.min() > 0.6 and area.max() <= 0.9001 and area.max() - area.min() > 0.15
    reach = matrices[:, :2, 2].abs() + torch.stack([matrices[:, 0, 0], matrices[:, 1, 1]], dim=1)
    assert reach.max() <= 1.0001


def test_saliency_of_awkward_pictures() -> None:
    flat = saliency.attention_map(np.full((2, 3, 50, 50), 0.02, dtype=np.float32), 32)
    assert not flat.any()
    nothing = saliency.probability(flat, None)
    assert nothing.sum() == pytest.approx(1) and nothing.std() == 0
    grey = np.zeros((3, 32, 32), dtype=np.float32)
    assert np.isfinite(saliency.edges(grey)).all()
    dark = grey.copy()
    dark[:, 8:24, 8:24] = -2
    edge = saliency.edges(dark)
    # The dark side of the square's border, not the bright ground far from it.
    assert edge[9, 9:23].all() and not edge[:2].any()


def test_start_points() -> None:
    distribution = np.zeros((10, 20))
    distribution[2, 5] = distribution[7, 19] = distribution[0, 0] = 1 / 3
    points = saliency.draw(distribution, 3, seed=1)
    assert sorted(map(tuple, points.tolist())) == [(0, 0), (5, 2), (19, 7)]
    assert len(saliency.draw(distribution, 8, seed=1)) == 8
    even = np.full((10, 20), 1 / 200)
    first, again, other = (saliency.draw(even, 50, seed) for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()
    assert len({tuple(point) for point in first.tolist()}) == 50


def test_otsu_parts_two_heaps() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(m, 0.1, 500) for m in (0.0, 1.0)])
    assert 0.3 < saliency.otsu(values) < 0.7


def test_class_gradient_points_at_what_changes_the_answer() -> None:
    model: Any = encoder("resnet")
    pixels = torch.rand(1, 3, 64, 64)
    result = saliency.class_gradient(model.vision, pixels, torch.randn(1, 16), 40)
    assert result.shape == (40, 40) and result.min() >= 0 and result.max() <= 1


def test_the_normalisation_is_read_off_a_picture() -> None:
    model = encoder("resnet")
    loss = usual_loss(model)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    ours = (torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255 - loss.mean) / loss.std
    torch.testing.assert_close(ours, model.preprocess(image), atol=1e-4, rtol=0)
