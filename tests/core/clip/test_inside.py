"""Inside the towers: the walked pass is the library's, attention rows sum to one, relevance finds what is there."""

from __future__ import annotations

import json
import pickle
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from core import inputs
from core.clip import ZeroShot, atlas, attention, encoders, relevance, stages
from core.clip.walk import POOL, walk
from core.errors import Refusal
from tests import tiny
from tests.conftest import Rows

ROOT = Path(__file__).resolve().parents[3]
SCENES = ROOT / "assets" / "examples" / "clip"
MINIATURE = "classroom-rn"
LABELS = ["dog", "cat", "sheep"]
KINDS = {
    "vit": (tiny.make_bundle, "core.clip.encoders:load_open_clip"),
    "chinese": (tiny.make_chinese_clip, "core.clip.encoders:load_chinese_clip"),
    "siglip": (tiny.make_siglip, "core.clip.siglip:load_siglip"),
    "mobile": (tiny.make_mobile_clip, "core.clip.mobile:load_mobile_clip"),
    "metaclip2": (tiny.make_metaclip2, "core.clip.metaclip2:load_metaclip2"),
}
ALL = [*KINDS, MINIATURE]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A row of random weights for every kind of transformer."""
    folder, made = tmp_path_factory.mktemp("inside"), []
    for name, (make, loader) in KINDS.items():
        make(folder / name)
        made.append(tiny.row(name, folder / name, "sigmoid" if name == "siglip" else "softmax", loader))
    return made


@pytest.fixture(autouse=True)
def use_registry(request: pytest.FixtureRequest, tables: list[str], rows: Rows, forget: None) -> None:
    """The miniature keeps its own registry."""
    if "kind" in request.fixturenames and request.getfixturevalue("kind") != MINIATURE:
        rows(*tables)


def use(model: ZeroShot) -> encoders.DualEncoder:
    with encoders.use(model.checkpoint, model.device, model.dtype) as encoder:
        return encoder


@pytest.mark.parametrize("kind", ALL)
def test_the_walk_is_the_librarys_own_pass(kind: str) -> None:
    encoder = use(ZeroShot.load(kind, "cpu"))
    pixels = encoder.pixels([tiny.noise(60, 40), tiny.noise(40, 60)])
    with torch.inference_mode():
        made, own = walk(encoder.vision, pixels), encoder.vision(pixels)
        attention = encoder.vision.attention(pixels)
    torch.testing.assert_close(made.image_features, own.image_features, rtol=1e-4, atol=1e-5)
    assert made.grid == tuple(own.patch_features.shape[1:3])
    layers = [weights for name, weights in made.attention.items() if kind != "mobile" or name != POOL]
    if kind == "mobile":  # no token of the whole image: its row and column are added
        torch.testing.assert_close(torch.stack(layers, 1), attention[..., 1:, 1:])
        torch.testing.assert_close(attention[..., 0, :], attention[..., 1:, :].mean(-2))
    elif kind != "siglip":
        torch.testing.assert_close(torch.stack(layers, 1), attention)
    else:
        torch.testing.assert_close(made.attention[POOL][:, :, 0], attention[:, 0, :, 0, 1:])


def test_a_tower_of_another_kind_is_not_walked() -> None:
    with pytest.raises(TypeError):
        walk(object(), torch.zeros(1, 3, 8, 8))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("reader", [None, (0, 1)])
def test_what_a_reader_reads_sums_to_one(kind: str, reader: tuple[int, int] | None) -> None:
    found = attention.attend(ZeroShot.load(kind, "cpu"), tiny.noise(60, 40), reader)
    assert found.weights.shape[:2] == found.kept.shape and len(found.layers) == len(found.weights)
    np.testing.assert_allclose(found.weights.sum((2, 3)) + found.kept, 1, rtol=1e-4)
    assert (found.weights >= 0).all() and (found.entropy >= 0).all() and (found.entropy <= 1 + 1e-6).all()
    # Nobody reads for the whole image in the blocks of SigLIP and MobileCLIP.
    assert any(found.mean) == (kind in ("siglip", "mobile") and reader is None)
    assert pickle.loads(pickle.dumps(found)).layers == found.layers


def test_a_place_outside_the_grid_is_refused() -> None:
    with pytest.raises(Refusal) as refusal:
        attention.attend(ZeroShot.load(MINIATURE, "cpu"), tiny.noise(60, 40), (2, 0))
    assert refusal.value.code == "no_such_place"


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("method", relevance.METHODS)
def test_relevance_has_a_map_for_every_label(kind: str, method: str) -> None:
    model = ZeroShot.load(kind, "cpu")
    found = relevance.locate(model, tiny.noise(60, 40), LABELS, method)
    assert found.maps.ndim == 3 and len(found.maps) == 3 and np.isfinite(found.maps).all()
    if method != "maskclip":
        assert (found.maps >= 0).all() and found.maps.max() > 0
    # Answers belong to labels, not to their order.
    turned = relevance.locate(model, tiny.noise(60, 40), LABELS[::-1], method)
    np.testing.assert_allclose(turned.maps[::-1], found.maps, rtol=1e-3, atol=1e-6)
    assert pickle.loads(pickle.dumps(found)).method == method
    assert [row["label"] for row in found.to_json()["relevance"]] == LABELS


def test_two_equal_labels_have_nothing_that_tells_them_apart() -> None:
    features = np.random.default_rng(0).normal(size=(1, 8)).repeat(2, 0)
    np.testing.assert_allclose(relevance.directions(features, True), 0, atol=1e-12)
    np.testing.assert_array_equal(relevance.directions(features, False), features)
    alone = features[:1]
    np.testing.assert_array_equal(relevance.directions(alone, True), alone)


@pytest.mark.parametrize("method", relevance.METHODS)
def test_relevance_lies_on_the_thing_that_the_label_names(method: str) -> None:
    """Over all scenes with two or more things: the share inside its box against the box's share of the image."""
    model, gains = ZeroShot.load(MINIATURE, "cpu"), []
    for row in json.loads((SCENES / "examples.json").read_text(encoding="utf-8")):
        boxes = defaultdict(list)
        for thing in row["objects"]:
            boxes[f"a {thing['en']}"].append(thing["box"])
        if len(boxes) < 2:
            continue
        found = relevance.locate(model, inputs.image(SCENES / row["file"]), list(boxes), method)
        for one, places in zip(found.maps, boxes.values(), strict=True):
            inner, area = relevance.share_inside(one, found.answer.crop, places)
            gains.append(inner / area)
    assert len(gains) == 12
    # Measured: 1.75 (maskclip), 2.88 (gradcam), 1.82 (attribution); 1 is a map that knows nothing.
    assert np.mean(gains) > 1.5 and np.median(gains) > 1.4


def test_what_is_refused() -> None:
    model = ZeroShot.load(MINIATURE, "cpu")
    for options, code in (
        ({"labels": LABELS, "method": "magic"}, "unknown_method"),
        ({"labels": [str(i) for i in range(13)]}, "too_many_labels"),
    ):
        with pytest.raises(Refusal) as refusal:
            relevance.locate(model, tiny.noise(60, 40), **options)
        assert refusal.value.code == code


@pytest.mark.parametrize("kind", ALL)
def test_stages_lead_from_the_picture_to_a_vector_of_length_one(kind: str) -> None:
    model = ZeroShot.load(kind, "cpu")
    found = stages.of_image(model, tiny.noise(60, 40))
    assert found[0].shape == (40, 60, 3) and found[1].name == "pixels" and found[1].shape[0] == 3
    assert (
        found[-1].name == "normalised"
        and found[-1].shape == model.encode(tiny.noise(60, 40)).image_features.shape
    )
    width = found[-1].shape[0]
    assert width * (found[-1].mean ** 2 + found[-1].deviation ** 2) == pytest.approx(1, abs=0.02)
    assert all(stage.picture.dtype == np.uint8 and stage.picture.shape[-1] == 3 for stage in found)


def test_a_map_of_a_plane_keeps_distances() -> None:
    """Points of a plane in many dimensions: two components hold them, and turn by turn the same way."""
    generator = np.random.default_rng(1)
    flat = generator.normal(size=(9, 2))
    basis = np.linalg.qr(generator.normal(size=(16, 2)))[0]
    texts = np.arange(9) % 2 == 0
    found = atlas.project(flat @ basis.T, texts)
    assert found.explained.sum() == pytest.approx(1)
    apart = [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (flat, found.points)]
    np.testing.assert_allclose(apart[0], apart[1], rtol=1e-4)
    np.testing.assert_array_equal(atlas.project(flat @ basis.T, texts).points, found.points)


def test_centring_closes_the_gap_between_pictures_and_texts() -> None:
    generator = np.random.default_rng(2)
    texts = np.arange(20) < 10
    points = generator.normal(size=(20, 8)) + 5 * texts[:, None]
    apart, together = (atlas.project(points, texts, 3, centred) for centred in (False, True))
    assert apart.gap == pytest.approx(together.gap) and apart.gap > 10
    means = [one.points[texts].mean(0) - one.points[~texts].mean(0) for one in (apart, together)]
    assert np.linalg.norm(means[0]) > 10 and np.linalg.norm(means[1]) < 1e-4
    # Fewer points than axes: what is missing is zero.
    assert atlas.project(points[:2], texts[:2], 3).points.shape == (2, 3)


def test_share_inside_knows_a_map_that_knows_nothing() -> None:
    crop, box = (10, 0, 110, 100), [(10, 0, 60, 100)]
    assert relevance.share_inside(np.ones((4, 4)), crop, box) == pytest.approx((0.5, 0.5))
    left = np.zeros((2, 2))
    left[:, 0] = 1
    assert relevance.share_inside(left, crop, box)[0] > 0.8


def test_components_and_strips_are_pictures() -> None:
    generator = np.random.default_rng(3)
    for count, width in ((6, 20), (20, 6), (6, 3), (6, 1)):
        assert stages.components(generator.normal(size=(count, width)), (2, count // 2)).shape == (
            2,
            count // 2,
            3,
        )
    shown = stages.strip(np.array([1.0, 0, -1] + [0.0] * 5))
    assert (
        shown.shape == (8, 1, 3)
        and shown[0, 0].tolist() == [230, 159, 0]
        and shown[1, 0].tolist() == [255] * 3
    )
