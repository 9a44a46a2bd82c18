"""The page about uploads: its words hold, and it reads in both languages. Every page leads there: test_every_page.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from demos import catalog
from demos.app import privacy, uploads
from tests.browser.driving import ANSWERED, MARK, SHOTS, look_around

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_it_reads_well(visit: Callable[..., Any], locale: str) -> None:
    page = visit(locale=locale).open("/privacy")
    for width, theme in look_around(page):
        shown = page.locator("#privacy").inner_text()
        for words in (
            ("What CLIP should not be used for", "face") if locale == "en-US" else ("不该用来做什么", "人脸")
        ):
            assert words in shown
        page.screenshot(path=str(SHOTS / f"privacy-{width}-{theme}-{locale[:2]}.png"), full_page=True)


def test_what_it_promises_is_so(visit: Callable[..., Any]) -> None:
    """No cookie; in the browser's memory the three choices and nothing of Gradio's that a visitor made."""
    tab = visit()
    page = tab.open("/clip", ANSWERED)
    page.locator("[data-toggle-theme]").click()
    mark = page.evaluate(MARK)
    page.locator("#try-run").click()
    page.wait_for_function(f"({MARK}) !== '{mark}'")
    assert tab.context.cookies() == []
    kept = page.evaluate("Object.entries(localStorage)")
    assert {key for key, _ in kept} <= {
        "atlas_lang",
        "atlas_theme",
        *(f"atlas_checkpoint_{r.slug}" for r in catalog.PAGES),
    }
    assert uploads.KEPT_SECONDS == 3600
    text = str(privacy.words())
    assert "after an hour" in text and "满一小时" in text
