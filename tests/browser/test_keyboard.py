"""Without a mouse: Tab reaches whatever can be used, Enter and the arrows use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from demos import catalog
from demos.kit import library
from tests.browser.driving import ANSWERED, LABELS, first_label, newer
from tests.browser.test_axe import tabs
from tests.conftest import settle

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
PHOTO = library.shared()["rose"]["path"]
PATHS = ["/", *(f"/{row.slug}" for row in catalog.open_rows())]
# Marks everything that a mouse could use, and says what it is; a group of radio buttons is one stop.
MARK = """() => {
  const selector = "a[href], button, input, select, textarea, summary, [role=tab], [role=button], [contenteditable=true]";
  const shown = (e) => e.checkVisibility({ opacityProperty: true, visibilityProperty: true })
    && e.getBoundingClientRect().width > 1 && e.getBoundingClientRect().height > 1;
  const groups = new Set();
  const found = {};
  document.querySelectorAll("[data-stop]").forEach((e) => delete e.dataset.stop);
  [...document.querySelectorAll(selector)].filter((e) => shown(e) && !e.disabled && !e.closest("[inert]")).forEach((e, i) => {
    if (e.type === "radio") {
      if (groups.has(e.name)) return;
      groups.add(e.name);
    }
    // A download is known by its name: an answer that comes meanwhile draws its links anew.
    e.dataset.stop = e.getAttribute("download") || i;
    found[e.dataset.stop] = e.outerHTML.replace(/\\s+/g, " ").slice(0, 110);
  });
  return found;
}"""
# The stop that has the focus; in a group of radio buttons the group's.
AT = """() => {
  const e = document.activeElement;
  if (e.type === "radio") {
    const all = [...document.querySelectorAll("input[type=radio]")].filter((other) => other.name === e.name);
    return (all.find((other) => other.dataset.stop) || e).dataset.stop ?? null;
  }
  return e.dataset.stop ?? e.getAttribute("download");
}"""


def reached(page: Any, wanted: int) -> set[str]:
    """The stops that Tab comes by on its way once around the page."""
    page.evaluate("() => { document.activeElement.blur(); window.getSelection().removeAllRanges(); }")
    found: set[str] = set()
    for _ in range(2 * wanted + 40):
        page.keyboard.press("Tab")
        at = page.evaluate(AT)
        if at is not None:
            found.add(at)
        if len(found) == wanted:
            break
    return found


@pytest.mark.parametrize("path", PATHS)
def test_tab_reaches_everything(visit: Visits, path: str) -> None:
    page = visit().open(path)
    missed = {}
    for name in tabs(page):
        for _ in range(3):
            stops = page.evaluate(MARK)
            found = reached(page, len(stops))
            if stops.keys() <= found:
                break
            # Perhaps an answer came meanwhile and drew its part of the page anew: once more.
            settle(page)
        if left := [text for stop, text in stops.items() if stop not in found]:
            missed[name] = left
    assert missed == {}


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
