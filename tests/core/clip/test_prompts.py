"""Template sets, custom templates and the ensemble in feature space."""

from __future__ import annotations

import numpy as np
import pytest

from core.clip import prompts
from core.errors import Refusal


@pytest.mark.parametrize("name", list(prompts.template_sets()))
def test_every_set_has_one_place_for_the_label(name: str) -> None:
    templates = prompts.resolve(name)
    assert templates and all(template.count("{}") == 1 for template in templates)
    row = prompts.template_sets()[name]
    assert row.en and row.zh and set(row.languages) <= {"en", "zh"}


def test_the_papers_ensembles_have_their_sizes() -> None:
    assert len(prompts.resolve("eighty")) == 80
    assert len(prompts.resolve("seven")) == len(prompts.resolve("seven-zh")) == 7


def test_custom_templates() -> None:
    assert prompts.resolve(None) == ("{}",)
    assert prompts.resolve("a toy {label}\n\n a {} of glass ") == ("a toy {}", "a {} of glass")
    assert prompts.resolve(["{}", "one {}"]) == ("{}", "one {}")
    assert prompts.fill("a {} of glass", "{weird} {}") == "a {weird} {} of glass"


@pytest.mark.parametrize(
    ("template", "code"),
    [
        ("no place here", "template_without_place"),
        ("{} and {}", "template_without_place"),
        ("fotos", "unknown_template"),
        (["{}"] * 101, "too_many_templates"),
    ],
)
def test_refused_templates(template: str | list[str], code: str) -> None:
    with pytest.raises(Refusal) as refusal:
        prompts.resolve(template)
    assert refusal.value.code == code
    assert refusal.value.text("en") and refusal.value.text("zh")


def test_ensemble_averages_normalised_features_and_normalises_again() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(3, 4, 5))
    features /= np.linalg.norm(features, axis=-1, keepdims=True)
    weights = prompts.ensemble(features)
    np.testing.assert_allclose(np.linalg.norm(weights, axis=-1), 1)
    np.testing.assert_allclose(prompts.ensemble(features[[2, 0, 1]]), weights)
    np.testing.assert_allclose(prompts.ensemble(features[:1]), features[0])
