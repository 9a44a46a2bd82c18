"""How CLIP learns, in a real browser: a batch whose captions change places, and a training that one visitor has at a time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.driving import ANSWERED, newer, open_tab
from tests.conftest import QUEUE, settle

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
TABS = {"en-US": ("Train it", "Train CLIP live"), "zh-CN": ("动手训练", "现场训练 CLIP")}


def open_batch(visit: Visits, locale: str = "en-US", **options: Any) -> Any:
    page = visit(locale=locale, **options).open("/clip", ANSWERED)
    with newer(page, "batch"):  # the tab answers when it comes into view
        open_tab(page, TABS[locale][0])
    page.locator("#batch-plot .js-plotly-plot").wait_for()
    return page


def open_live(visit: Visits, locale: str = "en-US") -> Any:
    page = visit(locale=locale).open("/clip", ANSWERED)
    open_tab(page, *TABS[locale])
    return page


def loss(page: Any) -> float:
    return float(page.locator("#batch-card strong").inner_text())


def test_swapped_captions_cost_and_reset_helps(visit: Visits) -> None:
    page = open_batch(visit)
    first = loss(page)
    with newer(page, "batch"):
        page.locator("#batch-swap").click()
    assert loss(page) > first + 1
    assert f"was {first:.3f}" in page.locator("#batch-card").inner_text()
    captions = page.locator("#batch-captions textarea").input_value().splitlines()
    assert captions[:2] == ["a sheep eating grass", "a red envelope"]
    # The matrix shows it too: two outlines are dashed.
    dashed = "document.querySelectorAll('#batch-plot .shapelayer path[style*=\"stroke-dasharray: \"]').length"
    page.wait_for_function(f"{dashed} > 0")
    with newer(page, "batch"):
        page.locator("#batch-reset").click()
    assert loss(page) == first

    # Other views, another temperature, other captions.
    with newer(page, "batch"):
        page.locator("#batch-view label", has_text="Gradient").click()
    assert "pulls the pair together" in page.locator("#batch-note").inner_text()
    with newer(page, "batch"):
        page.locator("#batch-scale input[type=number]").fill("2")
        page.locator("#batch-scale input[type=number]").press("Tab")
    assert loss(page) > 2 * first
    page.locator("#batch-captions textarea").fill("a red envelope\na sheep")
    page.locator("#batch-run").click()
    alert = page.locator("#atlas-message [role=alert]")
    alert.wait_for()
    assert "2" in alert.inner_text() and "6" in alert.inner_text()


def test_sixteen_scenes_fit_a_phone(visit: Visits) -> None:
    page = open_batch(visit, width=390, height=844, locale="zh-CN", color_scheme="dark")
    # The group has images of its own: the page's makes room.
    assert not page.locator("#image").is_visible() and not page.locator("#examples").is_visible()
    with newer(page, "batch"):
        page.locator("#batch-scenes").click()
    assert page.locator("#batch-captions textarea").input_value().splitlines()[0] != "红包"
    with newer(page, "batch"):
        page.locator("#batch-count input[type=number]").fill("16")
        page.locator("#batch-count input[type=number]").press("Tab")
    assert "/ 16" in page.locator("#batch-card").inner_text()
    # The matrix is scrolled within its place; the page is not.
    page.wait_for_function(
        "(box => box.scrollWidth > box.clientWidth)(document.querySelector('#batch-plot'))"
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    open_tab(page, "比较")
    page.locator("#image").wait_for(state="visible")


def test_a_training_is_stopped_and_tried(visit: Visits) -> None:
    page = open_live(visit)
    page.locator("#live-run").click()
    page.locator("#live-matrix .live-matrix").wait_for()
    assert re.search(r"\d+:\d\d left", page.locator("#live-line").inner_text())
    page.locator("#live-stop").click()
    page.locator("#tried-run").wait_for()
    assert "Stopped." in page.locator("#live-line").inner_text()
    with newer(page, "tried", press=True):
        pass
    assert page.locator("#tried-out tbody tr").count() == 5
    assert re.match(r"(Correct|Wrong): it is", page.locator("#tried-out .atlas-verdict").inner_text())


def test_one_training_at_a_time_and_a_closed_tab_ends_it(visit: Visits) -> None:
    first, second = open_live(visit), open_live(visit, locale="zh-CN")
    first.locator("#live-run").click()
    first.locator("#live-matrix .live-matrix").wait_for()
    second.locator("#live-run").click()
    second.wait_for_function("document.querySelector('#atlas-message').innerText.includes('另一位访客')")
    first.close()
    # The seat is free at the training's next step; a busy machine gets a while to take it.
    deadline = time.monotonic() + 300
    bar = second.locator("#live-line .atlas-progress")
    while not bar.count():
        assert time.monotonic() < deadline
        # A run that begins while Gradio closes the stream of a refusal may lose its first step in a slow browser.
        settle(second)
        if second.locator("#live-run").is_visible():
            second.locator("#live-run").click()
        second.wait_for_timeout(300)
        while QUEUE[second] and not bar.count():
            second.wait_for_timeout(300)
    second.locator("#live-stop").click()
    second.locator("#tried-run").wait_for()
