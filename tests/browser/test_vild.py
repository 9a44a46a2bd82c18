"""The ViLD page in a real browser: boxes that follow labels and can be inspected, a lesson, a phone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.driving import newer
from tests.conftest import settle

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
ANSWERED = "document.querySelector('#try-line [data-answer]')"
BOXES = "label => [...document.querySelectorAll('#try-figure button.atlas-det-box')].some(box => box.ariaLabel.startsWith(label))"


def test_a_label_brings_its_box_and_a_click_shows_the_region(visit: Visits) -> None:
    page = visit().open("/vild?example=robot_and_dog&labels=dog&variant=crops", ANSWERED)
    assert page.evaluate(BOXES, "dog") and not page.evaluate(BOXES, "robot")
    with newer(page):
        page.locator("#labels input").fill("robot")
        page.keyboard.press("Enter")
        page.wait_for_function("document.querySelectorAll('#labels li').length === 2")
    assert page.evaluate(BOXES, "robot")
    # Pointing at a name highlights its boxes; everything else fades.
    page.locator("#try-figure .atlas-det-legend button", has_text="robot").hover()
    assert page.locator("#try-figure .atlas-det-box.faded").count() >= 1
    assert page.locator("#try-figure .atlas-det-box.lit.dashed").count() >= 1
    page.locator("#try-figure .atlas-det-chip", has_text="robot").last.click()  # the best box is drawn last
    page.locator("#try-region .atlas-vild-region").wait_for()
    assert page.locator("#try-region tr.best th").inner_text().startswith("robot")
    assert page.locator("#try-figure button.atlas-det-box[aria-pressed=true]").count() == 1
    page.locator("#settings button").first.click()
    settle(page)  # what the fold holds is drawn
    with newer(page):
        page.locator("#threshold input[type=number]").fill("1")
        page.keyboard.press("Tab")
    assert page.locator("#try-figure .atlas-det-box").count() == 0
    assert page.locator("#try-region .atlas-vild-region").count() == 0


def test_by_keyboard_on_a_phone_in_chinese(visit: Visits) -> None:
    page = visit(width=390, height=844, locale="zh-CN", color_scheme="dark").open("/vild", ANSWERED)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("tab", name="看看内部", exact=True).click()
    page.locator("#regions-run").click()
    page.locator("#regions-figure button.atlas-det-box").first.wait_for()
    settle(page)
    button = page.locator("#regions-figure button[data-pick='2']")
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#regions-region').innerText.includes('第 3 个候选框')")
    assert button.get_attribute("aria-pressed") == "true"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_lesson_asks_before_it_answers(visit: Visits) -> None:
    page = visit().open("/vild", ANSWERED)
    page.get_by_role("tab", name="Walkthrough", exact=True).click()
    page.locator("#walk-image").click()
    page.wait_for_function("document.querySelector('#walk-step').innerText.includes('ViLD-image')")
    page.locator("#walk-run").click()
    page.locator("#atlas-message .atlas-refusal").wait_for()
    page.locator("#walk-guess label").last.click()
    page.locator("#walk-run").click()
    page.locator("#walk-out .atlas-verdict").wait_for()
    assert page.locator("#walk-out .atlas-vild-row tbody tr").count() == 3
    page.locator("#walk-next").click()
    page.wait_for_function("!document.querySelector('#walk-out .atlas-verdict')")
