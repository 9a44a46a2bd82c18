"""What a visitor may expect of every page, in a real browser, in both languages (properties of the kit)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demos.kit import library
from tests.conftest import settle
from tests.contract.test_pages import PAGES, QUICK, WITH_LESSONS

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
LOCALES = {"en": "en-US", "zh": "zh-CN"}
ANSWERED = "document.querySelector('#try-result [data-answer]') !== null"
MARK = "document.querySelector('#try-result [data-answer]')?.dataset.answer"
STALE = "document.querySelector('#try-result').dataset.stale"
TABS = {
    "en": ["Try it", "Compare", "Look inside", "Walkthrough", "Train it", "Many files"],
    "zh": ["试一试", "比较", "看看内部", "分步课程", "动手训练", "批量处理"],
}
PHOTO = Path(library.shared()["coffee_cup"]["path"])
IMAGES = [slug for slug in QUICK if "image" in PAGES[slug].question.__dataclass_fields__]
FACTS = """() => ({
  text: [...document.querySelectorAll('.atlas-top textarea, .atlas-top input[type=text]')].map((box) => box.value),
  image: document.querySelector('#image img')?.src,
})"""

each = pytest.mark.parametrize("lang", LOCALES)


def fresh(page: Any, mark: str | None) -> bool:
    """Whether the answer belongs to the inputs: a newer one, or the old one greyed with a sentence."""
    page.wait_for_function(f"({MARK}) !== '{mark}' || {STALE}")
    return True


@each
@pytest.mark.parametrize("slug", IMAGES)
def test_an_answer_never_stands_beside_another_image(visit: Visits, slug: str, lang: str) -> None:
    page = visit(locale=LOCALES[lang]).open(f"/{slug}", ANSWERED)
    mark = page.evaluate(MARK)
    page.set_input_files("#image input[type=file]", PHOTO)
    assert fresh(page, mark)
    settle(page)
    if page.evaluate(STALE):
        assert page.locator("#try-run").inner_text().strip() in page.evaluate(STALE)
        page.locator("#try-run").click()
    page.wait_for_function(f"({MARK}) !== '{mark}' && !({STALE})")
    # A miniature says above its answer that it does not know photographs, and offers weights that do.
    hint, button = page.locator("#try-notes .atlas-hint").first, page.locator("#try-get")
    assert hint.is_visible() and button.is_visible() and button.inner_text().strip()
    assert hint.bounding_box()["y"] < page.locator("#try-line").bounding_box()["y"]


@each
@pytest.mark.parametrize("slug", QUICK)
def test_an_answer_never_stands_beside_other_words(visit: Visits, slug: str, lang: str) -> None:
    page = visit(locale=LOCALES[lang]).open(f"/{slug}", ANSWERED)
    mark = page.evaluate(MARK)
    box = page.locator(".atlas-top textarea:visible, .atlas-top input[type=text]:visible").first
    box.click()
    box.press("End")
    box.press_sequentially("s" if lang == "en" else "，狗")
    box.press("Enter")
    assert fresh(page, mark)


@each
@pytest.mark.parametrize("slug", WITH_LESSONS)
def test_a_walkthrough_leaves_the_inputs_as_they_were(visit: Visits, slug: str, lang: str) -> None:
    page = visit(locale=LOCALES[lang]).open(f"/{slug}", ANSWERED if slug in QUICK else "true")
    before = page.evaluate(FACTS)
    page.locator("#group-walk-button, button[role=tab]", has_text=TABS[lang][3]).first.click()
    page.locator("#walk-guess label").first.wait_for()
    page.locator("#walk-next").wait_for()
    assert not page.locator("#image").is_visible()
    page.locator("button[role=tab]", has_text=TABS[lang][0]).first.click()
    settle(page)
    assert page.evaluate(FACTS) == before


@each
@pytest.mark.parametrize("slug", WITH_LESSONS)
def test_a_step_has_a_link(visit: Visits, slug: str, lang: str) -> None:
    walk = PAGES[slug].walk
    name = list(walk.lessons())[-1]
    page = visit(locale=LOCALES[lang]).open(f"/{slug}?step={name}:0")
    page.locator("#walk-step h3").wait_for()
    step = walk.lessons()[name]["steps"][0]
    assert page.locator("#walk-step h3").inner_text() == step["ask"][lang]
    page.locator("#walk-link").click()
    page.wait_for_function(f"location.search.includes('step={name}')")


@each
@pytest.mark.parametrize("slug", QUICK)
def test_a_link_runs_when_it_is_opened(visit: Visits, slug: str, lang: str) -> None:
    page = visit(locale=LOCALES[lang]).open(f"/{slug}", ANSWERED)
    page.locator("#link").click()
    page.wait_for_function("location.search.length > 1")
    address = page.evaluate("location.pathname + location.search")
    before = page.evaluate(FACTS)["text"]
    again = visit(locale=LOCALES[lang]).open(address, ANSWERED)
    assert again.evaluate(FACTS)["text"] == before
    assert not again.evaluate(STALE)


@pytest.mark.parametrize("slug", IMAGES[:1])
def test_a_link_says_that_ones_own_image_is_not_in_it(visit: Visits, slug: str) -> None:
    page = visit().open(f"/{slug}", ANSWERED)
    page.set_input_files("#image input[type=file]", PHOTO)
    settle(page, rounds=2)
    page.locator("#link").click()
    page.wait_for_function("location.search.includes('image=own')")
    again = visit().open(page.evaluate("location.pathname + location.search"))
    again.locator("#refused .atlas-refusal").wait_for()


@each
@pytest.mark.parametrize("slug", PAGES)
def test_tabs_have_one_order_and_one_name(visit: Visits, slug: str, lang: str) -> None:
    page = visit(locale=LOCALES[lang]).open(f"/{slug}")
    names = [name.strip() for name in page.locator("#tabs > .tab-wrapper button[role=tab]").all_inner_texts()]
    names = [name for name in names if name]
    assert names and names == [name for name in TABS[lang] if name in names]


@each
@pytest.mark.parametrize("slug", QUICK)
def test_the_result_is_seen_without_scrolling(visit: Visits, slug: str, lang: str) -> None:
    page = visit(width=1280, height=800, locale=LOCALES[lang]).open(f"/{slug}", ANSWERED)
    box = page.locator("#try-result > *:visible").first.bounding_box()
    assert box["y"] < 620 and min(box["y"] + box["height"], 800) - box["y"] > 120, box


@each
@pytest.mark.parametrize("slug", IMAGES)
def test_on_a_phone_the_answer_comes_into_view(visit: Visits, slug: str, lang: str) -> None:
    page = visit(width=390, height=844, locale=LOCALES[lang]).open(f"/{slug}", ANSWERED)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    strip = page.locator("#examples .atlas-examples")
    assert strip.bounding_box()["height"] < 130  # one line
    mark = page.evaluate(MARK)
    strip.locator("button").nth(1).click()
    page.wait_for_function(f"({MARK}) !== '{mark}'")
    page.wait_for_function("""() => {
      const top = document.querySelector('#try-result').getBoundingClientRect().top;
      return top > -40 && top < window.innerHeight / 2;
    }""")
