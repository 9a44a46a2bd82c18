"""*Walkthrough* and *Code*: every step asks first and says what its run showed; the code is what ran."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from core.clip import prompts
from demos.clip import answer as handlers
from demos.clip import code as clip_code
from demos.clip import lessons as clip_walkthrough
from demos.kit import shell
from demos.kit import walkthrough as walk

ROOT = Path(__file__).resolve().parents[3]
CAT = handlers.examples()["cat_left_of_car"]
STEPS = [
    f"{name}:{at}" for name, row in clip_walkthrough.lessons().items() for at in range(len(row["steps"]))
]


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("where", STEPS)
def test_every_step_asks_before_it_reveals(where: str, lang: str) -> None:
    here, card, guess, result, following, path, labels, example = clip_walkthrough.turn_to(where, lang)
    step = walk.step_of(where, clip_walkthrough.lessons())
    assert here == where and step["ask"][lang] in card and result == "" and not following["interactive"]
    assert Path(path).is_file() and labels == step["labels"][lang] and example in handlers.examples()
    assert step["why"][lang] not in card
    choices = [value for _, value in guess["choices"]]
    assert len(choices) >= 2 and guess["value"] is None
    ask = shell.guarded(clip_walkthrough.reveal, 2)
    for nothing in (None, "", "99", "<b>"):
        message, *_ = ask(where, nothing, "", lang)
        assert 'role="alert"' in message
    answers = [ask(where, choice, "", lang) for choice in choices]
    assert all(message == "" and step["why"][lang][:12] in body for message, body, _ in answers)
    # One prediction is right, all others are told the same truth.
    assert sum("✓ " in body.split("</strong>")[0] for _, body, _ in answers) == 1
    assert all(update["interactive"] for *_, update in answers)


def test_templates_of_steps_exist_in_both_languages() -> None:
    for row in clip_walkthrough.lessons().values():
        for step in row["steps"]:
            if template := step.get("template"):
                assert {template, f"{template}-zh"} <= set(prompts.template_sets())


def test_the_negatives_of_a_batch_are_counted() -> None:
    step = walk.step_of("batch:0", clip_walkthrough.lessons())
    outcome = clip_walkthrough.negatives(handlers.model(None), step, "en")
    count = step["count"]
    assert (
        step["choices"][outcome.index] == count**2 - count
        and outcome.body.count("negative") == count**2 - count
    )


def test_the_way_through_all_lessons_comes_back() -> None:
    where, seen = "", []
    for _ in STEPS:
        where = clip_walkthrough.turn_to(where, "en")[0]
        seen.append(where)
        where = walk.following(where, clip_walkthrough.lessons())
    assert seen == STEPS and where == STEPS[0]
    for strange in ("", "x", "sheep:", "sheep:-1", "sheep:99", "sheep:x", "sheep:٣"):
        assert clip_walkthrough.turn_to(strange, "zh")[0] in STEPS


def test_the_code_through_the_endpoint(server: str) -> None:
    client = Client(server, verbose=False)
    answer = client.predict(handle_file(CAT["path"]), ["a cat", "a car"], "photo", api_name="/clip_code")
    assert [one["role"] for one in answer["functions"]] == [step["role"] for step in clip_code.steps()]
    for one in answer["functions"]:
        source = (ROOT / one["file"]).read_text(encoding="utf-8").splitlines()
        assert all(source[line["number"] - 1].strip() == line["code"].strip() for line in one["lines"])
    made: dict[str, Any] = {}
    for line in answer["functions"][5]["lines"]:
        made |= line["made"]
    assert made["cosines"].startswith("[2] = ") and made["per_template"].startswith("[1, 2, ")
    with pytest.raises(AppError, match="label"):
        client.predict(handle_file(CAT["path"]), "", api_name="/clip_code")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_each_line_of_the_paper_stands_beside_a_line_that_ran(lang: str) -> None:
    message, body, line = shell.guarded(clip_code.show, 2)(
        CAT["path"], "a <b>cat</b>, a car", "seven", "", lang
    )
    assert message == "" and "ms" in line and "<b>cat" not in body
    cards = body.split("<section>")[1:]
    assert len(cards) == len(clip_code.steps())
    for card, step in zip(cards, clip_code.steps(), strict=True):
        assert 'class="ran key"' in card and step[lang][:8] in card
