"""*Look inside*, *What if?* and *Walkthrough* of the CLIP page in a real browser: by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.driving import ANSWERED, newer, open_tab, run

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
CAPTION = "document.querySelector('.atlas-attend-caption').innerText"


def test_where_a_label_is_seen(visit: Visits) -> None:
    page = visit(width=390, height=844, locale="zh-CN").open("/clip", ANSWERED)
    open_tab(page, "看看内部", "在哪里？")
    run(page, "where")
    assert page.locator("#where-out img").count() >= 4
    assert "真实方框" in page.locator("#where-out").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_attention_follows_pointer_and_keyboard(visit: Visits) -> None:
    page = visit().open("/clip", ANSWERED)
    with newer(page, "attention"):  # the tab answers when it is opened
        open_tab(page, "Look inside", "Attention")
    tiles = page.locator("#attention-maps button[data-layer]")
    caption = page.locator(".atlas-attend-caption")
    assert "mean of heads" in caption.inner_text()
    tiles.nth(2).hover()
    assert "head 2" in caption.inner_text() and tiles.nth(2).get_attribute("aria-pressed") == "true"
    canvas = page.locator(".atlas-attend-big canvas")
    canvas.click(position={"x": 20, "y": 20})
    page.wait_for_function(f"{CAPTION}.includes('row 1, column 1)')")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"{CAPTION}.includes('row 1, column 2)')")
    page.keyboard.press("Escape")
    page.wait_for_function(f"{CAPTION}.includes('whole image reads')")


def test_something_painted_out_and_put_in(visit: Visits) -> None:
    page = visit(height=800).open("/clip", ANSWERED)
    open_tab(page, "Compare", "What if?")
    image = page.locator("#whatif-surface img[draggable]")
    image.scroll_into_view_if_needed()
    area = image.bounding_box()
    page.mouse.move(area["x"] + 0.4 * area["width"], area["y"] + 0.4 * area["height"])
    with newer(page, "whatif"):  # it answers after every change
        page.mouse.down()
        page.mouse.move(area["x"] + 0.6 * area["width"], area["y"] + 0.6 * area["height"], steps=5)
        page.mouse.up()
    assert page.locator("#whatif-table tbody tr").count() == 6
    assert "1 painted out" in page.locator("#whatif-surface [data-count]").inner_text()
    # Image and answer are in sight together, without a click.
    page.wait_for_function(
        """() => document.querySelector("#whatif-table tbody tr").getBoundingClientRect().bottom < innerHeight
          && document.querySelector("#whatif-surface img[draggable]").getBoundingClientRect().top > 0"""
    )
    # By keyboard alone: a thing goes in, moves, and goes again.
    page.locator('#whatif-surface [data-sprite="dog"]').focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.className") == "atlas-paste"
    page.keyboard.press("ArrowLeft")
    assert "48%" in page.locator(".atlas-paste").get_attribute("aria-label")
    page.keyboard.press("Delete")
    assert page.locator(".atlas-paste").count() == 0
    page.locator("#whatif-surface [data-undo]").click()
    page.wait_for_function("document.querySelectorAll('#whatif-table tbody tr').length === 0")


def test_a_change_of_one_click_keeps_its_drawing(visit: Visits) -> None:
    page = visit().open("/clip", ANSWERED)
    open_tab(page, "Compare", "What if?")
    with newer(page, "whatif"):
        page.locator("#whatif-gone").click()
    assert page.locator("#whatif-table tbody tr").count() == 4
    page.wait_for_function("document.querySelector('#whatif-surface img').src.includes('cat_left_of_car')")
    assert page.locator(".atlas-paste.blank").count() == 1
    # Another image takes it away.
    page.locator('#examples [data-example="toys"]').click()
    page.wait_for_function("document.querySelectorAll('.atlas-paste').length === 0")


def test_a_lesson_asks_first_and_its_answer_comes_into_view(visit: Visits) -> None:
    page = visit(height=800).open("/clip", ANSWERED)
    open_tab(page, "Walkthrough")
    page.wait_for_function("document.querySelectorAll('#walk-guess input').length === 6")
    page.locator("#walk-run").click()
    page.locator("#atlas-message .atlas-refusal").wait_for()
    page.locator("#walk-guess label").nth(4).click()
    run(page, "walk")
    assert page.locator("#walk-out tbody tr").count() == 6
    assert "You predicted" in page.locator("#walk-out").inner_text()
    page.wait_for_function(
        "document.querySelector('#walk-out tbody tr').getBoundingClientRect().bottom < innerHeight"
    )
    assert page.locator("#atlas-message .atlas-refusal").count() == 0
    page.locator("#walk-next").click()
    page.wait_for_function("document.querySelectorAll('#walk-guess input').length === 3")
    assert page.locator("#walk-out").inner_text().strip() == ""


def test_a_lesson_about_one_word_with_two_senses(visit: Visits) -> None:
    page = visit().open("/clip?step=prompts:1")
    page.locator("#walk-guess label").last.click()
    run(page, "walk")
    heads = page.locator("#walk-out thead th").all_inner_texts()
    assert heads[1:] == ["a {}", "a {}, a small animal", "a computer {}"]
