"""Zero-shot classification: the mathematics, and what is computed only once."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from core.clip import ZeroShot, encoders, zero_shot
from core.errors import Refusal
from tests import tiny
from tests.conftest import Rows

pytestmark = pytest.mark.usefixtures("forget")


@pytest.fixture(scope="module", autouse=True)
def registry(tmp_path_factory: pytest.TempPathFactory, module_rows: Rows) -> None:
    folder = tmp_path_factory.mktemp("bundles")
    tiny.make_bundle(folder)
    module_rows(tiny.row("tiny-soft", folder), tiny.row("tiny-sigmoid", folder, "sigmoid"))


LABELS = ["dog", "cat", "red envelope"]


def test_probabilities_are_the_papers_formula() -> None:
    result = ZeroShot.load("tiny-soft", "cpu").classify(tiny.noise(50, 40), LABELS)
    np.testing.assert_allclose(result.cosines, result.text_features @ result.image_features, atol=1e-6)
    logits = result.learned_logit_scale * result.cosines
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(result.probabilities, expected, rtol=1e-5)
    assert result.probabilities.sum() == pytest.approx(1)
    np.testing.assert_allclose(np.linalg.norm(result.text_features, axis=-1), 1, atol=1e-5)
    assert result.relevance.shape == (3, 4, 4)
    assert result.crop == (5, 0, 45, 40)


def test_order_of_labels_does_not_matter() -> None:
    model = ZeroShot.load("tiny-soft", "cpu")
    there = model.classify(tiny.noise(50, 40), LABELS)
    back = model.classify(tiny.noise(50, 40), LABELS[::-1])
    np.testing.assert_allclose(there.probabilities, back.probabilities[::-1], atol=1e-6)
    assert [row["label"] for row in there.to_json()["results"]] == [
        row["label"] for row in back.to_json()["results"]
    ]


def test_sigmoid_rows_do_not_sum_to_one_and_do_not_see_each_other() -> None:
    model = ZeroShot.load("tiny-sigmoid", "cpu")
    one = model.classify(tiny.noise(50, 40), LABELS[:1])
    three = model.classify(tiny.noise(50, 40), LABELS)
    np.testing.assert_allclose(one.probabilities[0], three.probabilities[0], atol=1e-6)


def test_temperature_flattens_and_sharpens_without_changing_the_order() -> None:
    model = ZeroShot.load("tiny-soft", "cpu")
    cold = model.classify(tiny.noise(50, 40), LABELS, logit_scale=200)
    warm = model.classify(tiny.noise(50, 40), LABELS, logit_scale=1)
    assert cold.probabilities.max() > warm.probabilities.max()
    assert list(cold.order) == list(warm.order)
    for value in (0, -1, 1001, float("nan")):
        with pytest.raises(Refusal, match="logit scale"):
            model.classify(tiny.noise(50, 40), LABELS, logit_scale=value)


def test_ensemble_of_one_template_twice_is_that_template() -> None:
    model = ZeroShot.load("tiny-soft", "cpu")
    once = model.classify(tiny.noise(50, 40), LABELS, ["a photo of a {}"])
    twice = model.classify(tiny.noise(50, 40), LABELS, ["a photo of a {}", "a photo of a {}"])
    np.testing.assert_allclose(once.cosines, twice.cosines, atol=1e-6)
    assert twice.cosines_per_template.shape == (2, 3)


def test_a_changed_label_encodes_only_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ZeroShot.load("tiny-soft", "cpu")
    model.classify(tiny.noise(50, 40), LABELS)
    encoded: list[str] = []
    original = zero_shot._encode_text
    monkeypatch.setattr(
        zero_shot, "_encode_text", lambda model, texts: encoded.extend(texts) or original(model, texts)
    )
    monkeypatch.setattr(zero_shot, "_encode_image", lambda *_: pytest.fail("the picture was encoded again"))
    model.classify(tiny.noise(50, 40), [*LABELS, "sheep"])
    assert encoded == ["sheep"]


def test_labels_that_repeat_or_share_a_batch_do_not_mix() -> None:
    model = ZeroShot.load("tiny-soft", "cpu")
    together = model.encode_text(["dog", "a photo of a red envelope", "dog"])
    encoders.TEXT_FEATURES.clear()
    np.testing.assert_allclose(model.encode_text(["dog"])[0], together[0], atol=1e-6)
    np.testing.assert_array_equal(together[0], together[2])


def test_results_pickle() -> None:
    model = ZeroShot.load("tiny-soft", "cpu")
    result = model.classify(tiny.noise(50, 40), LABELS)
    again = pickle.loads(pickle.dumps(result))
    assert again.labels == result.labels
    assert pickle.loads(pickle.dumps(model)) == model


def test_absence_line_lies_inside_the_cosines_of_unrelated_words() -> None:
    model = ZeroShot.load("tiny-soft", "cpu")
    for language in ("en", "zh"):
        words = zero_shot.background_words(language)
        assert len(words) == len(set(words)) == 120
        cosines = model.classify(tiny.noise(50, 40), words).cosines
        line = model.absence_line(tiny.noise(50, 40), None, language)
        # Words that this tiny vocabulary does not know share one feature, so a few may tie with the line.
        assert (cosines > line).mean() <= 0.05 <= (cosines >= line).mean()


def test_unknown_and_missing_checkpoints_are_refused() -> None:
    with pytest.raises(Refusal) as refusal:
        ZeroShot.load("no-such-row", "cpu")
    assert refusal.value.code == "unknown_checkpoint"
