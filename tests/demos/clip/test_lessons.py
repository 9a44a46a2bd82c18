"""The walkthrough of the CLIP page: each step asks first, and its outcome is one of its choices."""

from __future__ import annotations

import dataclasses

import pytest

from core import checkpoints
from core.clip import prompts
from core.runtime import Cancel
from demos.clip import draw as views
from demos.clip import lessons
from demos.clip.page import PAGE
from demos.kit import classifier, library, walkthrough
from demos.kit.walkthrough import Case

WALK = PAGE.declared.walk
STEPS = [f"{name}:{at}" for name, row in library.lessons("clip").items() for at in range(len(row["steps"]))]


def answers(where: str, lang: str, checkpoint: str = "classroom-rn") -> list[str]:
    """What the page shows for each prediction of a step."""
    choices = lessons.choices(walkthrough.step_of(where, library.lessons("clip")), lang)
    bodies = []
    for at in range(len(choices)):
        *_, last = walkthrough.reveal(WALK, where, str(at), checkpoint, lang, Cancel())
        bodies.append(last["out"])
    return bodies


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("where", STEPS)
def test_one_prediction_is_correct_and_the_others_learn_the_same(where: str, lang: str) -> None:
    step = walkthrough.step_of(where, library.lessons("clip"))
    bodies = answers(where, lang)
    assert sum("✓ " in body.split("</strong>")[0] for body in bodies) == 1
    assert all(step["why"][lang][:12] in body for body in bodies)


def test_templates_of_steps_exist_in_both_languages() -> None:
    for row in library.lessons("clip").values():
        for step in row["steps"]:
            if template := step.get("template"):
                assert {template, f"{template}-zh"} <= set(prompts.template_sets())


def test_the_negatives_of_a_batch_are_counted() -> None:
    step = walkthrough.step_of("batch:0", library.lessons("clip"))
    outcome = lessons.negatives(Case("clip", step, "classroom-rn", "en"))
    count = step["count"] ** 2 - step["count"]
    assert step["choices"][outcome.index] == count and outcome.body.count("negative") == count


@pytest.mark.parametrize("checkpoint", [row.name for row in checkpoints.rows("clip") if row.bundled])
def test_one_word_has_two_senses_and_the_template_chooses(checkpoint: str) -> None:
    """The step brings its own image, a computer mouse, whatever is on the page."""
    step = walkthrough.step_of("prompts:1", library.lessons("clip"))
    assert step["kind"] == "senses" and "scene" in step
    outcome = WALK.outcome(step, checkpoint, "zh")
    assert step["choices"][outcome.index] == "a computer {}" and "mouse" in outcome.body
    assert "data:image" in lessons.card(step, "en")


def test_an_english_only_checkpoint_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence follows the row's languages: the miniature's numbers under a row that reads English only."""
    step = walkthrough.step_of("language:0", library.lessons("clip"))
    model = classifier.model(None)
    english, chinese = (
        model.classify(walkthrough.image_of("clip", step), lessons.labels_of(step, lang))
        for lang in ("en", "zh")
    )
    assert "both languages" in views.language_table(english, chinese, "en")
    row = dataclasses.replace(checkpoints.row(model.checkpoint), languages=("en",))
    monkeypatch.setattr(views.checkpoints, "row", lambda name: row)
    assert "English captions only" in views.language_table(english, chinese, "en")
    assert "只学过英文" in views.language_table(english, chinese, "zh")


def test_the_english_only_checkpoint_is_offered_where_it_is_not_here() -> None:
    step = walkthrough.step_of("language:0", library.lessons("clip"))
    body = lessons.languages(Case("clip", step, "classroom-rn", "en")).body
    assert ("atlas-hint" in body) == (checkpoints.state(lessons.ENGLISH_ONLY) != "cached")
