"""Least scores of single labels and negative labels: the plain functions, and through both detectors' miniatures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core import inputs
from core.detection import GLIP, ViLD, choices
from core.detection.boxes import choose
from core.errors import Refusal


@pytest.mark.parametrize(
    ("text", "own", "rest"),
    [
        ("dog 0.4, cat: 0.25", {"dog": 0.4, "cat": 0.25}, []),
        ("狗：0.4，交通灯 .3", {"狗": 0.4, "交通灯": 0.3}, []),
        ("red dog=1\ncat", {"red dog": 1.0}, ["cat"]),
        ("dog 1.5; 0.4; route 66 0.2", {"route 66": 0.2}, ["dog 1.5", "0.4"]),
        ("", {}, []),
        (None, {}, []),
        ({"dog": 0.4}, {"dog": 0.4}, []),
    ],
)
def test_scores_of_labels_are_read(text: Any, own: dict[str, float], rest: list[str]) -> None:
    assert inputs.scores(text) == (own, rest)


def test_a_score_that_is_none_is_refused() -> None:
    with pytest.raises(Refusal) as caught:
        inputs.scores({"dog": 1.5})
    assert caught.value.code == "out_of_range"
    with pytest.raises(Refusal):
        inputs.scores("a" * 100_000)


def test_each_label_has_its_least_score() -> None:
    least = choices.least_scores(["a Dog", "cat", "the dog house"], 0.5, {"dog": 0.25})
    assert least.tolist() == [0.25, 0.5, 0.5]
    assert choices.least_scores(["dog", "wolf"], 0.5, {"dog": 0.25}, (1,)).tolist() == [0.25, 0.25]
    scores = torch.tensor([[0.3, 0.4], [0.2, 0.6]])
    boxes = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    box, label, _ = choose(boxes, scores, torch.from_numpy(least[:2]), 0.5)
    assert sorted(zip(box.tolist(), label.tolist(), strict=True)) == [(0, 0), (1, 1)]


def test_negatives_stand_behind_the_labels_once() -> None:
    assert choices.with_negatives(["dog", "cat"], ["wolf", "a Dog", "fox"]) == ["dog", "cat", "wolf", "fox"]
    assert choices.places(["dog", "wolf"], ["Wolf"]) == (1,)


def test_a_surer_negative_takes_the_box() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 10, 10], [50, 50, 60, 60], [0, 0, 10, 4]], np.float32)
    labels = np.array([1, 0, 0, 0])
    scores = np.array([0.9, 0.6, 0.5, 0.4], np.float32)
    assert choices.select_visible(boxes, scores, labels, (1,)).tolist() == [False, False, True, True]
    # A less sure one takes nothing, and is not shown either.
    assert choices.select_visible(boxes, scores[::-1].copy(), labels, (1,)).tolist() == [
        False,
        True,
        True,
        True,
    ]
    assert choices.select_visible(boxes, scores, labels, ()).all()


def scene() -> Any:
    return inputs.image(Path("assets/examples/glip/dog_and_car.webp"))


def test_glip_and_its_negatives() -> None:
    model = GLIP.load("classroom-glip", "cpu")
    image = scene()
    plain = model.detect(image, ["dog", "car"], threshold=0.3)
    assert set(plain.phrase_indices.tolist()) == {0, 1} and not plain.negatives
    answer = model.detect(image, ["animal", "car"], threshold=0.05, negatives=["dog", "car"])
    # "car" was asked for, so it is no negative; the dog's box is not shown, and the surest animal was on the dog.
    assert [phrase.text for phrase in answer.phrases] == ["animal", "car", "dog"]
    assert answer.negatives == (2,) and 2 not in answer.phrase_indices
    whole = model.detect(image, ["animal", "car", "dog"], threshold=0.05)
    dog = whole.boxes[whole.phrase_indices == 2][0], whole.scores[whole.phrase_indices == 2][0]
    for box, score, phrase in zip(answer.boxes, answer.scores, answer.phrase_indices, strict=True):
        if phrase == 0 and score < dog[1]:
            assert choices.select_visible(
                np.stack([dog[0], box]), np.array([1.0, 0.0]), np.array([1, 0]), (1,)
            )[1]
    assert len(answer.boxes) < len(whole.boxes)
    told = answer.to_json()["phrases"]
    assert told[2]["negative"] is True and "negative" not in told[0]


def test_glip_and_the_least_score_of_a_label() -> None:
    model = GLIP.load("classroom-glip", "cpu")
    image = scene()
    answer = model.detect(image, ["dog", "car"], threshold=0.05, by_label={"dog": 1.0})
    assert set(answer.phrase_indices.tolist()) == {1} and answer.settled == (0,)
    caption = "a dog to the left of a car"
    kept = model.ground(image, caption, threshold=1.0, by_label={"car": 0.3})
    assert [kept.phrases[at].text for at in set(kept.phrase_indices.tolist())] == ["a car"]


def test_vild_and_its_negatives() -> None:
    model = ViLD.load("classroom-vild", "cpu")
    image = scene()
    plain = model.detect(image, ["dog", "car"])
    assert {plain.labels[at] for at in plain.label_indices.tolist()} == {"dog", "car"}
    answer = model.detect(image, ["car"], negatives=["dog"], base=[True])
    assert answer.labels == ("car", "dog") and answer.negatives == (1,) and len(answer.base) == 2
    assert set(answer.label_indices.tolist()) == {0}
    strict = model.detect(image, ["dog", "car"], by_label={"dog": 1.0})
    assert {strict.labels[at] for at in strict.label_indices.tolist()} == {"car"}
