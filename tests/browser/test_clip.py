"""The CLIP page in a real browser: both languages, both themes, both widths, and the main job on real input."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
PHOTO = ROOT / "assets" / "examples" / "photos" / "rose.jpg"
SHOTS = ROOT / "shots"

Visits = Callable[..., Any]
# True once the page's load handlers have filled it in: what a test does before that would be overwritten.
FILLED = "document.querySelector('#labels textarea')?.value.length > 0"


def first_label(page: Any) -> str:
    """The winning label of the bars."""
    return page.locator("#bars tbody tr").first.locator("th").inner_text()


def classify(page: Any, labels: str) -> None:
    """Types labels, presses the button, and waits for bars with as many rows."""
    page.locator("#labels textarea").fill(labels)
    page.locator("#classify-button").click()
    wanted = sorted(label.strip() for label in re.split("[,，\\n]", labels))
    page.wait_for_function(
        """wanted => {
          const rows = [...document.querySelectorAll("#bars tbody th")].map(cell => cell.innerText).sort();
          return JSON.stringify(rows) === JSON.stringify(wanted);
        }""",
        arg=wanted,
    )


@pytest.mark.parametrize(
    ("lang", "labels", "expected"), [("en", "sheep, dog, car", "sheep"), ("zh", "绵羊，狗，汽车", "绵羊")]
)
def test_classify_in_both_languages(visit: Visits, lang: str, labels: str, expected: str) -> None:
    page = visit(locale="zh-CN" if lang == "zh" else "en-US").open("/clip", FILLED)
    assert page.evaluate("document.documentElement.lang") == ("zh-CN" if lang == "zh" else "en")
    page.locator('[data-example="sheep_eating"]').click()
    page.wait_for_function("document.querySelector('#line').innerText.includes('ms')")
    classify(page, labels)
    assert first_label(page) == expected
    page.locator("#relevance img").wait_for()
    assert ("标签" if lang == "zh" else "label") in page.locator("#bars thead").inner_text()


def test_a_dropped_photo_is_answered_with_a_hint(visit: Visits) -> None:
    page = visit().open("/clip", FILLED)
    page.locator("#picture input[type=file]").first.set_input_files(str(PHOTO))
    page.wait_for_function("document.querySelector('#picture img')?.src.includes('rose')")
    classify(page, "a rose, a horse, a car")
    assert "classroom" in page.locator("#line .atlas-hint").inner_text()


def test_a_fresh_page_shows_a_recorded_answer_and_a_link_shows_its_own_labels(visit: Visits) -> None:
    page = visit().open("/clip", FILLED)
    page.wait_for_function("document.querySelector('#bars table')")
    assert "Recorded" in page.locator("#bars").inner_text()
    page.goto(page.url.split("?")[0] + "?labels=duck,goose&example=toys&template=photo&lang=zh")
    page.wait_for_function("document.querySelector('#labels textarea')?.value === 'duck,goose'")
    assert page.locator("#bars table").count() == 0
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    assert "分类" in page.locator("#classify-button").inner_text()


def test_wrong_input_is_one_sentence_that_goes_away_again(visit: Visits) -> None:
    page = visit().open("/clip", FILLED)
    page.locator("#labels textarea").fill(" , ")
    page.locator("#classify-button").click()
    alert = page.locator(".atlas-message [role=alert]")
    alert.wait_for()
    assert "label" in alert.inner_text() and "Traceback" not in page.content()
    classify(page, "red envelope, dog")
    alert.wait_for(state="detached")
    assert first_label(page) == "red envelope"


def test_html_in_labels_is_text(visit: Visits) -> None:
    page = visit().open("/clip", FILLED)
    classify(page, "<img src=x onerror=\"document.title='owned'\">\n<script>1</script>")
    assert "<img src=x" in page.locator("#bars").inner_text()
    assert page.title() != "owned" and page.locator("#bars img").count() == 0


def test_absent_labels_and_prompts(visit: Visits) -> None:
    page = visit().open("/clip", FILLED)
    page.get_by_role("tab", name="Absent labels").click()
    page.locator("#absent-button").click()
    page.locator("#missing-out .atlas-verdict").wait_for()
    assert page.locator("#present-out tbody tr").count() == 6
    assert page.locator("#missing-out tbody tr").count() == 4
    page.get_by_role("tab", name="Prompt lab").click()
    page.locator("#lab-button").click()
    page.locator("#lab-out table").wait_for()
    assert page.locator("#lab-out thead th").count() == 5
    page.locator("#polysemy-button").click()
    page.wait_for_function("document.querySelectorAll('#lab-out thead th').length === 4")


def test_temperature_sharpens_and_flattens(visit: Visits) -> None:
    page = visit().open("/clip", FILLED)
    classify(page, "red envelope, envelope, money, dog, car, house")
    page.locator("#knobs button").first.click()
    learned = float(re.search(r"[\d.]+", page.locator("#scale-mark").inner_text()).group())  # type: ignore[union-attr]
    number = page.locator("#scale input[type=number]")
    assert float(number.input_value()) == pytest.approx(learned, abs=0.1)
    number.fill("1")
    number.press("Enter")
    number.blur()
    page.locator("#scale input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    # Six cosines in [-1, 1] times about 1: no softmax can be sharp.
    page.wait_for_function("parseFloat(document.querySelector('#bars tbody td:nth-child(3)').innerText) < 50")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("name", "width", "height"), [("desktop", 1280, 900), ("phone", 390, 844)])
def test_screenshots_fit_their_width(visit: Visits, theme: str, name: str, width: int, height: int) -> None:
    SHOTS.mkdir(exist_ok=True)
    for lang, locale in (("en", "en-US"), ("zh", "zh-CN")):
        page = visit(width=width, height=height, locale=locale, color_scheme=theme).open("/clip", FILLED)
        page.locator('[data-example="red_envelope"]').click()
        page.wait_for_function("document.querySelector('#line').innerText.includes('ms')")
        page.locator("#relevance img").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("document.body.classList.contains('dark')") == (theme == "dark")
        shot = SHOTS / f"clip-{name}-{theme}-{lang}.png"
        page.screenshot(path=str(shot), full_page=True)
        assert shot.stat().st_size > 20_000
