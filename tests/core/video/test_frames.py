"""Sampled frames in the space of an image tower: encoded once, each as CLIP encodes it as an image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from core import inputs
from core.clip import ZeroShot, encoders
from core.errors import Refusal
from core.video import frames
from tests import tiny
from tests.conftest import Rows
from tests.core.inputs.test_video import film, numbered, steady

pytestmark = pytest.mark.usefixtures("forget")


@pytest.fixture(scope="module", autouse=True)
def registry(tmp_path_factory: pytest.TempPathFactory, module_rows: Rows) -> None:
    module_rows(tiny.bundled("tiny-soft", tmp_path_factory.mktemp("bundles")))


@pytest.fixture(scope="module")
def video() -> inputs.Video:
    return inputs.video(film(steady(50)))


PASSES: list[int] = []


def counted(encoder: Any, pixels: Tensor) -> Tensor:
    PASSES.append(len(pixels))
    return frames.image_features(encoder, pixels)


def test_a_frame_is_encoded_as_its_image(video: inputs.Video) -> None:
    model = ZeroShot.load("tiny-soft", "cpu")
    encoded = frames.encode(model, video, video.uniform(5))
    assert encoded.times == pytest.approx([0.2, 0.6, 1.0, 1.4, 1.8], abs=0.021)
    with model.use() as encoder:
        images = [Image.fromarray(f.pixels) for f in video.at(video.uniform(5), side=encoder.preprocess.side)]
        np.testing.assert_allclose(encoded.directions, encoder.encode_image(images), atol=1e-5)
        raw = encoder.vision(encoder.pixels(images)).image_features.numpy()
    np.testing.assert_allclose(encoded.frame_features, raw, atol=1e-5)
    assert encoded.digest == video.digest and encoded.crop == (16, 0, 80, 64)
    assert encoded.pictures.dtype == np.uint8 and encoded.pictures.shape[0] == 5
    assert encoded.nbytes > encoded.pictures.nbytes > 0


def test_nothing_is_encoded_again(video: inputs.Video) -> None:
    model = ZeroShot.load("tiny-soft", "cpu")
    PASSES.clear()
    first = frames.encode(model, video, video.uniform(4), features=counted)
    again = frames.encode(model, inputs.video(film(steady(50))), video.uniform(4) + 0.001, features=counted)
    assert first is again and PASSES == [4]
    frames.encode(model, video, video.uniform(3), features=counted)
    assert PASSES == [4, 3]


def test_times_that_show_one_frame_share_its_feature_unless_all_frames_are_needed() -> None:
    model, still = ZeroShot.load("tiny-soft", "cpu"), inputs.video(film([0]))
    PASSES.clear()
    shared = frames.encode(model, still, [0, 0, 0], features=counted)
    whole = frames.encode(model, still, [0, 0, 0], features=counted, whole=True)
    assert PASSES == [1, 3] and shared.frame_features.shape == whole.frame_features.shape
    np.testing.assert_allclose(shared.frame_features, whole.frame_features, atol=1e-5)
    assert len(shared.pictures) == 3


def test_long_clips_go_through_the_tower_in_parts(
    monkeypatch: pytest.MonkeyPatch, video: inputs.Video
) -> None:
    monkeypatch.setattr(frames, "IMAGE_BATCH", 16)
    PASSES.clear()
    encoded = frames.encode(ZeroShot.load("tiny-soft", "cpu"), video, video.moments, features=counted)
    assert PASSES == [16, 16, 16, 2] and len(encoded.times) == 50


def test_pictures_are_small() -> None:
    large = [numbered(i, 600, 400) for i in range(2)]
    video = inputs.video(film([0, 40], pictures=large))
    encoded = frames.encode(ZeroShot.load("tiny-soft", "cpu"), video, [0])
    assert min(encoded.pictures.shape[1:3]) <= frames.SHOWN_SIDE
    assert encoded.size == (600, 400)


def test_a_stop_is_heard_between_frames(video: inputs.Video) -> None:
    def check() -> None:
        raise Refusal("cancelled")

    with pytest.raises(Refusal) as caught:
        frames.encode(ZeroShot.load("tiny-soft", "cpu"), video, [1.0], check=check)
    assert caught.value.code == "cancelled"
    assert len(frames.ENCODED) == 0


def test_every_preprocessing_knows_its_side() -> None:
    plain = encoders.OpenClipPreprocess(64, encoders.OPENAI_MEAN, encoders.OPENAI_STD, "bicubic", "shortest")
    assert plain.side == 64

    class Processor:
        size: dict[str, int]

    for size in ({"shortest_edge": 224}, {"height": 256, "width": 256}):
        processor = Processor()
        processor.size = size
        assert encoders.TransformersPreprocess(processor).side == max(size.values())
    with torch.inference_mode():
        assert plain(Image.new("RGB", (90, 64))).shape == (3, 64, 64)
