"""How it learns, in a real browser: a batch whose captions change places, and a lesson that one visitor has at a time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
FILLED = "document.querySelector('#labels textarea')?.value.length > 0"
LOSS = "document.querySelector('#batch-card strong')"


def press(page: Any, name: str, title: str) -> None:
    """Opens a tab by its id; on a narrow screen it may be behind the bar's menu, where it has but its title."""
    button = page.locator(f"#{name}-button")
    if not button.count():
        page.locator(".atlas-groups .overflow-menu > button:visible").first.click()
        button = page.locator(".overflow-dropdown button:visible", has_text=title)
    button.click()


def open_group(visit: Visits, tab: str = "", **options: Any) -> Any:
    page = visit(**options).open("/clip", FILLED)
    press(page, "group-learn", "怎样学会")
    if tab:
        page.locator(f"#tab-{tab}-button").click()
    return page


def open_batch(visit: Visits, **options: Any) -> Any:
    page = open_group(visit, **options)
    page.wait_for_function(LOSS)
    page.locator("#batch-plot .js-plotly-plot").wait_for()
    return page


def loss(page: Any) -> float:
    return float(page.locator("#batch-card strong").inner_text())


def test_swapped_captions_cost_and_reset_helps(visit: Visits) -> None:
    page = open_batch(visit)
    first = loss(page)
    page.locator("#batch-swap").click()
    page.wait_for_function(f"{LOSS}.textContent !== '{first:.3f}'")
    assert loss(page) > first + 1
    assert f"was {first:.3f}" in page.locator("#batch-card").inner_text()
    captions = page.locator("#batch-captions textarea").input_value().splitlines()
    assert captions[:2] == ["a sheep eating grass", "a red envelope"]
    # The matrix shows it too: two outlines are dashed.
    dashed = "document.querySelectorAll('#batch-plot .shapelayer path[style*=\"stroke-dasharray: \"]').length"
    page.wait_for_function(f"{dashed} > 0")
    page.locator("#batch-reset").click()
    page.wait_for_function(f"{LOSS}.textContent === '{first:.3f}'")


def test_views_temperature_and_typing(visit: Visits) -> None:
    page = open_batch(visit)
    page.locator("#batch-view label", has_text="Gradient").click()
    page.wait_for_function(
        "document.querySelector('#batch-note').innerText.includes('pulls the pair together')"
    )
    first = loss(page)
    page.locator("#batch-temperature input[type=number]").fill("2")
    page.locator("#batch-temperature input[type=number]").press("Tab")
    page.wait_for_function(f"parseFloat({LOSS}.textContent) > 2 * {first}")
    page.locator("#batch-captions textarea").fill("")
    page.locator("#batch-captions textarea").press_sequentially("a red envelope\na sheep")
    page.wait_for_function(
        "document.querySelector('#batch-line').innerText.includes('2 captions for 6 pictures')"
    )


def test_sixteen_scenes_fit_a_phone(visit: Visits) -> None:
    page = open_batch(visit, width=390, height=844, locale="zh-CN", color_scheme="dark")
    # The group has pictures of its own: the page's makes room.
    assert not page.locator("#picture").is_visible() and not page.locator("#examples").is_visible()
    page.locator("#batch-random > button").click()
    page.locator("#batch-scenes").click()
    page.wait_for_function(
        "document.querySelector('#batch-captions textarea').value.split('\\n')[0] !== '红包'"
    )
    page.locator("#batch-n input[type=number]").fill("16")
    page.locator("#batch-n input[type=number]").press("Tab")
    page.wait_for_function("document.querySelector('#batch-card').innerText.includes('/ 16')")
    # The matrix is scrolled within its place; the page is not.
    page.wait_for_function(
        "(box => box.scrollWidth > box.clientWidth)(document.querySelector('#batch-plot'))"
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    press(page, "group-closer", "细看")
    page.locator("#picture").wait_for(state="visible")


def test_a_lesson_is_stopped_and_tried(visit: Visits) -> None:
    page = open_group(visit, "live")
    page.locator("#live-button").click()
    page.locator("#live-view .live-matrix").wait_for()
    assert re.search(r"\d+:\d\d left", page.locator("#live-view").inner_text())
    page.locator("#live-stop").click()
    page.locator("#live-scene").wait_for(state="visible")
    assert "Stopped." in page.locator("#live-view").inner_text()
    page.locator("#live-scene").click()
    page.locator("#live-result tbody tr").first.wait_for()
    assert re.match(r"(Right|Wrong): it is", page.locator("#live-result .atlas-verdict").inner_text())


def test_one_lesson_at_a_time_and_a_closed_tab_ends_it(visit: Visits) -> None:
    first, second = open_group(visit, "live"), open_group(visit, "live", locale="zh-CN")
    first.locator("#live-button").click()
    first.locator("#live-view .live-matrix").wait_for()
    second.locator("#live-button").click()
    second.wait_for_function("document.querySelector('#atlas-message').innerText.includes('另一位访客')")
    first.close()
    # The seat is free at the lesson's next step; a busy machine gets a while to take it.
    deadline = time.monotonic() + 300
    while not second.locator("#live-view .atlas-progress").count():
        assert time.monotonic() < deadline
        second.wait_for_timeout(300)
        if second.locator("#live-button").is_visible():
            second.locator("#live-button").click()
    second.locator("#live-stop").click()
    second.locator("#live-scene").wait_for(state="visible")
