"""Crops: where boxes lie, what is refused, and that each is answered as if it were an image of its own."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from core.clip import ZeroShot, crops
from core.errors import Refusal
from tests import tiny
from tests.conftest import Rows

pytestmark = pytest.mark.usefixtures("forget")

LABELS = ["dog", "cat", "red envelope"]


@pytest.fixture(scope="module", autouse=True)
def registry(tmp_path_factory: pytest.TempPathFactory, module_rows: Rows) -> None:
    module_rows(tiny.bundled("tiny", tmp_path_factory.mktemp("crops")))


def test_a_grid_tiles_the_picture_row_by_row() -> None:
    boxes = crops.grid(60, 40, 2, 3)
    np.testing.assert_allclose(boxes[[0, 2, 5]], [[0, 0, 20, 20], [40, 0, 60, 20], [40, 20, 60, 40]])
    assert (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).sum() == pytest.approx(60 * 40)


@pytest.mark.parametrize(("rows", "columns", "code"), [(0, 2, "no_boxes"), (9, 8, "too_many_boxes")])
def test_grids_that_are_none(rows: int, columns: int, code: str) -> None:
    with pytest.raises(Refusal) as refusal:
        crops.grid(60, 40, rows, columns)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("boxes", "code"),
    [
        ([], "no_boxes"),
        (None, "bad_boxes"),
        ("box", "bad_boxes"),
        ([[0, 0, 10]], "bad_boxes"),
        ([[0, 0, 10, 10], [1]], "bad_boxes"),
        ([[0, 0, float("nan"), 10]], "bad_boxes"),
        ([[0, 0, 10, float("inf")]], "bad_boxes"),
        ([[0, 0, 10, 10]] * 65, "too_many_boxes"),
        ([[5, 5, 6, 30]], "box_too_small"),
        ([[70, 5, 90, 30]], "box_too_small"),
    ],
)
def test_boxes_from_outside_are_checked(boxes: Any, code: str) -> None:
    with pytest.raises(Refusal) as refusal:
        crops.check_boxes(boxes, 60, 40)
    assert refusal.value.code == code


def test_boxes_are_put_in_order_and_cut_at_the_edge() -> None:
    np.testing.assert_allclose(crops.check_boxes([[50, 30, -5, 10]], 60, 40), [[0, 10, 50, 30]])
    shares = crops.check_boxes([[0.5, 0, 1, 0.25]], 60, 40, shares=True)
    np.testing.assert_allclose(shares, [[30, 0, 60, 10]])


@pytest.mark.parametrize(
    ("box", "square"),
    [
        ((10, 10, 20, 30), (5, 10, 25, 30)),  # widened about its middle
        ((0, 5, 6, 25), (0, 5, 20, 25)),  # moved back into the image
        ((0, 0, 60, 10), (0, 0, 60, 40)),  # larger than the image is high
    ],
)
def test_the_tower_sees_a_square_around_the_box(box: tuple[int, ...], square: tuple[int, ...]) -> None:
    assert crops.squares(np.array([box], float), 60, 40).tolist() == [list(square)]


def test_each_crop_is_answered_like_a_picture_of_its_own() -> None:
    model, image = ZeroShot.load("tiny", "cpu"), tiny.noise(60, 40)
    result = crops.classify_crops(model, image, crops.grid(*image.size, 2, 2), LABELS, "photo")
    assert result.probabilities.shape == result.cosines.shape == (4, 3)
    np.testing.assert_allclose(result.probabilities.sum(axis=1), 1, rtol=1e-5)
    alone = model.classify(image.crop(tuple(result.seen[3].tolist())), LABELS, "photo")
    np.testing.assert_allclose(result.cosines[3], alone.cosines, atol=1e-5)
    assert result.best[3] == alone.order[0]
    np.testing.assert_allclose(result.whole.cosines, model.classify(image, LABELS, "photo").cosines)
    assert pickle.loads(pickle.dumps(result)).labels == tuple(LABELS)


def test_new_labels_and_known_boxes_encode_no_crop_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model, image = ZeroShot.load("tiny", "cpu"), tiny.noise(60, 40)
    boxes = crops.grid(*image.size, 2, 2)
    crops.classify_crops(model, image, boxes, LABELS)
    batches: list[int] = []
    original = crops.encode_pictures
    monkeypatch.setattr(
        crops, "encode_pictures", lambda model, parts: batches.append(len(parts)) or original(model, parts)
    )
    crops.classify_crops(model, image, boxes, ["money"])
    assert batches == []
    more = np.vstack([boxes, [[0, 0, 20, 20], [0, 0, 20, 20], [5, 5, 30, 30]]])
    crops.classify_crops(model, image, more, LABELS)
    assert batches == [2]


def test_the_answer_as_plain_values() -> None:
    model, image = ZeroShot.load("tiny", "cpu"), tiny.noise(60, 40)
    answer = crops.classify_crops(model, image, crops.grid(*image.size, 1, 2), LABELS).to_json()
    assert [crop["box"] for crop in answer["crops"]] == [[0, 0, 30, 40], [30, 0, 60, 40]]
    for rows in (answer["whole"], *(crop["results"] for crop in answer["crops"])):
        assert {row["label"] for row in rows} == set(LABELS)
        assert [row["probability"] for row in rows] == sorted((r["probability"] for r in rows), reverse=True)
