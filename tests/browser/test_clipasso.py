"""CLIPasso in a real browser: a sketch draws itself, stops when asked, is replayed, edited by mouse and keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
FILLED = "document.querySelector('#sketch-view path.stroke') !== null"
FINISHED = "document.querySelector('#sketch-files a') !== null"
LOSS = "document.querySelector('#sketch-view [data-curve] b')?.textContent"


def opened(visit: Visits, **options: Any) -> Any:
    return visit(**options).open("/clipasso", FILLED)


def few_steps(page: Any, steps: int, strokes: int = 6) -> None:
    """Sets the sliders of a short run."""
    page.locator("#knobs > button").click()
    for name, value in (("steps", steps), ("strokes", strokes)):
        box = page.locator(f"#{name} input[type=number]")
        box.fill(str(value))
        box.press("Enter")


def finish(page: Any, button: str = "#sketch-button") -> None:
    """Presses a button and waits for the end of its run."""
    page.evaluate("document.querySelectorAll('#sketch-files a').forEach((link) => link.remove())")
    page.locator(button).click()
    page.wait_for_function(FINISHED)
    page.locator(button).wait_for()


def test_a_recorded_run_is_there_and_replays(visit: Visits) -> None:
    page = opened(visit, locale="zh-CN")
    assert "预先记录" in page.locator("#sketch-status").inner_text()
    paths = page.locator("#sketch-view path.stroke")
    last = paths.first.get_attribute("d")
    slider = page.locator("#sketch-view [data-replay]")
    slider.focus()
    page.keyboard.press("Home")
    assert paths.first.get_attribute("d") != last
    assert page.locator("#sketch-view [data-moment]").inner_text() == "第 0 步"
    page.keyboard.press("End")
    assert paths.first.get_attribute("d") == last
    page.locator("#sketch-view [data-play]").click()
    page.wait_for_function(
        "d => document.querySelector('#sketch-view path.stroke').getAttribute('d') !== d", arg=last
    )


def test_a_sketch_draws_itself_and_stops(visit: Visits) -> None:
    page = opened(visit)
    few_steps(page, 1500, 8)
    page.locator("#sketch-button").click()
    page.wait_for_function("document.querySelectorAll('#sketch-view path.stroke').length === 8")
    first = page.evaluate(LOSS)
    page.wait_for_function(f"before => {LOSS} && {LOSS} !== before", arg=first)
    assert page.locator("#sketch-status [role=progressbar]").count() == 1
    assert not page.locator("#sketch-button").is_visible()
    page.locator("#sketch-stop").click()
    page.wait_for_function(FINISHED)
    assert "stopped" in page.locator("#sketch-status").inner_text()
    page.locator("#sketch-button").wait_for()
    assert not page.locator("#sketch-stop").is_visible()


def test_a_point_is_dragged_and_the_run_goes_on_from_there(visit: Visits) -> None:
    page = opened(visit)
    few_steps(page, 2)
    finish(page)
    # The last point lies over all others.
    path = page.locator("#sketch-view path.stroke").last
    before = path.get_attribute("d")
    page.locator("#sketch-view [data-edit]").click()
    points = page.locator("#sketch-view circle")
    assert points.count() == 6 * 4
    points.last.scroll_into_view_if_needed()
    area = points.last.bounding_box()
    page.mouse.move(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2)
    page.mouse.down()
    page.mouse.move(area["x"] + 40, area["y"] + 30, steps=4)
    page.mouse.up()
    assert path.get_attribute("d") != before
    page.wait_for_function("document.querySelector('#sketch-verdict').innerText.includes('Your hand')")
    # By keyboard: the arrows move a point, Delete takes the stroke away.
    points.nth(4).focus()
    at = points.nth(4).get_attribute("cx")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowDown")
    assert points.nth(4).get_attribute("cx") == at
    page.keyboard.press("Delete")
    assert points.count() == 5 * 4
    finish(page, "#sketch-continue")
    assert page.locator("#sketch-view path.stroke").count() == 5
    assert page.locator("#sketch-view circle").count() == 0


def test_a_stroke_is_taken_away_to_see_what_it_is_worth(visit: Visits) -> None:
    page = opened(visit)
    few_steps(page, 1, 4)
    finish(page)
    page.locator("#tab-inside-button").click()
    page.locator("#inside-button").click()
    page.locator("#inside-growth img").first.wait_for()
    assert page.locator("#inside-maps img").count() == 4
    stroke = page.locator("#inside-view path.stroke").nth(1)
    stroke.focus()
    page.keyboard.press("Enter")
    said = page.locator("#inside-view [data-worth]").inner_text()
    assert said.startswith("Without stroke 2 the loss") and stroke.get_attribute("aria-pressed") == "true"


def test_the_page_fits_a_phone(visit: Visits) -> None:
    page = opened(visit, width=390, height=844, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    board = page.locator("#sketch-view .sketch-column > svg").bounding_box()
    assert board["width"] > 330
