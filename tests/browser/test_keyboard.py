"""Without a mouse: Enter and the arrows use what Tab comes to. That it comes to everything: test_every_page.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from demos.kit import library
from tests.browser.driving import ANSWERED, LABELS, first_label, newer
from tests.conftest import settle

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
PHOTO = library.shared()["rose"]["path"]


def to(page: Any, selector: str) -> None:
    """Presses Tab until an element has the focus."""
    for _ in range(150):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"Tab never comes to {selector}")


def test_an_image_is_classified_without_a_mouse(visit: Visits) -> None:
    page = visit().open("/clip", ANSWERED)
    to(page, "#labels input")
    for _ in page.evaluate(LABELS):
        page.keyboard.press("Backspace")
    page.keyboard.type("red envelope, dog, airplane")
    with newer(page):
        page.keyboard.press("Enter")
        to(page, "#try-run")
        page.keyboard.press("Enter")
    assert page.locator("#try-bars tbody tr").count() == 3
    assert first_label(page) == "red envelope"
    # A label goes by its cross.
    page.locator("#labels input").focus()
    with newer(page):
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
        assert page.evaluate(LABELS) == ["red envelope", "dog"]
        assert page.evaluate("document.activeElement.closest('#labels') !== null")


def test_an_example_a_tab_a_checkpoint_and_an_upload(visit: Visits) -> None:
    page = visit().open("/clip", ANSWERED)
    to(page, "#examples [data-example=sheep_eating]")
    with newer(page):
        page.keyboard.press("Enter")
    assert page.evaluate(LABELS)[0] == "a sheep standing"

    for name in ("Compare", "Absent labels"):
        tab = page.get_by_role("tab", name=name, exact=True)
        tab.focus()
        page.keyboard.press("Enter")
        page.wait_for_function("tab => tab.ariaSelected === 'true'", arg=tab.element_handle())
    assert page.locator("#absent-run").is_visible()

    box = page.locator("#checkpoint input")
    before = box.input_value()
    box.focus()
    page.keyboard.press("ArrowDown")
    page.get_by_role("option").first.wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "before => document.querySelector('#checkpoint input').value !== before", arg=before
    )

    settle(page)  # a reload cuts off what is at work
    page.reload()
    page.wait_for_function(ANSWERED)
    to(page, "#image [aria-label='Remove Image']")
    page.keyboard.press("Enter")
    page.wait_for_function("!document.querySelector('#image img')")
    with page.expect_file_chooser() as chooser:
        to(page, "#image [aria-dropeffect]")
        page.keyboard.press("Enter")
    chooser.value.set_files(str(PHOTO))
    page.wait_for_function("document.querySelector('#image img')?.src.includes('rose')")


def test_language_theme_and_menu(visit: Visits) -> None:
    page = visit().open("/clip", ANSWERED)
    to(page, ".atlas-menu summary")
    page.keyboard.press("Enter")
    page.locator(".atlas-menu-list a").first.wait_for()
    to(page, "[data-toggle-theme]")
    page.keyboard.press("Enter")
    page.wait_for_function("document.body.classList.contains('dark')")
    page.locator("[data-set-lang=zh]").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#try-run')?.innerText.includes('分类')")
