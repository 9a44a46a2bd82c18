"""*Look inside*, *What if?* and *Walkthrough* in a real browser: by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
FILLED = "document.querySelector('#labels textarea')?.value.length > 0"


def open_tab(visit: Visits, group: str, tab: str, **options: Any) -> Any:
    page = visit(**options).open("/clip", FILLED)
    page.locator(f"#group-{group}-button").click()
    page.locator(f"#tab-{tab}-button").click()
    return page


def test_where_a_label_is_seen(visit: Visits) -> None:
    page = open_tab(visit, "inside", "where", locale="zh-CN")
    # On a telephone the group is behind the bar's menu; what it shows has to fit there all the same.
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator("#where-button").click()
    page.wait_for_function("document.querySelectorAll('#where-out img').length >= 4")
    assert "真实方框" in page.locator("#where-out").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_attention_follows_pointer_and_keyboard(visit: Visits) -> None:
    page = open_tab(visit, "inside", "attention")
    tiles = page.locator("#attend button[data-layer]")
    tiles.nth(2).wait_for()
    caption = page.locator(".atlas-attend-caption")
    assert "mean of heads" in caption.inner_text()
    tiles.nth(2).hover()
    assert "head 2" in caption.inner_text() and tiles.nth(2).get_attribute("aria-pressed") == "true"
    canvas = page.locator(".atlas-attend-big canvas")
    canvas.click(position={"x": 20, "y": 20})
    page.wait_for_function(
        "document.querySelector('.atlas-attend-caption').innerText.includes('row 1, column 1)')"
    )
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "document.querySelector('.atlas-attend-caption').innerText.includes('row 1, column 2)')"
    )
    page.keyboard.press("Escape")
    page.wait_for_function(
        "document.querySelector('.atlas-attend-caption').innerText.includes('whole picture reads')"
    )


def test_something_painted_out_and_put_in(visit: Visits) -> None:
    page = open_tab(visit, "closer", "whatif")
    page.locator("#whatif-surface img[draggable]").wait_for()
    area = page.locator("#whatif-surface .atlas-pane").bounding_box()
    page.mouse.move(area["x"] + 0.4 * area["width"], area["y"] + 0.4 * area["height"])
    page.mouse.down()
    page.mouse.move(area["x"] + 0.6 * area["width"], area["y"] + 0.6 * area["height"], steps=5)
    page.mouse.up()
    page.wait_for_function("document.querySelectorAll('#whatif-out tbody tr').length > 2")
    assert "1 painted out" in page.locator("#whatif-surface [data-count]").inner_text()
    # By keyboard alone: a thing goes in, moves, and goes again.
    page.locator('#whatif-surface [data-sprite="dog"]').focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.className") == "atlas-paste"
    page.keyboard.press("ArrowLeft")
    assert "48%" in page.locator(".atlas-paste").get_attribute("aria-label")
    page.keyboard.press("Delete")
    assert page.locator(".atlas-paste").count() == 0
    page.locator("#whatif-surface [data-undo]").click()
    page.wait_for_function("document.querySelectorAll('#whatif-out tbody tr').length === 0")


def test_a_change_of_one_click_keeps_its_drawing(visit: Visits) -> None:
    page = open_tab(visit, "closer", "whatif")
    page.locator("#whatif-gone").click()
    page.wait_for_function("document.querySelectorAll('#whatif-out tbody tr').length === 4")
    page.wait_for_function("document.querySelector('#whatif-surface img').src.includes('cat_left_of_car')")
    assert page.locator(".atlas-paste.blank").count() == 1
    # Another picture takes it away.
    page.locator('#examples [data-example="toys"]').click()
    page.wait_for_function("document.querySelectorAll('.atlas-paste').length === 0")


def test_a_lesson_asks_first(visit: Visits) -> None:
    page = open_tab(visit, "lessons", "walkthrough")
    page.wait_for_function("document.querySelectorAll('#walk-guess input').length === 6")
    page.locator("#walk-run").click()
    page.locator("#atlas-message .atlas-refusal").wait_for()
    page.locator("#walk-guess label").nth(4).click()
    page.locator("#walk-run").click()
    page.wait_for_function("document.querySelectorAll('#walk-out tbody tr').length === 6")
    assert "You said" in page.locator("#walk-out").inner_text()
    page.locator("#walk-next").click()
    page.wait_for_function("document.querySelectorAll('#walk-guess input').length === 3")
    assert page.locator("#walk-out").inner_text().strip() == ""
