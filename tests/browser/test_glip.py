"""The GLIP page in a real browser: a phrase and its boxes, the threshold, a lesson on a phone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.test_chinese_clip import tab
from tests.conftest import settle

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
ANSWERED = "document.querySelector('#line')?.innerText.includes('ms')"
SAID = "document.querySelector('#figure .gl-said')?.innerText"
LEFT = "document.querySelectorAll('#figure .atlas-det-box:not([hidden])').length"
PAIR = "/glip?example=dog_and_car&text=a+dog+and+a+car&threshold=0.1"


def test_a_phrase_and_its_boxes_show_each_other(visit: Visits) -> None:
    page = visit(locale="zh-CN").open(
        "/glip?example=dog_and_car&text=一只狗和一辆汽车&threshold=0.1", ANSWERED
    )
    first, second = (page.locator(f"#figure .gl-phrase[data-group='{at}']") for at in (0, 1))
    # By keyboard: the other phrase's boxes fade.
    first.focus()
    page.keyboard.press("Enter")
    assert first.get_attribute("aria-pressed") == "true" and "“狗”" in page.evaluate(SAID)
    boxes = page.locator("#figure .atlas-det-box[data-group='1']:not([hidden])")
    assert "faded" in (boxes.first.get_attribute("class") or "")
    # A box presses its phrase, and a second press or Escape lets go of it.
    boxes.last.focus()
    page.keyboard.press("Enter")
    assert second.get_attribute("aria-pressed") == "true" and first.get_attribute("aria-pressed") == "false"
    page.keyboard.press("Escape")
    assert page.locator("#figure .gl-phrase[aria-pressed=true]").count() == 0
    assert "阈值 0.10" in page.evaluate(SAID)


def test_the_threshold_hides_boxes_in_the_browser(visit: Visits) -> None:
    page = visit().open(PAIR, ANSWERED)
    before = page.evaluate(LEFT)
    assert before >= 2
    number = page.locator("#threshold input[type=number]")
    number.fill("1")
    number.press("Tab")
    page.wait_for_function(f"{LEFT} === 0 && {SAID}.includes('No box reaches 1.00')")
    number.fill("0.1")
    number.press("Tab")
    page.wait_for_function(f"{LEFT} === {before}")
    settle(page)
    page.locator("#files button").first.click()
    page.locator("#files-button").click()
    with page.expect_download() as download:
        page.locator("#files-out a", has_text="COCO JSON").click()
    assert download.value.suggested_filename == "glip-coco.json"


def test_a_lesson_fits_a_phone_and_answers(visit: Visits) -> None:
    width = 390
    page = visit(width=width, height=844).open("/glip", ANSWERED)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    tab(page, "Walkthrough")
    page.locator("#walk-guess label").first.click()
    page.locator("#walk-run").click()
    page.locator("#walk-out .atlas-why").wait_for()
    assert "You said" in page.locator("#walk-out .atlas-verdict").first.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#walk-next").click()
    page.wait_for_function("document.querySelector('#walk-step').innerText.includes('test tube alone')")
