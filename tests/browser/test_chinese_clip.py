"""The Chinese-CLIP page in a real browser: the lesson, the tabs and the walkthrough, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
FILLED = "document.querySelector('#labels textarea')?.value.length > 0"


def tab(page: Any, *names: str) -> None:
    """Opens a tab, one of a group after its group; on a narrow screen it may be behind the bar's menu."""
    for name in names:
        shown = page.get_by_role("tab", name=name, exact=True).locator("visible=true")
        if not shown.count():
            page.locator(".overflow-menu > button:visible").first.click()
            shown = page.locator(".overflow-dropdown button:visible", has_text=name)
        shown.first.click()


def test_a_fresh_page_shows_the_lesson_and_answers_an_example(visit: Visits) -> None:
    page = visit().open("/chinese-clip", FILLED)
    page.wait_for_function("document.querySelectorAll('#try-lesson tr.published').length === 3")
    page.locator('[data-example="sheep_standing"]').click()
    page.wait_for_function("document.querySelector('#try-line [data-answer]') !== null")
    page.wait_for_function("!document.querySelector('#try-bars').innerText.includes('Recorded')")
    assert page.locator("#try-bars tbody tr").count() == 3
    assert page.locator("#try-lesson tr.ours").count() == 3


def test_the_way_of_a_label_in_chinese(visit: Visits) -> None:
    page = visit(locale="zh-CN").open("/chinese-clip", FILLED)
    tab(page, "比较")
    page.locator("#readers-run").click()
    page.locator("#readers-tokens .byte").first.wait_for()
    assert page.locator("#readers-out tbody tr").count() == 3
    tab(page, "看看内部", "代码")
    page.locator("#code-run").click()
    page.locator("#code-out .code-card").first.wait_for()
    assert "T" in page.locator("#code-out .equation").first.inner_text()


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_the_walkthrough_fits_and_answers(visit: Visits, width: int, height: int) -> None:
    page = visit(width=width, height=height).open("/chinese-clip", FILLED)
    tab(page, "Walkthrough")
    page.locator("#walk-guess label").nth(1).click()
    page.locator("#walk-run").click()
    page.locator("#walk-out tr.published").wait_for()
    assert "lying" in page.locator("#walk-out .atlas-verdict").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#walk-next").click()
    page.wait_for_function("document.querySelector('#walk-step').innerText.includes('step 2')")
    assert page.locator("#walk-out").inner_text().strip() == ""
