"""The CLIP page in a real browser: both languages, both themes, both widths, and the main job on real input."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.driving import (
    ANSWERED,
    LABELS,
    SHOTS,
    answer_to,
    first_label,
    look_around,
    newer,
    open_tab,
    run,
)
from tests.conftest import settle

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
# Keeps each answer that the page shows, also one that another answer replaces at once.
REMEMBER = """window.seen = [];
new MutationObserver(() => {
  const text = document.querySelector("#try-bars:has(table)")?.innerText;
  if (text && window.seen.at(-1) !== text) window.seen.push(text);
}).observe(document, { childList: true, subtree: true, characterData: true });"""


@pytest.mark.parametrize(
    ("lang", "labels", "expected"), [("en", "sheep, dog, car", "sheep"), ("zh", "绵羊，狗，汽车", "绵羊")]
)
def test_classify_in_both_languages(visit: Visits, lang: str, labels: str, expected: str) -> None:
    page = visit(locale="zh-CN" if lang == "zh" else "en-US").open("/clip", ANSWERED)
    assert page.evaluate("document.documentElement.lang") == ("zh-CN" if lang == "zh" else "en")
    with newer(page):
        page.locator('#examples [data-example="sheep_eating"]').click()
    answer_to(page, labels)
    assert sorted(page.locator("#try-bars tbody th").all_inner_texts()) == sorted(re.split(", |，", labels))
    assert first_label(page) == expected
    assert page.locator("#try-relevance img").is_visible()
    assert ("标签" if lang == "zh" else "label") in page.locator("#try-bars thead").inner_text()


def test_a_fresh_page_shows_a_recorded_answer_and_a_link_shows_its_own_labels(visit: Visits) -> None:
    tab = visit(script=REMEMBER)
    page = tab.open("/clip", ANSWERED)
    recorded, *live = page.evaluate("window.seen")
    assert "recorded answer" in recorded and live and "recorded answer" not in live[-1]
    page = tab.open("/clip?labels=duck,goose&example=toys&template=photo&lang=zh", ANSWERED)
    assert page.evaluate(LABELS) == ["duck", "goose"]
    assert all({"duck", "goose"} <= set(text.split()) for text in page.evaluate("window.seen"))
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    assert page.locator("#try-run").inner_text() == "分类"
    page.locator("#settings button").first.click()
    assert "a photo of a {}" in page.locator("#template input").input_value()


def test_wrong_input_is_one_sentence_that_goes_away_again(visit: Visits) -> None:
    page = visit().open("/clip", ANSWERED)
    for _ in page.evaluate(LABELS):
        page.locator("#labels li button").last.click()
    page.locator("#labels input").fill(" , ")
    page.locator("#try-run").click()
    alert = page.locator("#atlas-message [role=alert]")
    alert.wait_for()
    assert page.evaluate(LABELS) == []
    assert "label" in alert.inner_text() and "Traceback" not in page.content()
    answer_to(page, "red envelope, dog")
    assert alert.count() == 0 and first_label(page) == "red envelope"


def test_html_in_labels_is_text(visit: Visits) -> None:
    page = visit().open("/clip", ANSWERED)
    answer_to(page, "<img src=x onerror=\"document.title='owned'\">; <script>1</script>")
    for place in ("#labels", "#try-bars"):
        assert "<img src=x" in page.locator(place).inner_text()
        assert page.locator(f"{place} img").count() == 0
    assert page.title() != "owned"


def test_absent_labels_and_prompts(visit: Visits) -> None:
    page = visit().open("/clip", ANSWERED)
    open_tab(page, "Compare", "Absent labels")
    run(page, "absent")
    assert page.locator("#absent-missing .atlas-verdict").is_visible()
    assert page.locator("#absent-present tbody tr").count() == 6
    assert page.locator("#absent-missing tbody tr").count() == 4
    open_tab(page, "Prompt lab")
    run(page, "prompts")
    assert page.locator("#prompts-out thead th").count() == 5
    with newer(page, "prompts", press=True):
        page.locator("#prompts-own textarea").fill("a computer {}\na {}, a small animal")
    assert page.locator("#prompts-out thead th").all_inner_texts()[5:] == [
        "a computer {}",
        "a {}, a small animal",
    ]


def test_temperature_sharpens_and_flattens(visit: Visits) -> None:
    page = visit().open("/clip", ANSWERED)
    page.locator("#settings button").first.click()
    learned = re.search(r"[\d.]+\d", page.locator("#scale").inner_text())
    number = page.locator("#scale input[type=number]")
    assert learned and float(number.input_value()) == pytest.approx(float(learned.group()), abs=0.1)
    best = page.locator("#try-bars tbody td:nth-child(3)").first
    sharp = float(best.inner_text().rstrip("%"))
    with newer(page):
        number.fill("1")
        number.press("Tab")
    # Six cosines in [-1, 1] times 1: no softmax can be sharp.
    assert float(best.inner_text().rstrip("%")) < min(sharp, 50)
    with newer(page):
        page.locator("#scale input[type=range]").focus()
        page.keyboard.press("End")
    assert float(best.inner_text().rstrip("%")) > sharp


@pytest.mark.parametrize(("lang", "width"), [("en", 390), ("zh", 1280)])
def test_the_page_fits_its_width(visit: Visits, lang: str, width: int) -> None:
    """Opened and answered at one width and in the dark, then shown at both."""
    locale, button = {"en": ("en-GB", "Classify"), "zh": ("zh-TW", "分类")}[lang]
    page = visit(width=width, height=844, locale=locale, color_scheme="dark").open("/clip", ANSWERED)
    assert page.locator("#try-run").inner_text() == button
    with newer(page):
        page.locator('#examples [data-example="sheep_eating"]').click()
    page.locator("#try-relevance img").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.body.classList.contains('dark')")
    for wide, theme in look_around(page):
        shot = SHOTS / f"clip-{wide}-{theme}-{lang}.png"
        page.screenshot(path=str(shot), full_page=True)
        assert shot.stat().st_size > 20_000


@pytest.mark.parametrize("goes_on", [True, False])
def test_an_answer_to_the_checkpoint_of_before_is_greyed(visit: Visits, goes_on: bool) -> None:
    """The visitor chooses a row that is not here while an answer is on its way: what the server then sends, played by hand."""
    page = visit().open("/clip", ANSWERED)
    settle(page)
    page.evaluate("window.atlas.started('try'); window.atlas.touched(true); window.atlas.started('try');")
    sent = '<span hidden data-over="try 100001"' + (" data-goes-on>" if goes_on else ">") + "</span>"
    looked = """async ([mark, answer]) => {
      document.querySelector("#atlas-over").innerHTML = mark;
      await new Promise(requestAnimationFrame);
      document.querySelector("#try-line [data-answer]").dataset.answer = answer;
      await new Promise(requestAnimationFrame);
      return document.querySelector("#try-result").dataset.stale;
    }"""
    assert page.evaluate(looked, [sent, "100002" if goes_on else "none-100002"])
