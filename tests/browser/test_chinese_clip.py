"""The Chinese-CLIP page in a real browser: the lesson, the tabs and the walkthrough, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.driving import ANSWERED, newer, open_tab, run

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]


def test_a_fresh_page_shows_the_lesson_and_answers_an_example(visit: Visits) -> None:
    page = visit().open("/chinese-clip", ANSWERED)
    assert page.locator("#try-lesson tr.published").count() == 3
    with newer(page):
        page.locator('#examples [data-example="sheep_standing"]').click()
    assert "Recorded" not in page.locator("#try-bars").inner_text()
    assert page.locator("#try-bars tbody tr").count() == 3
    assert page.locator("#try-lesson tr.ours").count() == 3


def test_the_way_of_a_label_in_chinese(visit: Visits) -> None:
    page = visit(locale="zh-CN").open("/chinese-clip", ANSWERED)
    open_tab(page, "比较")
    run(page, "readers")
    assert page.locator("#readers-tokens .byte").count()
    assert page.locator("#readers-out tbody tr").count() == 3
    open_tab(page, "看看内部", "代码")
    run(page, "code")
    assert "T" in page.locator("#code-out .code-card .equation").first.inner_text()


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_the_walkthrough_fits_and_answers(visit: Visits, width: int, height: int) -> None:
    page = visit(width=width, height=height).open("/chinese-clip", ANSWERED)
    open_tab(page, "Walkthrough")
    page.locator("#walk-guess label").nth(1).click()
    run(page, "walk")
    assert page.locator("#walk-out tr.published").count()
    assert "lying" in page.locator("#walk-out .atlas-verdict").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#walk-next").click()
    page.wait_for_function("document.querySelector('#walk-step').innerText.includes('step 2')")
    assert page.locator("#walk-out").inner_text().strip() == ""
