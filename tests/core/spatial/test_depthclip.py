"""DepthCLIP on a tiny ResNet CLIP: the head, maps of shifted images, words and bins, learning bins; the measures."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from core import inputs
from core.errors import Refusal
from core.spatial import depth_errors, depthclip
from core.spatial.depth_anything import RelativeDepth
from core.spatial.depthclip import CLASSROOM, PUBLISHED, DepthEstimator, DepthView, DepthWords
from tests import tiny
from tests.conftest import Rows

PLACE = DepthView("place", 64, False)


def make_resnet(folder: Path) -> None:
    """The files of a CLIP row with a ResNet of a few thousand weights."""
    made = tiny.tokenizer()
    config = {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": 64,
            "layers": [1, 1, 1, 1],
            "width": 8,
            "head_width": 16,
            "patch_size": None,
        },
        "text_cfg": {
            "context_length": 12,
            "vocab_size": made.get_vocab_size(),
            "width": 32,
            "heads": 2,
            "layers": 2,
        },
    }
    torch.manual_seed(0)
    model = open_clip.CLIP(**config)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.clone() for k, v in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    made.save(str(folder / "tokenizer.json"))


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, rows: Rows) -> None:
    make_resnet(tmp_path / "resnet")
    tiny.make_bundle(tmp_path / "vit")
    rows(tiny.row("tiny-resnet", tmp_path / "resnet"), tiny.row("tiny-vit", tmp_path / "vit"))


def picture(width: int = 90, height: int = 60) -> inputs.FileImage:
    """An image of noise."""
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    return inputs.image(Image.fromarray(pixels).resize((width, height)))


@pytest.mark.parametrize("features", ["stage", "place"])
def test_depth_is_the_mean_of_the_bins(features: depthclip.Features) -> None:
    model = DepthEstimator.load("tiny-resnet")
    words = DepthWords(("dog", "cat", "sheep"), (1.0, 2.0, 4.0), "a {object} of {word}", "photo", 3.0)
    result = model.estimate(picture(), words, DepthView(features, 64, False))
    assert result.depth.shape == (60, 90) and result.probabilities.shape == (3, 2, 3)
    assert result.sentences == ("a photo of dog", "a photo of cat", "a photo of sheep")
    mean = np.tensordot(np.array(words.bins), result.probabilities, 1)
    assert np.allclose(result.place_depth, mean, atol=1e-5)
    assert result.depth.min() >= 1 and result.depth.max() <= 4
    assert result.probabilities.sum(0) == pytest.approx(1, abs=1e-5)
    assert pickle.loads(pickle.dumps(result)).bins == words.bins
    assert json.loads(json.dumps(result.to_json()))["size"] == [90, 60]


def test_a_vit_answers_with_its_own_places() -> None:
    result = DepthEstimator.load("tiny-vit").estimate(picture(), CLASSROOM, DepthView("place", 32, False))
    assert result.place_depth.shape == (4, 4) and result.depth.shape == (60, 90)


def test_shifted_maps_lie_between_one_another() -> None:
    """A bright spot is found at the same place in the fine map as in the coarse one, four times as fine."""
    model = DepthEstimator.load("tiny-resnet")
    image = np.zeros((96, 96, 3), np.uint8)
    image[8:24, 72:88] = 255
    shown = inputs.image(image)
    coarse = model.encode(shown, replace(PLACE, side=96)).place_features
    fine = model.encode(shown, replace(PLACE, side=96, shifts=4)).place_features
    assert coarse.shape == (3, 3, 16) and fine.shape == (12, 12, 16)
    blank = model.encode(
        inputs.image(np.zeros((96, 96, 3), np.uint8)), replace(PLACE, side=96, shifts=4)
    ).place_features
    difference = np.linalg.norm(fine - blank, axis=-1)
    row, column = np.unravel_index(difference.argmax(), difference.shape)
    assert row <= 4 and column >= 7


SIZES = [(640, 480, (416, 544)), (480, 640, (544, 416)), (100, 100, (416, 416)), (4000, 100, (416, 1664))]


@pytest.mark.parametrize(("width", "height", "seen"), SIZES)
def test_the_size_at_which_an_image_is_seen(width: int, height: int, seen: tuple[int, int]) -> None:
    assert depthclip.seen_size(width, height, 416) == seen


def test_an_image_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = DepthEstimator.load("tiny-resnet")
    first = model.encode(picture(), PLACE)
    monkeypatch.setattr(depthclip, "_encode", None)
    assert model.encode(picture(), PLACE) is first
    words = DepthWords(("dog", "cat", "sheep"), (1.0, 2.0, 4.0), "a {object} of {word}", "photo", 0.1)
    sharp, flat = (model.estimate(first, replace(words, temperature=value)) for value in (0.1, 100.0))
    assert np.abs(flat.depth - 7 / 3).max() < 0.1 < np.abs(sharp.depth - 7 / 3).max()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (replace(PUBLISHED, bins=(1.0, 2.0)), "depth_words"),
        (DepthWords((), ()), "depth_words"),
        (replace(PUBLISHED, bins=(1.0, 1.5, 2.0, 2.25, 2.5, 2.75, 0.0)), "depth_bins"),
        (replace(PUBLISHED, bins=(1.0, 1.5, 2.0, 2.25, 2.5, 2.75, float("nan"))), "depth_bins"),
        (replace(PUBLISHED, template="This is far"), "depth_template"),
        (replace(PUBLISHED, temperature=0.0), "out_of_range"),
    ],
)
def test_words_that_cannot_be(words: DepthWords, code: str) -> None:
    with pytest.raises(Refusal) as caught:
        DepthEstimator.load("tiny-resnet").estimate(picture(), words)
    assert caught.value.code == code
    assert caught.value.text("en") and caught.value.text("zh")


def test_bins_are_learned_from_a_few_places() -> None:
    """The words tell the places apart, but their metres are wrong."""
    text = np.eye(4, dtype=np.float32)
    which = np.arange(40) % 4
    features = text[which] + 0.02 * np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    truth = np.array([1.0, 5.0, 2.0, 9.0])[which]
    words = DepthWords(("a", "b", "c", "d"), (2.0, 2.0, 2.0, 2.0), temperature=10.0)
    *_, last = depthclip.fit(features, truth, text, words, steps=400, rate=0.05)
    assert np.allclose(last.words.bins, [1, 5, 2, 9], rtol=0.05)
    assert last.loss < 0.03
    stopped = depthclip.fit(features, truth, text, words, cancel=depthclip.Cancel(True))
    assert list(stopped) == []


# --- measures ------------------------------------------------------------------------------------------------


def test_measures_of_a_map_that_is_a_tenth_too_far() -> None:
    truth = torch.tensor([1.0, 2.0, 4.0])
    found = depth_errors.errors(truth * 1.1, truth)
    assert found["abs_rel"] == pytest.approx(0.1, abs=1e-6) and found["a1"] == 1
    assert found["log10"] == pytest.approx(np.log10(1.1), abs=1e-6)
    assert found["sq_rel"] == pytest.approx(float((0.01 * truth).mean()), abs=1e-6)
    assert found["rmse"] == pytest.approx(float((0.01 * truth**2).mean() ** 0.5), abs=1e-6)
    assert depth_errors.errors(truth * 1.3, truth)["a1"] == 0


def test_kitti_measures_only_the_usual_part() -> None:
    truth = torch.full((1, 1, 100, 200), 10.0)
    guess = truth.clone()
    guess[:, :, :40] = 20
    assert depth_errors.kitti_errors(truth, guess)["abs_rel"] == pytest.approx(0, abs=1e-6)
    assert depth_errors.kitti_errors(truth, guess, crop=False)["abs_rel"] == pytest.approx(0.4, abs=1e-6)


def test_no_constant_does_better() -> None:
    truth = np.random.default_rng(0).uniform(0.5, 8, (20, 30))
    truth[0, 0] = np.nan
    best = depth_errors.constant(truth)
    values = [
        depth_errors.map_errors(np.full_like(truth, v), truth)["abs_rel"] for v in np.linspace(0.4, 8, 200)
    ]
    assert depth_errors.map_errors(np.full_like(truth, best), truth)["abs_rel"] <= min(values) + 1e-4


def test_rank_correlation() -> None:
    a = np.array([1.0, 2, 3, 4])
    assert depth_errors.rank_correlation(a, a**3) == pytest.approx(1)
    assert depth_errors.rank_correlation(a, -a) == pytest.approx(-1)
    assert depth_errors.rank_correlation(a, np.ones(4)) == 0
    assert depth_errors.rank_correlation(np.array([1.0, 1, 2]), np.array([1.0, 2, 3])) == pytest.approx(
        0.8660254
    )


def test_relative_depth_is_fitted_to_a_truth() -> None:
    truth = np.random.default_rng(0).uniform(1, 5, (8, 9))
    relative = RelativeDepth("row", 3 / truth + 7, "cpu", 0.0)
    partly = np.where(np.arange(72).reshape(8, 9) % 3 == 0, truth, np.nan)
    assert np.allclose(relative.metres(partly), truth, rtol=1e-4)
