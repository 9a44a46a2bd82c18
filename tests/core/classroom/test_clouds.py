"""Point clouds of the classroom: bodies, what happens to them, and that they are what they are called."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.classroom.world import clouds
from core.classroom.world.clouds import BODIES, MEASURED, NEW, OTHERS, PLAIN, CloudSettings


def test_every_class_has_its_body_and_its_names() -> None:
    assert len(MEASURED) == 20 and 20 <= len(BODIES) <= 40 and not MEASURED.keys() & OTHERS.keys()
    concepts = clouds.concepts_of(tuple(BODIES))
    assert len({concept.code for concept in concepts}) == len(BODIES)
    assert {*BODIES.values()} == {*clouds.SOLIDS, *clouds.SPRITES}


def test_clouds_are_upright_centred_and_of_unit_radius() -> None:
    made = clouds.sample(1, 0, CloudSettings(names=tuple(BODIES)))
    assert made.points.shape == (len(BODIES), 1024, 3) and made.points.dtype == np.float32
    assert np.allclose(np.linalg.norm(made.points, axis=-1).max(1), 1, atol=1e-5)
    assert np.abs(made.points.mean(1)).max() < 1e-5
    assert made.names("en")[0] == "die" and made.names("zh")[3] == "鼓"


def test_the_same_seed_gives_the_same_clouds() -> None:
    settings = CloudSettings(names=("die", "car", "bell"), points=200)
    first, again = clouds.sample(2, 5, settings), clouds.sample(2, 5, settings)
    assert np.array_equal(first.points, again.points) and first.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert not np.array_equal(first.points, clouds.sample(2, 6, settings).points)


def test_new_clouds_have_drawings_that_training_clouds_have_not() -> None:
    assert not set(NEW.styles) & set(CloudSettings().styles)


def test_solids_are_where_they_should_be() -> None:
    random = np.random.default_rng(0)
    assert np.allclose(np.abs(clouds.SOLIDS["cube"](500, random)).max(1), 1)
    assert np.allclose(np.linalg.norm(clouds.SOLIDS["sphere"](500, random), axis=1), 1)
    torus = clouds._torus(4000, random, 0.4)
    assert np.allclose(np.hypot(np.hypot(torus[:, 0], torus[:, 1]) - 1, torus[:, 2]), 0.4)
    outside = (np.hypot(torus[:, 0], torus[:, 1]) > 1).mean()
    assert outside == pytest.approx(0.5 + 0.4 / np.pi, abs=0.03)  # the outer half has more surface


def test_sprites_keep_their_outline() -> None:
    random = np.random.default_rng(0)
    area = np.zeros((96, 96), bool)
    area[20:70, 30:60] = True
    for body, make in clouds.SPRITES.items():
        points = make(area, 4000, random)
        low, high = points.min(0), points.max(0)
        assert np.allclose([low[1], high[1]], [1 - 70 / 48, 1 - 20 / 48], atol=0.03), body
    flat = clouds.extruded(area, 4000, random)
    assert np.allclose([flat[:, 0].min(), flat[:, 0].max()], [30 / 48 - 1, 60 / 48 - 1], atol=0.03)
    turned = clouds.revolved(area, 4000, random)
    assert np.allclose(np.hypot(turned[:, 0], turned[:, 2]), 15 / 48, atol=0.02)
    bulge = clouds.puffed(area, 4000, random)
    middle = np.abs(bulge[:, 0] - (45 / 48 - 1)) < 0.03
    rim = np.abs(bulge[:, 0] - (30 / 48 - 1)) < 0.03
    assert np.abs(bulge[middle, 2]).mean() > 2 * np.abs(bulge[rim, 2]).mean()


def test_a_turn_of_any_kind_keeps_distances() -> None:
    random = np.random.default_rng(0)
    for rotation in ("aligned", "upright", "any"):
        matrix = clouds._turn(rotation, random)
        assert np.allclose(matrix @ matrix.T, np.eye(3)) and np.linalg.det(matrix) > 0
    ups = [clouds._turn("upright", random) @ [0, 1, 0] for _ in range(5)]
    assert np.allclose(ups, [0, 1, 0])
    tilted = np.array([clouds._turn("any", random) @ [0, 1, 0] for _ in range(200)])
    assert np.abs(tilted.mean(0)).max() < 0.2


def test_a_viewer_sees_the_near_side() -> None:
    random = np.random.default_rng(0)
    ball = clouds.SOLIDS["sphere"](20_000, random)
    seen = clouds._seen(ball, random)
    share = len(seen) / len(ball)
    assert 0.35 < share < 0.6
    assert np.linalg.norm(seen.mean(0)) > 0.3


def test_a_missing_piece_lies_together() -> None:
    random = np.random.default_rng(1)
    ball = clouds.SOLIDS["sphere"](2000, random)
    left = clouds._without_piece(ball, random)
    gone = np.array([point for point in ball if not (left == point).all(1).any()])
    assert 0.08 < len(gone) / len(ball) < 0.27
    assert np.linalg.norm(gone.mean(0)) > 0.6


def misfit(points: np.ndarray) -> float:
    """How far points lie from the quadric that fits them best: 0 for any stretched and turned ball."""
    x, y, z = points.astype(float).T
    terms = np.stack([x * x, y * y, z * z, x * y, x * z, y * z, x, y, z], 1)
    return float(np.abs(terms @ np.linalg.lstsq(terms, np.ones(len(x)), rcond=None)[0] - 1).max())


def test_noise_is_a_setting() -> None:
    ball = replace(PLAIN, names=("soccer ball",), points=500)
    assert misfit(clouds.sample(1, 0, ball).points[0]) < 1e-4
    assert misfit(clouds.sample(1, 0, replace(ball, noise=0.01)).points[0]) > 0.02
