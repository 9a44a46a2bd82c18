"""Boxes on an image in a real browser: by mouse and by keyboard, and the four sheep of the flock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.driving import ANSWERED, newer, open_tab, run
from tests.conftest import settle

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
TITLES = {"en-US": ("Compare", "Crops"), "zh-CN": ("比较", "裁剪")}
STALE = "document.querySelector('#crops-result').dataset.stale"


def open_crops(visit: Visits, locale: str = "en-US", **options: Any) -> Any:
    page = visit(locale=locale, **options).open("/clip", ANSWERED)
    open_tab(page, *TITLES[locale])
    page.locator("#crops-surface img").wait_for()
    return page


def move(page: Any, *points: tuple[float, float]) -> None:
    """Presses the mouse at a place of the image, given as shares of its sides, and drags it to others."""
    image = page.locator("#crops-surface img")
    image.scroll_into_view_if_needed()
    area = image.bounding_box()
    for i, (x, y) in enumerate(points):
        page.mouse.move(area["x"] + x * area["width"], area["y"] + y * area["height"], steps=3)
        if i == 0:
            page.mouse.down()
    page.mouse.up()


def test_the_flock_part_by_part(visit: Visits) -> None:
    page = open_crops(visit, locale="zh-CN")
    page.locator('#examples [data-example="flock"]').click()
    page.wait_for_function("document.querySelector('#crops-surface img').src.includes('flock')")
    run(page, "crops")
    assert page.locator("#crops-table tbody tr").count() == 5  # the whole image and four parts
    boxes = page.locator("#crops-surface .atlas-box")
    assert boxes.count() == 4 and "羊" in boxes.first.inner_text() and "%" in boxes.first.inner_text()
    # Another image takes the boxes away that were drawn on this one; a quick machine answers for its grid at once.
    page.locator("#crops-surface [data-clear]").click()
    page.locator("#crops-surface [data-add]").click()
    assert boxes.count() == 1
    page.locator('#examples [data-example="toys"]').click()
    page.wait_for_function("document.querySelector('#crops-surface img').src.includes('toys')")
    settle(page, rounds=2)
    assert boxes.count() in (0, 4) and "羊" not in page.locator("#crops-surface").inner_text()


def test_boxes_by_mouse(visit: Visits) -> None:
    page = open_crops(visit)
    box = page.locator("#crops-surface .atlas-box")
    move(page, (0.1, 0.2), (0.6, 0.8))
    assert "from 10%, 20% to 60%, 80%" in box.get_attribute("aria-label")
    run(page, "crops")
    assert page.locator("#crops-table tbody tr").count() == 2 and "%" in box.inner_text()
    # A moved box is another question: the old answer leaves the box, and the table is greyed until the new one is there.
    with newer(page, "crops"):
        move(page, (0.3, 0.5), (0.4, 0.5))
        assert "from 20%, 20% to 70%, 80%" in box.get_attribute("aria-label")
    assert page.locator("#crops-table tbody tr").count() == 2 and "%" in box.inner_text()


def test_a_box_keeps_its_place_on_a_phone(visit: Visits) -> None:
    page = open_crops(visit, width=390, height=844)
    for name in ("flock", "surfer"):
        page.locator(f'#examples [data-example="{name}"]').click()
        page.wait_for_function(f"document.querySelector('#crops-surface img').src.includes('{name}')")
        page.wait_for_function(
            """() => {
              const image = document.querySelector("#crops-surface img");
              const [area, pane] = [image.getBoundingClientRect(), image.parentNode.getBoundingClientRect()];
              const shape = (area.width / area.height) / (image.naturalWidth / image.naturalHeight);
              return Math.abs(shape - 1) < 0.02 && Math.abs(pane.height - area.height) < 1.5 && area.height > 150;
            }"""
        )
    move(page, (0.1, 0.1), (0.6, 0.9))
    assert "to 60%, 90%" in page.locator("#crops-surface .atlas-box").get_attribute("aria-label")


def test_boxes_by_keyboard_alone(visit: Visits) -> None:
    page = open_crops(visit)
    box = page.locator("#crops-surface .atlas-box")
    page.locator("#crops-surface [data-add]").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.className") == "atlas-box"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowDown")
    assert "from 18%, 20% to 58%, 62%" in box.get_attribute("aria-label")
    page.locator("#crops-run").focus()
    with newer(page, "crops"):
        page.keyboard.press("Enter")
    assert page.locator("#crops-table tbody tr").count() == 2
    box.focus()
    page.keyboard.press("Delete")
    assert box.count() == 0
