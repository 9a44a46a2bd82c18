"""PointCLIP on a tiny CLIP: what its numbers are made of, the adapter's training, PointNet, the ensemble."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from core import inputs
from core.errors import Refusal
from core.spatial import adapter, pointclip
from core.spatial.pointclip import FEW_SHOT, V2, ZERO_SHOT, PointClassifier
from core.spatial.pointnet import PointNet, ensemble
from tests import tiny
from tests.conftest import Rows


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, rows: Rows) -> None:
    rows(tiny.bundled("tiny-points", tmp_path))


def ball(count: int = 300, seed: int = 0) -> np.ndarray:
    """Points on a flattened ball."""
    points = np.random.default_rng(seed).standard_normal((count, 3)) * [1, 0.5, 0.2]
    return inputs.points(points).points


def test_logits_are_the_weighted_sum_of_views() -> None:
    model = PointClassifier.load("tiny-points")
    weights = [1.0, 0.5, 0, 0, 2, 1]
    result = model.classify(ball(), "dog, cat, sheep", view_weights=weights)
    assert result.labels == ("dog", "cat", "sheep") and result.views.shape == (6, 128, 128)
    cosines = result.view_features @ result.text_features.T
    wanted = result.logit_scale * np.array(weights)[:, None] * cosines / 6**0.5
    assert np.allclose(result.view_logits, wanted, atol=1e-4)
    assert np.allclose(result.logits, wanted.sum(0), atol=1e-4)
    assert result.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert np.allclose(result.view_probabilities.sum(1), 1, atol=1e-5)
    assert pickle.loads(pickle.dumps(result)).labels == result.labels


def test_views_together_are_the_published_product() -> None:
    """Normalised features of all views, one behind the other, times the repeated text, normalised as a whole."""
    model = PointClassifier.load("tiny-points")
    result = model.classify(ball(), "dog, cat")
    flat = torch.tensor(result.view_features).flatten()[None]
    wanted = adapter.cloud_logits(flat, torch.tensor(result.text_features), result.logit_scale)
    assert np.allclose(result.logits, wanted[0].numpy(), atol=1e-4)


def test_depths_go_in_as_numbers_or_as_grey_levels() -> None:
    model = PointClassifier.load("tiny-points")
    with model.use() as encoder:
        views = torch.from_numpy(model.encode(ball()).views)[None]
        raw = pointclip.tower_pixels(encoder, views, ZERO_SHOT, "depth")
        grey = pointclip.tower_pixels(encoder, views, ZERO_SHOT, "grey")
        assert raw.shape == grey.shape == (6, 3, 32, 32)
        assert raw.min() == 0 and torch.allclose(raw.amax(), views.amax(), rtol=0.3)
        levels = pointclip.grey_levels(views, ZERO_SHOT)
        near, far = views[views > 0].min(), views.max()
        assert levels[views == near].min() > levels[views == far].max() > pointclip.DARK
        assert (levels[views == 0] == pointclip.DARK).all()
    assert not np.allclose(
        model.encode(ball()).view_features, model.encode(ball(), pixels="grey").view_features
    )


def test_a_cloud_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = PointClassifier.load("tiny-points")
    first = model.encode(ball(seed=5))
    monkeypatch.setattr(pointclip, "_encode", None)
    assert model.encode(ball(seed=5)) is first
    model.classify(first, "dog, cat", view_weights=[0, 0, 0, 0, 0, 1])


def test_many_clouds_are_one_cloud_many_times() -> None:
    model = PointClassifier.load("tiny-points")
    clouds = np.stack([ball(seed=1), ball(seed=2), ball(seed=3)])
    for projection in (ZERO_SHOT, FEW_SHOT, V2):
        many = model.encode_many(clouds, projection)
        assert many.shape == (3, len(projection.views), 16)
        one = model.encode(clouds[1], projection).view_features
        assert np.allclose(many[1], one, atol=1e-3 * np.abs(one).max())


def test_the_sentence_follows_the_labels() -> None:
    assert pointclip.default_template("tiny-points", ["dog"]) == "a depth map of a {}"
    assert pointclip.default_template("tiny-points", ["狗"]) == "{}的深度图"
    model = PointClassifier.load("tiny-points")
    assert model.classify(ball(), "狗, 猫").template == "{}的深度图"
    assert model.classify(ball(), "dog, cat", "{}").template == "{}"


@pytest.mark.parametrize("weights", [[1] * 5, [0] * 6, [1, 1, 1, 1, 1, -1], [1, 1, 1, 1, 1, float("nan")]])
def test_weights_that_cannot_be(weights: list[float]) -> None:
    with pytest.raises(Refusal) as caught:
        PointClassifier.load("tiny-points").classify(ball(), "dog, cat", view_weights=weights)
    assert caught.value.code == "view_weights"


def test_the_adapter_learns_what_zero_shot_cannot_tell() -> None:
    """Three groups of features whose texts fit none of them: few shots of each, new ones told apart."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((3, 4, 16))
    texts = pointclip.unit_rows(random.standard_normal((3, 16))).astype(np.float32)
    labels = np.arange(24) % 3
    shots = (centres[labels] + 0.3 * random.standard_normal((24, 4, 16))).astype(np.float32)
    new = (centres[np.arange(60) % 3] + 0.3 * random.standard_normal((60, 4, 16))).astype(np.float32)
    settings = adapter.AdapterSettings(epochs=60, batch=8)
    last = None
    for last, net in adapter.train(shots, labels, texts, 20.0, settings):  # noqa: B007
        pass
    assert last is not None and last.epoch == 60 and last.accuracy > 0.9
    guesses = adapter.predict(net, new, texts, 20.0).argmax(1)
    assert (guesses == np.arange(60) % 3).mean() > 0.9
    *_, (_, again) = adapter.train(shots, labels, texts, 20.0, settings)
    assert np.allclose(adapter.predict(again, new, texts, 20.0), adapter.predict(net, new, texts, 20.0))


def test_a_training_stops_at_once() -> None:
    from core.runtime import Cancel

    features, labels = np.zeros((4, 2, 8), np.float32), np.array([0, 1, 0, 1])
    assert not list(
        adapter.train(features, labels, np.eye(8, dtype=np.float32)[:2], 1.0, cancel=Cancel(True))
    )


def test_pointnet_does_not_see_the_order_of_points() -> None:
    torch.manual_seed(0)
    net = PointNet(5).eval()
    points = torch.randn(2, 64, 3)
    with torch.inference_mode():
        assert torch.allclose(net(points), net(points[:, torch.randperm(64)]), atol=1e-5)
        assert net(points).shape == (2, 5)


def test_an_ensemble_is_a_sum_of_logits() -> None:
    first, other = np.array([[2.0, 1.0, 0.0]]), np.array([[0.0, 3.0, 1.0]])
    summed = np.exp((first + other) / 2)
    assert np.allclose(ensemble(first, other), summed / summed.sum())
    alone = np.exp(first) / np.exp(first).sum()
    assert np.allclose(ensemble(first, other, 0), alone)
    assert np.allclose(ensemble(first, first * 7 - 3, 0), alone)  # a scale of the others changes nothing here
