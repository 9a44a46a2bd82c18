"""The StyleCLIP page in a real browser: the line between start and result moves by keys, sliders are followed at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.driving import ANSWERED, open_tab, unfold
from tests.browser.driving import run as ask
from tests.conftest import settle

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
CUT = "document.querySelector('#try-view .fr-pair').style.getPropertyValue('--cut')"
MADE = "document.querySelector('#try-view .fr-made').src"


def test_the_line_moves_and_the_strength_is_followed(visit: Visits) -> None:
    page = visit(locale="zh-CN").open("/styleclip", ANSWERED)
    settle(page)
    line = page.locator("#try-view .fr-pair input")
    line.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(CUT) == "21%"
    before = page.evaluate(MADE)
    unfold(page, "settings")
    strength = page.locator("#alpha input[type=range]")
    strength.focus()
    page.keyboard.press("Home")
    page.wait_for_function(f"{MADE} !== {before!r}")
    assert page.evaluate("document.querySelector('#try-result').dataset.stale ?? ''") == ""


def test_one_channel_is_moved_by_hand(visit: Visits) -> None:
    page = visit().open("/styleclip", ANSWERED)
    settle(page)
    open_tab(page, "Look inside", "One channel by hand")
    ask(page, "channel")
    slider = page.locator("#channel-out .fr-flip input[type=range]")
    slider.focus()
    page.keyboard.press("End")
    shown = page.locator("#channel-out figure:visible figcaption")
    assert shown.count() == 1 and "+8" in shown.inner_text()
    assert slider.get_attribute("aria-valuetext") == shown.inner_text()
