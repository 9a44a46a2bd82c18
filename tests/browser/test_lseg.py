"""The LSeg page in a real browser: labels that come and go, a pointer that asks no server, lessons, a live training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.driving import newer, open_tab
from tests.conftest import settle

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
ANSWERED = "document.querySelectorAll('#try-mask .atlas-seg-legend li').length > 1"
LEGEND = "count => document.querySelectorAll('#try-mask .atlas-seg-legend li').length === count"


def legend(page: Any) -> list[str]:
    return page.locator("#try-mask .atlas-seg-legend span").all_inner_texts()


def test_labels_come_and_go_and_the_pointer_asks_no_server(visit: Visits) -> None:
    page = visit().open("/lseg", ANSWERED)
    settle(page)
    assert "dog" in legend(page)
    count = len(legend(page))
    with newer(page):
        page.locator("#labels input").fill("vehicle")
        page.keyboard.press("Enter")
    page.wait_for_function(LEGEND, arg=count + 1)
    assert "vehicle" in legend(page)
    with newer(page):
        page.get_by_role("button", name="Remove “vehicle”").click()
    page.wait_for_function(LEGEND, arg=count)
    settle(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    area = page.locator("#try-mask .atlas-seg-stage").bounding_box()
    page.mouse.move(area["x"] + 0.03 * area["width"], area["y"] + 0.5 * area["height"])
    page.mouse.move(area["x"] + 0.5 * area["width"], area["y"] + 0.03 * area["height"], steps=3)
    tip = page.locator("#try-mask .atlas-seg-tip")
    tip.wait_for()
    name, _, sure = tip.inner_text().rpartition(" ")
    assert name in legend(page) and sure.endswith("%")
    assert not [url for url in asked if not url.startswith("data:")]


def test_by_keyboard_on_a_phone(visit: Visits) -> None:
    page = visit(width=390, height=844).open("/lseg", ANSWERED)
    settle(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#try-mask .atlas-seg-stage").focus()
    page.keyboard.press("ArrowLeft")
    assert "48%, 50%" in page.locator("#try-mask [role=status]").inner_text()
    button = page.locator("#try-mask .atlas-seg-legend button").first
    button.focus()
    page.locator("#try-mask canvas").wait_for()  # all but this label fades
    assert page.locator("#try-mask .atlas-seg-name:visible").count() <= 1
    page.locator("#try-mask input[type=range]").focus()
    page.keyboard.press("Home")
    page.locator("#try-mask canvas").wait_for(state="hidden")
    with newer(page):
        page.locator("#labels input").fill("cat,")
    page.wait_for_function("document.querySelector('#try-mask .atlas-seg-legend').innerText.includes('cat')")
    # What was set stays when the mask is drawn again.
    assert (
        page.evaluate("getComputedStyle(document.querySelector('#try-mask .atlas-seg-mask')).opacity") == "0"
    )


def test_a_lesson_asks_before_it_answers(visit: Visits) -> None:
    page = visit(locale="zh-CN", color_scheme="dark").open("/lseg", ANSWERED)
    page.get_by_role("tab", name="分步课程", exact=True).click()
    page.locator("#walk-toy").click()
    page.wait_for_function("document.querySelector('#walk-step').innerText.includes('玩具')")
    page.locator("#walk-run").click()
    page.locator("#atlas-message .atlas-refusal").wait_for()
    page.locator("#walk-guess label").first.click()
    page.locator("#walk-run").click()
    page.locator("#walk-out .atlas-verdict").wait_for()
    assert page.locator("#walk-out .atlas-seg-name").count() >= 1
    page.locator("#walk-next").click()
    page.wait_for_function("!document.querySelector('#walk-out .atlas-verdict')")


def test_blocks_are_compared_and_one_is_looked_at(visit: Visits) -> None:
    page = visit(width=390, height=844, locale="zh-CN").open("/lseg", ANSWERED)
    page.get_by_role("tab", name="比较", exact=True).click()
    page.locator("#blocks-run").click()
    page.locator("#blocks-out .pair figure").first.wait_for()
    shown = page.locator("#blocks-out .pair figure:visible")
    assert shown.count() == 2 and "不用模块" in shown.first.inner_text()
    last = page.locator("#blocks-out label.cell").last
    last.click()
    assert "简单平均 × 4" in shown.last.inner_text()
    page.keyboard.press("ArrowLeft")  # by keyboard, the one before
    assert "简单平均 × 2" in shown.last.inner_text()
    drawn = (
        "getComputedStyle(document.querySelector('#blocks-out .n0 .stage'), '::after').backgroundImage.length"
    )
    mask = page.evaluate(drawn)
    page.locator("#blocks-out .only input").check()
    assert mask != page.evaluate(drawn)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_training_starts_and_stops(visit: Visits) -> None:
    page = visit(locale="zh-CN").open("/lseg", ANSWERED)
    open_tab(page, "动手训练")
    page.locator("#live-run").click()
    page.locator("#live-stop").wait_for()
    page.locator("#live-mask .atlas-seg-stage").wait_for(timeout=120_000)
    # The truth stands beside the mask; another label, on the first tab, leaves both as they are.
    assert page.locator("#live-truth img").count() == 1
    open_tab(page, "试一试")
    page.locator("#labels input").fill("猫，")
    open_tab(page, "动手训练")
    page.locator("#live-mask .atlas-seg-stage").wait_for()
    assert page.evaluate("document.querySelector('#live-result').dataset.stale") is None
    page.locator("#live-stop").click()
    page.wait_for_function("document.querySelector('#live-line').innerText.includes('已停止')")
    page.locator("#live-run").wait_for()
    assert page.locator("#live-file a").get_attribute("download") == "lseg-training.csv"
