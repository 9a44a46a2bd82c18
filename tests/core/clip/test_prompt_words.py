"""What each word of a prompt adds: the sentence without it, read by the encoder itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core import inputs
from core.clip import ZeroShot
from core.clip.prompt_words import prompt_words
from core.errors import Refusal

IMAGE = Path("assets/examples/clip/cat_left_of_car.webp")


@pytest.fixture(scope="module")
def model() -> ZeroShot:
    return ZeroShot.load("classroom-rn", "cpu")


def test_a_word_adds_what_its_absence_takes(model: ZeroShot) -> None:
    image = inputs.image(IMAGE)
    one = prompt_words(model, image, "  a cat to the left  of a car ")
    assert one.text == "a cat to the left of a car" and one.words == tuple(one.text.split())
    assert [one.text[first:end] for first, end in one.spans] == list(one.words)
    whole, without = model.classify(image, [one.text, "a to the left of a car"]).cosines.tolist()
    assert one.cosine == pytest.approx(whole, abs=1e-6) and one.added[1] == pytest.approx(
        whole - without, abs=1e-6
    )
    # Without "left" or "car" the sentence no longer says what is seen; the little words hardly count.
    added = dict(zip(one.words, one.added, strict=True))
    little = max(abs(added[word]) for word in ("a", "to", "the"))
    assert min(added["left"], added["car"], added["cat"]) > 2 * little
    assert np.abs(one.shares).sum() == pytest.approx(1) and (np.sign(one.shares) == np.sign(one.added)).all()
    told = one.to_json()
    assert [row["word"] for row in told["words"]] == list(one.words) and one.answer.relevance.shape[0] == 1


def test_chinese_is_taken_apart_into_characters(model: ZeroShot) -> None:
    one = prompt_words(model, inputs.image(IMAGE), "猫 and 汽车。")
    assert one.words == ("猫", "and", "汽", "车", "。")
    assert one.added[0] > 0


def test_one_word_is_compared_with_nothing(model: ZeroShot) -> None:
    one = prompt_words(model, inputs.image(IMAGE), "cat")
    assert one.words == ("cat",) and np.isfinite(one.added).all() and abs(one.shares[0]) == 1


def test_a_text_without_a_word_is_refused(model: ZeroShot) -> None:
    with pytest.raises(Refusal) as caught:
        prompt_words(model, inputs.image(IMAGE), "  ")
    assert caught.value.code == "no_text"
