"""Boxes on a picture in a real browser: by mouse and by keyboard, and the flock in one click."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
FILLED = "document.querySelector('#labels textarea')?.value.length > 0"


def open_crops(visit: Visits, **options: Any) -> Any:
    page = visit(**options).open("/clip", FILLED)
    page.locator("#group-closer-button").click()
    page.locator("#crops-surface img").wait_for()
    return page


def parts(page: Any, count: int) -> None:
    """Presses the button and waits for a table of the whole picture and `count` parts."""
    page.locator("#crops-button").click()
    page.wait_for_function(
        "count => document.querySelectorAll('#crops-out tbody tr').length === count", arg=count + 1
    )


def test_the_flock_in_one_click(visit: Visits) -> None:
    page = open_crops(visit, locale="zh-CN")
    page.locator("#crops-flock").click()
    page.wait_for_function("document.querySelectorAll('#crops-out tbody tr').length === 5")
    assert "flock" in page.locator("#crops-surface img").get_attribute("src")
    boxes = page.locator(".atlas-box")
    assert boxes.count() == 4 and "羊" in boxes.first.inner_text() and "%" in boxes.first.inner_text()


def test_boxes_by_mouse(visit: Visits) -> None:
    page = open_crops(visit)
    area = page.locator(".atlas-pane").bounding_box()
    page.mouse.move(area["x"] + 0.1 * area["width"], area["y"] + 0.2 * area["height"])
    page.mouse.down()
    page.mouse.move(area["x"] + 0.6 * area["width"], area["y"] + 0.8 * area["height"], steps=4)
    page.mouse.up()
    assert "from 10%, 20% to 60%, 80%" in page.locator(".atlas-box").get_attribute("aria-label")
    parts(page, 1)
    page.wait_for_function("document.querySelector('.atlas-box').innerText.includes('%')")
    area = page.locator(".atlas-pane").bounding_box()  # pressing the button scrolled the page
    # A moved box is a new question: its old answer goes.
    page.mouse.move(area["x"] + 0.3 * area["width"], area["y"] + 0.5 * area["height"])
    page.mouse.down()
    page.mouse.move(area["x"] + 0.4 * area["width"], area["y"] + 0.5 * area["height"], steps=3)
    page.mouse.up()
    assert "from 20%, 20% to 70%, 80%" in page.locator(".atlas-box").get_attribute("aria-label")
    assert page.locator(".atlas-box").inner_text() == "1"


def test_boxes_by_keyboard_alone(visit: Visits) -> None:
    page = open_crops(visit)
    page.locator("#crops-surface [data-add]").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.className") == "atlas-box"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowDown")
    assert "from 18%, 20% to 58%, 62%" in page.locator(".atlas-box").get_attribute("aria-label")
    parts(page, 1)
    page.locator(".atlas-box").focus()
    page.keyboard.press("Delete")
    assert page.locator(".atlas-box").count() == 0


def test_another_picture_takes_the_boxes_away(visit: Visits) -> None:
    page = open_crops(visit)
    page.locator("#crops-surface [data-add]").click()
    page.locator('[data-example="toys"]').click()
    page.wait_for_function("document.querySelector('#crops-surface img').src.includes('toys')")
    page.wait_for_function("document.querySelectorAll('.atlas-box').length === 0")
