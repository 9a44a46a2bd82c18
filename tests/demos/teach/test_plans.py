"""Lesson plans: every step opens, its stated answer is what the miniature says, and both languages say it."""

from __future__ import annotations

import re

import pytest

from demos.teach import page, plans, sheets, views
from demos.teach.plans import LANGUAGES, Step

STEPS = {
    f"{step.page}-{step.step or 'page'}": step for plan in plans.plans().values() for step in plan.steps
}  # one of a kind
CHINESE = re.compile("[\u4e00-\u9fff]")


def test_there_is_a_plan_for_each_lecture() -> None:
    assert list(plans.plans()) == ["minutes", "clip", "finding", "beyond"]
    assert [plan.minutes for plan in plans.plans().values()] == [20, 45, 45, 45]


@pytest.mark.parametrize("name", plans.plans())
def test_the_minutes_add_up_and_both_languages_are_there(name: str) -> None:
    plan = plans.plan(name)
    assert sum(step.minutes for step in plan.steps) == plan.minutes
    for step in plan.steps:
        for text in (step.say, step.usual, step.next, step.measure):
            assert text.en and CHINESE.search(text.zh) and not CHINESE.search(text.en)


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("name", STEPS)
def test_the_stated_answer_is_what_the_miniature_says(name: str, lang: str) -> None:
    step = STEPS[name]
    reply = plans.reply(step, lang)
    choices = plans.choices(step, lang)
    assert reply.index == step.answer < len(choices) <= len(sheets.LETTERS)
    assert plans.text_of(reply.body) and plans.question(step, lang)
    assert len(choices) == len(plans.choices(step, "en"))


@pytest.mark.parametrize("name", STEPS)
def test_a_link_is_understood_by_its_page(name: str) -> None:
    step = STEPS[name]
    assert step.address("zh", projector="1").startswith(f"{step.page}?")
    if step.step:
        plans.lesson(step)  # it names a step that the page has
    else:
        fields = plans.opened(step, "zh")
        assert all(getattr(fields, key, value) == value for key, value in step.parameters("zh").items())


def test_a_step_that_no_page_has_is_found() -> None:
    step = next(iter(STEPS.values()))
    for wrong in ("no-such:0", "envelope:99", "envelope"):
        with pytest.raises(KeyError):
            plans.lesson(Step(**{**vars(step), "page": "clip", "step": wrong}))


def test_an_answer_that_names_none_of_the_choices_is_none() -> None:
    step = next(step for step in STEPS.values() if step.query)
    assert plans.reply(Step(**{**vars(step), "choices": {"en": ["zebra", "ship"]}}), "en").index is None
    signed = next(step for step in STEPS.values() if step.sign)
    assert plans.reply(Step(**{**vars(signed), "sign": plans.Text("12.3%", "12.3%")}), "en").index is None


def test_the_room_lists_every_step_with_both_languages() -> None:
    html = str(page.whole())
    for plan in plans.plans().values():
        assert f'data-start="{plan.name}"' in html
        for step in plan.steps:
            for lang in LANGUAGES:
                assert f'href="{step.address(lang)}"'.replace("&", "&amp;") in html


def test_a_worksheet_asks_and_its_twin_answers() -> None:
    asked, answered = sheets.questions("minutes"), sheets.answers("minutes")
    plan = plans.plan("minutes")
    for i, step in enumerate(plan.steps, 1):
        assert f"{i}. " in asked and step.measure.zh in asked and step.measure.en in answered
        usual = step.usual.zh
        assert usual in answered and usual not in asked
    assert asked.count("☐") == 2 * 2 * sum(len(plans.choices(step, "en")) for step in plan.steps)
    assert answered.count("✓</td>") == 2 * len(plan.steps)
    assert "☐" not in answered and "✓</td>" not in asked


def test_what_screens_show_of_a_step_has_both_languages() -> None:
    view = views.step_view("minutes", 0)
    for part in ("title", "question", "choices", "address"):
        assert set(view[part]) == set(LANGUAGES)
    assert view["choices"]["zh"] != view["choices"]["en"]
