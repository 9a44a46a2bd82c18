"""Depth images of clouds against a plain loop over points; every setting of both ways."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from core.errors import Refusal
from core.spatial import projection
from core.spatial.projection import FEW_SHOT, TEN_V2, V2, ZERO_SHOT, Perspective, Realistic


def cloud(count: int = 400, seed: int = 0) -> Tensor:
    """[1, P, 3], centred, of unit radius."""
    points = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)) * torch.tensor(
        [1.0, 0.6, 0.3]
    )
    points = points - points.mean(0)
    return (points / points.norm(dim=1).max())[None]


def plain(points: Tensor, settings: Perspective) -> Tensor:
    """The perspective way as one would write it down: a loop over views, points and pixels of a point."""
    side = settings.side
    images = torch.zeros(len(settings.views), side, side)
    for v, matrix in enumerate(projection.rotations(settings.views)):
        weights = torch.zeros(side, side)
        sums = torch.zeros(side, side)
        for x, y, z in (points[0] @ matrix).tolist():
            depth = z + settings.distance
            if depth < 0:
                continue
            for i in range(settings.spread[0]):
                for j in range(settings.spread[1]):
                    row = math.ceil((x / depth + 1) * side / 2 + i - settings.spread[0] / 2)
                    column = math.ceil((y / depth + 1) * side / 2 + j - settings.spread[1] / 2)
                    if 0 <= row < side and 0 <= column < side:
                        weights[row, column] += 1 / depth
                        sums[row, column] += 1
        images[v] = torch.where(weights > 0, sums / weights, 0)
    return images


@pytest.mark.parametrize(
    "settings",
    [
        replace(ZERO_SHOT, side=32),
        replace(FEW_SHOT, side=40),
        replace(ZERO_SHOT, side=32, spread=(2, 2)),
        replace(ZERO_SHOT, side=32, spread=(4, 1)),
        replace(
            ZERO_SHOT, side=24, distance=0.5
        ),  # some points lie behind the camera, others outside the image
    ],
)
def test_perspective_is_the_plain_loop(settings: Perspective) -> None:
    points = cloud()
    found, wanted = projection.project(points, settings)[0], plain(points, settings)
    same = (found > 0) == (wanted > 0)
    assert (~same).sum() <= 4  # coordinates that are whole numbers within rounding
    assert (found - wanted)[same].abs().median() == 0 or (found - wanted)[same].abs().quantile(0.99) < 1e-4


def test_the_side_views_look_from_four_sides_and_up_is_up() -> None:
    """A single point on +y lands in the upper half of all side views, in their middle column."""
    views = projection.project(torch.tensor([[[0.0, 0.5, 0.0]]]), replace(ZERO_SHOT, side=33))[0]
    for view in views[:4]:
        (place,) = view.nonzero().tolist()
        assert place[0] < 16 and place[1] == 16


def test_depth_is_the_distance_from_the_camera() -> None:
    views = projection.project(torch.tensor([[[0.0, 0.0, 0.0]]]), ZERO_SHOT)[0]
    assert torch.allclose(views.amax((1, 2)), torch.full((6,), 1.6))


def test_cameras_are_where_depth_says() -> None:
    points = cloud(50)
    for settings in (ZERO_SHOT, FEW_SHOT):
        depth = projection.turn(points, settings)[0, :, 2] + settings.distance  # [V, P]
        forward = -F.normalize(projection.cameras(settings), dim=1)  # [V, 3]
        along = (points - projection.cameras(settings)[:, None]) @ forward[:, :, None]
        assert torch.allclose(along[..., 0], depth, atol=1e-5)


def plain_realistic(points: Tensor, settings: Realistic) -> Tensor:
    """V2's way with a loop over points, torch's pooling and a three-dimensional convolution."""
    images = []
    turned = projection.turn(points, settings)[0]
    for places in turned:  # [3, P]
        high, low = places.amax(1, keepdim=True), places.amin(1, keepdim=True)
        places = (places - (high + low) / 2) / (high - low).max() * 2
        grid = torch.full((settings.layers, settings.side, settings.side), settings.background)
        for x, y, z in places.T:
            row = int(((x * settings.scale + 1) / 2 * settings.side).ceil().clamp(1, settings.side - 2))
            column = int(((y * settings.scale + 1) / 2 * settings.side).ceil().clamp(1, settings.side - 2))
            value = ((z + 1) / 2 + settings.depth_bias) / (1 + settings.depth_bias) * (settings.layers - 2)
            layer = int(value.ceil().clamp(0, settings.layers - 1))
            grid[layer, row, column] = max(grid[layer, row, column], value.clamp(1, settings.layers - 2))

        def three(pair: Any) -> tuple[int, int, int]:
            return pair[0], pair[1], pair[1]

        grid = F.max_pool3d(
            grid[None, None], three(settings.pool), stride=1, padding=three(settings.pool_padding)
        )
        lines = [
            torch.exp(-((torch.arange(size) - size // 2) ** 2) / (2 * sigma**2))
            for size, sigma in zip(three(settings.blur), three(settings.sigma), strict=True)
        ]
        kernel = torch.einsum("i,j,k->ijk", *lines)
        grid = F.conv3d(grid, (kernel / kernel.sum())[None, None], padding=three(settings.blur_padding))
        image = grid[0, 0].amax(0)
        images.append(1 - image / image.max())
    return torch.stack(images)


@pytest.mark.parametrize(
    "settings",
    [
        replace(V2, side=40),
        replace(V2, side=32, layers=12, scale=0.5, depth_bias=0.4),
        replace(
            V2, side=32, pool=(3, 5), pool_padding=(1, 2), blur=(3, 5), blur_padding=(1, 2), sigma=(2.0, 1.0)
        ),
        replace(V2, side=32, background=0.5, tilts=None, views=projection.SIX),
    ],
)
def test_realistic_is_the_plain_loop(settings: Realistic) -> None:
    points = cloud()
    found, wanted = projection.project(points, settings)[0], plain_realistic(points, settings)
    assert found.shape == wanted.shape
    assert torch.allclose(found, wanted, atol=1e-5)


def test_many_points_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    points = torch.cat([cloud(300, 1), cloud(300, 2)])
    whole = [projection.project(points, settings) for settings in (ZERO_SHOT, V2)]
    monkeypatch.setattr(projection, "POINTS_AT_ONCE", 700)
    parts = [projection.project(points, settings) for settings in (ZERO_SHOT, V2)]
    for one, other in zip(whole, parts, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("settings", [replace(ZERO_SHOT, side=512), V2], ids=["perspective", "realistic"])
def test_many_clouds_are_the_same_as_each_alone(settings: Any) -> None:
    """So many that their pixels cannot be counted in float32."""
    points = torch.cat([cloud(60, seed) for seed in range(20)])
    together = projection.project(points, settings)
    for at in (0, 12, 19):
        assert torch.equal(together[at], projection.project(points[at : at + 1], settings)[0])


def test_the_order_of_points_changes_nothing() -> None:
    points = cloud()
    mixed = points[:, torch.randperm(points.shape[1], generator=torch.Generator().manual_seed(3))]
    assert torch.allclose(projection.project(points), projection.project(mixed), atol=1e-5)
    assert torch.equal(projection.project(points, V2), projection.project(mixed, V2))


def test_settings_are_those_of_the_published_code() -> None:
    assert (len(ZERO_SHOT.views), ZERO_SHOT.side, ZERO_SHOT.distance) == (6, 128, 1.6)
    assert (len(FEW_SHOT.views), FEW_SHOT.side, FEW_SHOT.distance) == (10, 224, 1.4)
    assert (len(TEN_V2), V2.side, V2.layers, V2.scale) == (10, 112, 8, 0.8)
    # The released V2 code loses two pixels to the padding of its maximum.
    assert projection.project(cloud(), V2).shape == (1, 10, 110, 110)


@pytest.mark.parametrize(
    "settings",
    [
        replace(ZERO_SHOT, side=4),
        replace(ZERO_SHOT, side=5000),
        replace(ZERO_SHOT, distance=0),
        replace(ZERO_SHOT, spread=(3, 1)),
        replace(ZERO_SHOT, views=()),
        replace(V2, tilts=((0.0, 0.0, 0.0),)),
        replace(V2, layers=2),
        replace(V2, scale=0.0),
        replace(V2, sigma=(1, 0)),
    ],
)
def test_settings_that_cannot_be(settings: Any) -> None:
    with pytest.raises(Refusal) as caught:
        projection.project(cloud(), settings)
    assert caught.value.code == "projection_setting"
