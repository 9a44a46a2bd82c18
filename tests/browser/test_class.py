"""A class in a browser: a teacher and a pupil by keyboard alone, in Chinese, on a phone; projector mode; worksheets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_every_page import violations
from tests.conftest import settle

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
SHOTS = Path(__file__).resolve().parents[2] / "shots"
SAYS = "(words) => document.querySelector(words[0])?.innerText.includes(words[1])"


def says(page: Any, selector: str, words: str) -> None:
    """Waits until an element has words."""
    page.wait_for_function(SAYS, arg=[selector, words])


def to(page: Any, selector: str) -> None:
    """Presses Tab until an element has the focus."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"Tab never comes to {selector}")


def leave_quietly(tab: Any) -> None:
    """Forgets what Gradio reports when a page is left: its stream of events is cut off."""
    known = ("AbortError", "Connection errored")
    tab.errors[:] = [line for line in tab.errors if not any(word in line for word in known)]


def test_a_class_is_led_and_joined_by_keyboard(visit: Visits) -> None:
    desk = visit(locale="zh-CN")
    teacher = desk.open("/teach")
    teacher.evaluate("document.querySelectorAll('.teach details').forEach((one) => { one.open = true; })")
    assert violations(teacher) == []
    teacher.locator("[data-start=minutes]").focus()
    teacher.keyboard.press("Enter")
    teacher.locator("#lectern-address").wait_for()
    says(teacher, "#lectern-count", "0 人在线")
    code = teacher.locator("#lectern-title").inner_text()
    assert "#" not in teacher.url and code not in teacher.url  # a projector shows the address as well

    phone = visit(width=390, height=844, locale="zh-CN")
    pupil = phone.open("/class")
    to(pupil, "#class-code")
    pupil.keyboard.type(code.lower())
    pupil.keyboard.press("Enter")
    says(pupil, "#class-title", "已加入")
    says(teacher, "#lectern-count", "1 人在线")

    teacher.keyboard.press("ArrowRight")
    says(pupil, "#class-where", "第 1 步")
    pupil.locator("#class-card img").wait_for()
    to(pupil, ".class-choice:nth-child(2)")
    pupil.keyboard.press("Enter")
    says(pupil, "#class-status", "B")
    says(teacher, "#lectern-count", "1 人中 1 人")
    assert teacher.locator(".lectern-bars").count() == 0  # nobody is drawn by bars that grow
    teacher.keyboard.press("v")
    teacher.locator(".lectern-bars").first.wait_for()
    teacher.keyboard.press("a")
    says(pupil, "#class-status", "讨论过")
    to(pupil, ".class-choice:nth-child(5)")
    pupil.keyboard.press("Enter")
    says(teacher, "#lectern-choices li:nth-child(5) .after", "1")
    assert violations(teacher) == [] and violations(pupil) == []
    teacher.keyboard.press("r")
    says(pupil, "#class-status", "✓")
    says(pupil, "#class-answer", "红包")
    says(teacher, "#lectern-choices .true", "红包")
    for page in (teacher, pupil):
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert violations(page) == []
        SHOTS.mkdir(exist_ok=True)
        page.screenshot(path=str(SHOTS / f"class-{page.viewport_size['width']}.png"), full_page=True)

    # A page that is loaded again is the same pupil in the same step.
    pupil.reload()
    says(pupil, "#class-status", "✓")
    teacher.reload()
    says(teacher, "#lectern-choices .true", "红包")
    # Away to try, and back.
    pupil.locator("#class-try").click()
    pupil.locator("#walk-step h3").wait_for()
    settle(pupil)
    teacher.keyboard.press("ArrowRight")
    pupil.locator("#atlas-back").click()
    says(pupil, "#class-where", "第 2 步")
    # The best cell of a table of three columns is seen without scrolling.
    pupil.set_viewport_size({"width": 360, "height": 740})
    teacher.keyboard.press("ArrowRight")
    says(pupil, "#class-where", "第 3 步")
    says(teacher, "#lectern-where", "第 3 步")
    assert teacher.locator(".lectern-controls .atlas-button:not(.quiet)").all_inner_texts() == ["运行"]
    teacher.keyboard.press("r")
    pupil.locator("#class-answer .atlas-grid").wait_for()
    wide = pupil.locator("#class-answer .atlas-scroll")
    assert wide.evaluate("(box) => box.scrollWidth - box.clientWidth") == 0
    teacher.once("dialog", lambda dialog: dialog.accept())
    teacher.locator("[data-do=end]").focus()
    teacher.keyboard.press("Enter")
    says(pupil, "#class-title", "课堂已结束")
    says(teacher, "#lectern-title", "课堂已结束")
    assert pupil.evaluate("sessionStorage.length") == 0
    leave_quietly(phone)


def test_projector_mode_is_bare_and_has_keys(visit: Visits) -> None:
    tab = visit()
    page = tab.open("/clip?step=envelope:2&projector=1&plan=minutes:1")
    page.locator("#walk-step h3").wait_for()
    says(page, "#atlas-projector", "2 / 5")
    for part in (".atlas-bar", ".atlas-foot", ".atlas-form", "#walk-link"):
        assert page.locator(part).first.is_hidden()
    assert page.locator("#walk-run").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.screenshot(path=str(SHOTS / "projector.png"))
    page.keyboard.press("l")
    page.wait_for_function("document.documentElement.dataset.lang === 'zh'")
    page.locator("#walk-step h3").wait_for()
    settle(page)
    page.keyboard.press("PageDown")
    page.wait_for_url("**/clip?step=prompts*plan=minutes*")
    page.locator("#walk-step h3").wait_for()
    settle(page)
    page.keyboard.press("Escape")
    page.wait_for_function("!location.search.includes('projector')")
    page.locator(".atlas-bar").wait_for()
    settle(page)
    leave_quietly(tab)


def test_a_worksheet_is_printed_without_the_bar(visit: Visits) -> None:
    page = visit(locale="zh-CN").open("/worksheet?plan=minutes")
    assert violations(page) == []
    page.emulate_media(media="print")
    assert page.locator(".atlas-bar").is_hidden() and page.locator(".sheet h1").is_visible()
    assert page.locator(".sheet .atlas-button").is_hidden()
