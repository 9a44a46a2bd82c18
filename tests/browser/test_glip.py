"""The GLIP page in a real browser: a phrase and its boxes, the threshold, a lesson on a phone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import settle

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
ANSWERED = "document.querySelector('#try-line [data-answer]')"
STATUS = "document.querySelector('#try-figure .gl-status')?.innerText"
VISIBLE = "document.querySelectorAll('#try-figure .atlas-det-box:not([hidden])').length"
PAIR = "/glip?example=dog_and_car&text=a+dog+and+a+car&threshold=0.1"


def test_a_phrase_and_its_boxes_highlight_each_other(visit: Visits) -> None:
    page = visit(locale="zh-CN").open(
        "/glip?example=dog_and_car&text=一只狗和一辆汽车&threshold=0.1", ANSWERED
    )
    first, second = (page.locator(f"#try-figure .gl-phrase[data-group='{at}']") for at in (0, 1))
    # By keyboard: the other phrase's boxes fade.
    first.focus()
    page.keyboard.press("Enter")
    assert first.get_attribute("aria-pressed") == "true" and "“狗”" in page.evaluate(STATUS)
    boxes = page.locator("#try-figure .atlas-det-box[data-group='1']:not([hidden])")
    assert "faded" in (boxes.first.get_attribute("class") or "")
    # A box selects its phrase; a second press or Escape clears the selection.
    boxes.last.focus()
    page.keyboard.press("Enter")
    assert second.get_attribute("aria-pressed") == "true" and first.get_attribute("aria-pressed") == "false"
    page.keyboard.press("Escape")
    assert page.locator("#try-figure .gl-phrase[aria-pressed=true]").count() == 0
    assert "不低于 0.10" in page.evaluate(STATUS)


def test_the_threshold_hides_boxes_in_the_browser(visit: Visits) -> None:
    page = visit().open(PAIR, ANSWERED)
    before = page.evaluate(VISIBLE)
    assert before >= 2
    page.locator("#settings button").first.click()
    settle(page)  # what the fold holds is drawn
    number = page.locator("#threshold input[type=number]")
    number.fill("1")
    number.press("Tab")
    page.wait_for_function(f"{VISIBLE} === 0 && {STATUS}.includes('No box scores 1.00')")
    # The answer still belongs to its inputs: a threshold asks nothing again.
    assert page.locator("#try-result").get_attribute("data-stale") is None
    number.fill("0.1")
    number.press("Tab")
    page.wait_for_function(f"{VISIBLE} === {before}")
    settle(page)
    page.locator("#downloads > button").first.click()
    page.locator("#files-run").click()
    with page.expect_download() as download:
        page.locator("#files-out a", has_text="COCO JSON").click()
    assert download.value.suggested_filename == "glip-coco.json"


def test_the_answer_is_in_sight_when_the_page_opens(visit: Visits) -> None:
    page = visit(width=1280, height=800).open("/glip", ANSWERED)
    assert (
        page.evaluate("document.querySelector('#try-figure .atlas-det-stage').getBoundingClientRect().bottom")
        <= 800
    )


def test_a_lesson_fits_a_phone_and_answers(visit: Visits) -> None:
    width = 390
    page = visit(width=width, height=844).open("/glip?step=syringes:0")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#walk-step h3").wait_for()
    page.locator("#walk-guess label").first.click()
    page.locator("#walk-run").click()
    page.locator("#walk-out .atlas-why").wait_for()
    assert "You predicted" in page.locator("#walk-out .atlas-verdict").first.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#walk-next").click()
    page.wait_for_function("document.querySelector('#walk-step').innerText.includes('only the test tube')")


def test_the_threshold_leaves_a_label_with_a_score_of_its_own(visit: Visits) -> None:
    page = visit(locale="en-US").open(
        "/glip?example=dog_and_car&mode=labels&text=dog,car&threshold=0.1&by_label=dog+0.3&negatives=apple",
        ANSWERED,
    )
    assert page.locator("#try-figure s.gl-negative").inner_text() == "apple"
    page.evaluate(
        "document.querySelector('#try-figure .gl-figure').dispatchEvent("
        "new CustomEvent('atlas-threshold', { detail: 0.99, bubbles: true }))"
    )
    kept = page.locator("#try-figure .atlas-det-box:not([hidden])")
    assert kept.count() >= 1
    assert {kept.nth(at).get_attribute("data-group") for at in range(kept.count())} == {"0"}
    assert "minimum score" in page.evaluate(STATUS)
