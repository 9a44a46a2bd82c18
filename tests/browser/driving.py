"""How tests drive a page of the kit: its answer, its labels, its tabs."""

from __future__ import annotations

from typing import Any

from tests.conftest import settle

# JavaScript: whether the first tab has an answer, which one, and the sentence over one that belongs to other inputs.
ANSWERED = "document.querySelector('#try-result [data-answer]') !== null"
MARK = "document.querySelector('#try-result [data-answer]')?.dataset.answer"
STALE = "document.querySelector('#try-result').dataset.stale"
LABELS = "[...document.querySelectorAll('#labels li')].map((chip) => chip.firstChild.textContent)"


def write_labels(page: Any, text: str) -> None:
    """Types labels in place of those that are there."""
    box = page.locator("#labels input")
    box.click()
    for _ in range(page.locator("#labels li").count()):
        page.keyboard.press("Backspace")
    box.fill(text)
    box.press("Enter")


def answer_to(page: Any, text: str) -> None:
    """Types labels and waits for their answer; a slow machine asks for a click."""
    mark = page.evaluate(MARK)
    write_labels(page, text)
    page.wait_for_function(f"({MARK}) !== '{mark}' || {STALE}")
    ask(page)


def ask(page: Any) -> None:
    """Waits for the answer to the inputs as they are, and asks for it where the page does not ask by itself."""
    settle(page, rounds=2)
    if page.evaluate(STALE):
        page.locator("#try-run").click()
    page.wait_for_function(f"!({STALE})")


def open_tab(page: Any, name: str) -> None:
    """Opens a tab by its title; on a narrow screen it may be behind the bar's menu."""
    shown = page.get_by_role("tab", name=name, exact=True).locator("visible=true")
    if not shown.count():
        page.locator(".overflow-menu > button:visible").first.click()
        shown = page.locator(".overflow-dropdown button:visible", has_text=name)
    shown.first.click()
