"""The batch loss against torch's own cross-entropy, and its gradient against finite differences."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from core.clip import contrastive
from core.clip.contrastive import contrast
from core.errors import Refusal

RNG = np.random.default_rng(3)


def features(n: int, d: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Pairs that lie near each other, of any length."""
    text = RNG.normal(size=(n, d))
    return 3 * text + RNG.normal(size=(n, d)), text


@pytest.mark.parametrize("n", [1, 2, 7, 16])
@pytest.mark.parametrize("scale", [0.5, 14.3, 100.0])
def test_the_losses_are_torchs(n: int, scale: float) -> None:
    image, text = features(n)
    made = contrast(image, text, scale)
    i_e, t_e = (F.normalize(torch.from_numpy(x), dim=1) for x in (image, text))
    logits, labels = scale * i_e @ t_e.T, torch.arange(n)
    expected_i, expected_t = F.cross_entropy(logits, labels).item(), F.cross_entropy(logits.T, labels).item()
    assert made.loss_i == pytest.approx(expected_i, abs=1e-9)
    assert made.loss_t == pytest.approx(expected_t, abs=1e-9)
    assert made.loss == pytest.approx((expected_i + expected_t) / 2, abs=1e-9)
    assert np.allclose(made.logits, logits.numpy())
    assert np.allclose(made.by_picture, logits.softmax(1).numpy())
    assert np.allclose(made.by_caption, logits.softmax(0).numpy())
    assert made.chance == pytest.approx(np.log(n)) and made.least == 0


def test_identical_captions_share_their_target() -> None:
    image, text = features(4)
    text[2] = text[0]
    made = contrast(image, text, 9.0, ["a dog", "a cat", "a dog", "a car"])
    target = torch.tensor(
        [[0.5, 0, 0.5, 0], [0, 1, 0, 0], [0.5, 0, 0.5, 0], [0, 0, 0, 1]], dtype=torch.double
    )
    assert np.array_equal(made.targets, target.numpy())
    logits = torch.from_numpy(made.logits)
    assert made.loss_i == pytest.approx(F.cross_entropy(logits, target).item())
    assert made.loss_t == pytest.approx(F.cross_entropy(logits.T, target).item())
    # Two of four rows can get no lower than log 2.
    assert made.least == pytest.approx(np.log(2) / 2)
    perfect = contrast(
        np.eye(4)[[0, 1, 0, 2]], np.eye(4)[[0, 1, 0, 2]], 500.0, ["a dog", "a cat", "a dog", "a car"]
    )
    assert perfect.loss == pytest.approx(perfect.least, abs=1e-6)
    assert perfect.picture_accuracy == perfect.caption_accuracy == 1


@pytest.mark.parametrize("captions", [None, ["a", "b", "a", "c", "d"]])
def test_the_gradient_is_that_of_finite_differences(captions: list[str] | None) -> None:
    image, text = features(5)
    made = contrast(image, text, 6.0, captions)

    def loss(logits: np.ndarray) -> float:
        rows = contrastive.cross_entropy(logits, made.targets)
        return (rows + contrastive.cross_entropy(logits.T, made.targets)) / 2

    step = 1e-5
    for i, j in np.ndindex(5, 5):
        change = np.zeros((5, 5))
        change[i, j] = step
        slope = (loss(made.logits + change) - loss(made.logits - change)) / (2 * step)
        assert made.gradient[i, j] == pytest.approx(slope, abs=1e-8)
    # Pairs are pulled together, all others pushed apart, and the two are in balance.
    if captions is None:
        assert np.array_equal(made.gradient < 0, np.eye(5, dtype=bool))
    assert made.gradient.sum() == pytest.approx(0, abs=1e-12)


def test_swapped_captions_cost_and_reorder_columns() -> None:
    image, text = features(6)
    order = [1, 0, 2, 3, 4, 5]
    right, wrong = contrast(image, text, 20.0), contrast(image, text[order], 20.0)
    assert wrong.loss > right.loss + 1 and wrong.picture_accuracy == pytest.approx(4 / 6)
    assert np.allclose(wrong.cosines, right.cosines[:, order])


def test_the_curve_over_temperatures_is_the_loss_at_each() -> None:
    image, text = features(5)
    captions = ["a", "b", "a", "c", "d"]
    scales = np.array([1.0, 14.3, 100.0, 1000.0])
    found = contrastive.losses_by_scale(contrast(image, text, 3.0, captions), scales)
    assert np.allclose(found, [contrast(image, text, scale, captions).loss for scale in scales])


def test_no_logit_is_too_large() -> None:
    image, text = features(8)
    made = contrast(image, text[::-1], 1000.0)
    for values in (made.by_picture, made.by_caption, made.gradient, made.sigmoid.probabilities):
        assert np.isfinite(values).all()
    assert np.isfinite([made.loss, made.sigmoid.loss]).all()
    assert np.allclose(made.by_picture.sum(1), 1) and np.allclose(made.by_caption.sum(0), 1)


def test_every_line_of_the_pseudocode_has_its_tensor() -> None:
    image, text = features(3, 5)
    made = contrast(image, text, 10.0)
    assert [(line.name, line.shape) for line in made.lines] == [
        ("I_f", (3, 5)), ("T_f", (3, 5)), ("I_e", (3, 5)), ("T_e", (3, 5)), ("logits", (3, 3)), ("labels", (3,)),
        ("loss_i", ()), ("loss_t", ()), ("loss", ()),
    ]  # fmt: skip
    assert all(line.code.startswith(line.name) for line in made.lines)
    values = {line.name: line.value for line in made.lines}
    assert np.allclose(np.linalg.norm(values["I_e"], axis=1), 1)
    assert np.allclose(values["I_e"] @ values["T_e"].T * 10, values["logits"])
    assert values["loss"] == pytest.approx((values["loss_i"] + values["loss_t"]) / 2)


def test_it_pickles_and_cannot_be_changed() -> None:
    made = contrast(*features(3), 10.0)
    again = pickle.loads(pickle.dumps(made))
    assert np.array_equal(again.logits, made.logits) and again.loss == made.loss
    with pytest.raises(AttributeError):
        made.loss = 0.0  # type: ignore[misc]
    assert replace(made, loss=0.0).loss == 0


# --- SigLIP -------------------------------------------------------------------------------------------------


def test_the_sigmoid_loss_is_a_binary_cross_entropy() -> None:
    image, text = features(5)
    made = contrast(image, text, 10.0, learned_sigmoid=(10.0, -10.0)).sigmoid
    logits = torch.from_numpy(made.logits)
    expected = (
        F.binary_cross_entropy_with_logits(logits, torch.eye(5, dtype=torch.double), reduction="sum") / 5
    )
    assert made.loss == pytest.approx(expected.item()) and made.bias == -10
    assert np.allclose(made.probabilities, logits.sigmoid().numpy())
    assert np.array_equal(made.signs, 2 * np.eye(5) - 1)


@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0])
def test_the_bias_found_is_the_best(scale: float) -> None:
    cosines = contrast(*features(6), 1.0).cosines
    best = contrastive.pairwise_sigmoid(cosines, np.eye(6), scale)
    assert best.probabilities.sum() == pytest.approx(6, abs=1e-6)
    for change in (-0.1, 0.1):
        assert contrastive.pairwise_sigmoid(cosines, np.eye(6), scale, best.bias + change).loss > best.loss


# --- batch size ---------------------------------------------------------------------------------------------


def test_larger_batches_are_harder_and_guessing_costs_log_n() -> None:
    image, text = features(128, 64)
    image = text + 4 * RNG.normal(size=image.shape)
    made = contrastive.difficulty(image, text, 10.0)
    assert made.sizes.tolist() == [2, 4, 8, 16, 32, 64]
    assert (np.diff(made.losses) > 0).all() and (np.diff(made.accuracies) < 0).all()
    assert np.allclose(made.chance, np.log(made.sizes))
    alike = contrastive.difficulty(np.ones((64, 4)), np.ones((64, 4)), 10.0, draws=2)
    assert np.allclose(alike.losses, alike.chance)


def test_a_whole_pool_is_one_batch() -> None:
    image, text = features(8)
    made = contrastive.difficulty(image, text, 12.0, sizes=[8], draws=3)
    assert made.losses[0] == pytest.approx(contrast(image, text, 12.0).loss)
    assert made.accuracies[0] == pytest.approx(contrast(image, text, 12.0).picture_accuracy)


@pytest.mark.parametrize(
    ("image", "text", "scale", "captions", "code"),
    [
        (np.ones((3, 4)), np.ones((2, 4)), 1.0, None, "matrix_shape"),
        (np.ones((3, 4)), np.ones((3, 4)), 1.0, ["a"], "matrix_shape"),
        (np.ones((0, 4)), np.ones((0, 4)), 1.0, None, "matrix_shape"),
        (np.ones((3, 4)), np.ones((3, 4)), 0.0, None, "bad_logit_scale"),
        (np.ones((3, 4)), np.ones((3, 4)), float("nan"), None, "bad_logit_scale"),
        (np.ones((3, 4)), np.ones((3, 4)), "much", None, "bad_logit_scale"),
        (np.ones((3, 4)), np.ones((3, 4)), True, None, "bad_logit_scale"),
    ],
)
def test_wrong_batches_are_refused(
    image: np.ndarray, text: np.ndarray, scale: Any, captions: list[str] | None, code: str
) -> None:
    with pytest.raises(Refusal) as refused:
        contrast(image, text, scale, captions)
    assert refused.value.code == code
