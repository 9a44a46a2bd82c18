"""The ViLT page in a real browser: words and patches answer to pointer and keys, a suggestion is asked with one press."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.driving import ANSWERED, MARK
from tests.conftest import settle

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
LIT = "[...document.querySelectorAll('#try-map .vl-cells i')].some((cell) => Number(cell.style.opacity) > 0)"


def test_words_and_patches_answer_to_pointer_and_keys(visit: Visits) -> None:
    page = visit().open("/vilt", ANSWERED)
    settle(page)
    said = page.locator("#try-map [role=status]")
    word = page.locator("#try-map [data-word]", has_text="things").first
    word.hover()
    page.wait_for_function(LIT)
    assert word.get_attribute("aria-pressed") == "true" and "“things”" in said.inner_text()
    pane = page.locator("#try-map .vl-pane")
    pane.hover(position={"x": 5, "y": 5})
    page.wait_for_function(
        "document.querySelector('#try-map [role=status]').innerText.includes('row 1, column 1')"
    )
    pane.focus()
    page.keyboard.press("ArrowRight")
    assert "row 1, column 2" in said.inner_text()


def test_a_suggestion_is_asked_with_one_press(visit: Visits) -> None:
    page = visit(locale="zh-CN").open("/vilt", ANSWERED)
    settle(page)
    mark = page.evaluate(MARK)
    page.locator("#suggest-gap").click()
    page.wait_for_function(f"({MARK}) !== '{mark}'")
    assert page.locator("#text textarea").input_value() == "[MASK]在汽车的左边"
    assert "[MASK]" not in page.locator("#try-answer .vl-verdict").inner_text()
