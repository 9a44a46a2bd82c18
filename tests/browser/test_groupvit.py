"""The GroupViT page in a real browser: the threshold, one group across images, a lesson on a phone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.driving import open_tab
from tests.conftest import settle

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
ANSWERED = "document.querySelector('#try-result [data-answer]') !== null"
SAID = "document.querySelector('#try-chart .gv-said')?.innerText"


def test_the_threshold_repaints_the_mask(visit: Visits) -> None:
    page = visit().open("/groupvit", ANSWERED)
    assert page.locator("#try-mask .atlas-seg-legend button").count() == 6
    number = page.locator("#threshold input[type=number]")
    number.fill("0")
    number.press("Tab")
    page.wait_for_function(f"{SAID}.includes('Nothing is background')")
    number.fill("1")
    number.press("Tab")
    page.wait_for_function(f"{SAID}.includes('1 of') && {SAID}.includes('one group always has a label')")
    settle(page)
    page.locator("#downloads button").first.click()
    page.locator("#files-run").click()
    with page.expect_download() as download:
        page.locator("#files-out a", has_text="groups CSV").click()
    assert download.value.suggested_filename == "groupvit.csv"


def test_a_chosen_group_lights_up_in_every_image(visit: Visits) -> None:
    page = visit(locale="zh-CN").open("/groupvit", ANSWERED)
    open_tab(page, "看看内部")
    page.locator("#row-run").click()
    page.locator(".gv-picture").first.wait_for()
    page.wait_for_function("document.querySelector('.gv-picture canvas').width > 0")
    settle(page)
    group = page.locator(".gv-groups:not([hidden]) button").first
    group.focus()
    page.keyboard.press("Enter")
    assert group.get_attribute("aria-pressed") == "true"
    said = page.locator("#row-out [role=status]").inner_text()
    assert "第 2 阶段" in said and "张里" in said
    # A place in an image is a choice as well: the same group a second time brings all back.
    page.locator("[data-stage='0']").click()
    page.locator(".gv-picture").first.click()
    assert page.locator(".gv-groups:not([hidden]) [aria-pressed=true]").count() == 1
    page.locator(".gv-picture").first.click()
    assert page.locator(".gv-groups:not([hidden]) [aria-pressed=true]").count() == 0


def test_a_lesson_fits_a_phone_and_answers(visit: Visits) -> None:
    width = 390
    page = visit(width=width, height=844).open("/groupvit", ANSWERED)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    open_tab(page, "Walkthrough")
    page.locator("#walk-guess label").first.click()
    page.locator("#walk-run").click()
    page.locator("#walk-out .atlas-why").wait_for()
    assert "You predicted" in page.locator("#walk-out .atlas-verdict").first.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#walk-next").click()
    page.wait_for_function("document.querySelector('#walk-step').innerText.includes('the highest value')")
