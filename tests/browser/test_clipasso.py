"""CLIPasso and CLIPDraw in a real browser: a drawing draws itself, stops, is replayed, is edited by mouse and keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.driving import unfold
from tests.conftest import settle

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
FILLED = "document.querySelector('#try-view path.stroke') !== null"
MARK = "document.querySelector('#try-line [data-answer]')?.dataset.answer"
LOSS = "document.querySelector('#try-view [data-curve] b')?.textContent"
STALE = "document.querySelector('#try-result').dataset.stale"


def opened(visit: Visits, path: str = "/clipasso", **options: Any) -> Any:
    return visit(**options).open(path, FILLED)


def few_steps(page: Any, steps: int, strokes: int = 6) -> None:
    """Sets the sliders of a short run."""
    unfold(page, "settings")
    for name, value in (("steps", steps), ("strokes", strokes)):
        box = page.locator(f"#{name} input[type=number]")
        box.fill(str(value))
        box.press("Enter")


def finish(page: Any, button: str = "#try-run") -> None:
    """Presses a button and waits for the end of its run."""
    mark = page.evaluate(MARK)
    page.locator(button).click()
    page.wait_for_function(f"({MARK} || '{mark}') !== '{mark}'")
    page.locator("#try-run").wait_for()


def test_a_recorded_run_is_there_and_replays(visit: Visits) -> None:
    page = opened(visit, locale="zh-CN")
    assert "预先记录" in page.locator("#try-line").inner_text()
    # It is not the visitor's own: nothing goes on from it.
    assert not page.locator("#continue").is_visible() and not page.locator("#downloads").is_visible()
    paths = page.locator("#try-view path.stroke")
    last = paths.first.get_attribute("d")
    slider = page.locator("#try-view [data-replay]")
    slider.focus()
    page.keyboard.press("Home")
    assert paths.first.get_attribute("d") != last
    assert page.locator("#try-view [data-moment]").inner_text() == "第 0 步"
    page.keyboard.press("End")
    assert paths.first.get_attribute("d") == last
    page.locator("#try-view [data-play]").click()
    page.wait_for_function(
        "d => document.querySelector('#try-view path.stroke').getAttribute('d') !== d", arg=last
    )


def test_an_example_draws_itself_greys_what_it_replaces_and_stops(visit: Visits) -> None:
    page = opened(visit)
    page.locator("#examples [data-example=airplane_drawing]").click()
    page.locator("#try-stop").wait_for()
    page.wait_for_function("document.querySelector('#try-line [role=progressbar][aria-valuenow]') !== null")
    first = page.evaluate(LOSS)
    page.wait_for_function(f"before => {LOSS} && {LOSS} !== before", arg=first)
    assert not page.locator("#try-run").is_visible()
    mark = page.evaluate(MARK)
    page.locator("#try-stop").click()
    page.wait_for_function(f"({MARK} || '{mark}') !== '{mark}'")
    assert "stopped" in page.locator("#try-line details").evaluate("fold => fold.textContent")
    page.locator("#try-run").wait_for()
    assert not page.locator("#try-stop").is_visible() and not page.evaluate(STALE)


def test_a_drawing_of_ones_own_can_be_continued(visit: Visits) -> None:
    page = opened(visit, "/clipdraw")
    assert not page.locator("#continue").is_visible()
    few_steps(page, 1, 4)
    finish(page)
    page.locator("#continue").wait_for()
    finish(page, "#continue")
    assert page.locator("#downloads").is_visible()


@pytest.mark.parametrize(("path", "field"), [("/clipasso", "labels"), ("/clipdraw", "prompt")])
def test_an_answer_to_other_inputs_is_greyed_until_it_is_asked_for(
    visit: Visits, path: str, field: str
) -> None:
    page = opened(visit, path)
    assert not page.evaluate(STALE)
    page.locator(f"#{field} textarea, #{field} input").first.fill("a house")
    page.wait_for_function(STALE)
    settle(page, rounds=2)
    assert page.evaluate(STALE) and not page.locator("#try-stop").is_visible()  # a run takes long: it waits


def test_a_link_runs_when_it_is_opened(visit: Visits) -> None:
    page = visit().open("/clipdraw?prompt=a+moon&strokes=8&steps=2", FILLED)
    page.wait_for_function(f"({MARK} || '') !== ''")
    assert page.locator("#prompt textarea, #prompt input").first.input_value() == "a moon"
    assert page.locator("#try-view .sketch-opinions p").count() == 2
    assert "not involved" in page.locator("#try-verdict").inner_text()


def test_a_point_is_dragged_and_the_run_goes_on_from_there(visit: Visits) -> None:
    page = opened(visit)
    few_steps(page, 2)
    finish(page)
    # The last point lies over all others.
    path = page.locator("#try-view path.stroke").last
    before = path.get_attribute("d")
    page.locator("#try-view [data-edit]").click()
    points = page.locator("#try-view circle")
    assert points.count() == 6 * 4
    points.last.scroll_into_view_if_needed()
    area = points.last.bounding_box()
    page.mouse.move(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2)
    page.mouse.down()
    page.mouse.move(area["x"] + 40, area["y"] + 30, steps=4)
    page.mouse.up()
    assert path.get_attribute("d") != before
    page.wait_for_function("document.querySelector('#try-verdict').innerText.includes('Your edit')")
    assert not page.evaluate(STALE)
    # By keyboard: the arrows move a point, Delete takes the stroke away.
    points.nth(4).focus()
    at = points.nth(4).get_attribute("cx")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowDown")
    assert points.nth(4).get_attribute("cx") == at
    page.keyboard.press("Delete")
    assert points.count() == 5 * 4
    finish(page, "#continue")
    assert page.locator("#try-view path.stroke").count() == 5
    assert page.locator("#try-view circle").count() == 0
    page.locator("#downloads > button").click()
    page.locator("#files-run").click()
    page.locator("#files-out video").wait_for()
    assert page.locator("#files-out a[download='clipasso-5.svg']").count() == 1


def test_a_stroke_is_taken_away_to_see_what_it_is_worth(visit: Visits) -> None:
    page = opened(visit)
    few_steps(page, 1, 4)
    finish(page)
    page.locator("button[role=tab]", has_text="Look inside").first.click()
    page.locator("#strokes-worth-run").click()
    page.locator("#strokes-worth-growth img").first.wait_for()
    assert page.locator("#strokes-worth-maps img").count() == 4
    stroke = page.locator("#strokes-worth-view path.stroke").nth(1)
    stroke.focus()
    page.keyboard.press("Enter")
    said = page.locator("#strokes-worth-view [data-worth]").inner_text()
    assert said.startswith("Without stroke 2 the loss") and stroke.get_attribute("aria-pressed") == "true"


def test_a_lesson_shows_its_drawings_while_they_grow(visit: Visits) -> None:
    page = visit().open("/clipasso?step=starts:0")
    page.locator("#walk-guess label").first.click()
    page.locator("#walk-run").click()
    page.wait_for_function("document.querySelectorAll('#walk-view path.stroke').length === 32")
    page.locator("#walk-stop").click()
    page.locator("#walk-run").wait_for()
    assert page.locator("#walk-out").inner_text().strip() == ""  # a lesson that was stopped has no outcome


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
@pytest.mark.parametrize("path", ["/clipasso", "/clipdraw"])
def test_the_recorded_drawing_is_seen_without_scrolling_and_fits_a_phone(
    visit: Visits, path: str, locale: str
) -> None:
    page = opened(visit, path, width=1280, height=800, locale=locale, color_scheme="dark")
    board = page.locator("#try-view .sketch-column > svg")
    box = board.bounding_box()
    assert box["y"] + box["height"] < 800
    page.set_viewport_size({"width": 390, "height": 844})
    settle(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert board.bounding_box()["width"] > 330
