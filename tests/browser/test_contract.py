"""What a visitor may expect of every page of the kit, in a real browser, in both languages.

1. An answer never stands beside an input that it does not belong to.
2. A walkthrough gives the inputs back as they were; a step runs on its own inputs.
3. A link opens what it carries, runs, and says when an image of one's own is not in it; every step has a link.
4. Every run that takes long has Stop, from whatever it was started.
5. A miniature says above its answer what it does not know, and offers real weights.
6. The result comes first: without scrolling on a desk, scrolled to on a phone.
7. One name and one place for each thing.

The tests share one visit for each page and language, in their order, and leave it on the first tab: a page takes long to
open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from demos.chinese_clip import answer as chinese_clip
from demos.kit import library
from tests.browser.driving import ANSWERED, MARK, STALE, chinese_lines, newer, open_tab, unfold, write_labels
from tests.conftest import Tabs, Visit, settle
from tests.contract.test_pages import PAGES, QUICK
from tests.pages import form as form_of

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
LOCALES = {"en": "en-US", "zh": "zh-CN"}
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
TABS = {
    "en": ["Try it", "Compare", "Look inside", "Walkthrough", "Train it", "Many files"],
    "zh": ["试一试", "比较", "看看内部", "分步课程", "动手训练", "批量处理"],
}
STOP = {"en": "Stop", "zh": "停止"}
PHOTO = Path(library.shared()["coffee_cup"]["path"])
UNKNOWN = {"en": "kumquat", "zh": "金桔"}  # a word that no miniature has read
TYPED = {"en": "toys", "zh": "玩具"}
# The values of fields as the page has them, also while they are hidden.
INPUTS = """(names) => Object.fromEntries(names.map((name) => {
  const area = document.getElementById(name);
  const boxes = [...(area ? area.querySelectorAll('input:not([type=file]), textarea') : [])];
  const values = boxes.map((box) => (/radio|checkbox/.test(box.type) ? box.checked : box.value));
  const labels = [...(area ? area.querySelectorAll('.atlas-labels li') : [])].map((chip) => chip.firstChild.textContent);
  return [name, [...values, ...labels]];
}))"""
# Reports runs that are not over after thirty seconds (two, and time for a busy machine) and have no Stop.
WATCH = """(() => {
  const watch = () => {
    if (!window.atlas || !window.atlas.started) { setTimeout(watch, 5); return; }
    const started = window.atlas.started;
    const mark = (name) => document.querySelector(`#${name}-result [data-answer]`)?.dataset.answer;
    window.atlas.started = (name) => {
      started(name);
      const before = mark(name);
      const over = () => mark(name) !== before || document.querySelector('#atlas-message .atlas-refusal');
      const hidden = () => document.getElementById(`${name}-result`)?.offsetParent == null;
      setTimeout(() => {
        if (!over() && !hidden() && !document.getElementById(`${name}-stop`)) console.error(`no Stop: ${name}`);
      }, 30000);
    };
  };
  watch();
})()"""


@dataclass
class Desk:
    """A page on a screen of 1280 by 800."""

    slug: str
    lang: str
    tab: Visit

    def __post_init__(self) -> None:
        self.page = self.tab.page
        self.declared, self.form = PAGES[self.slug], form_of(PAGES[self.slug].question)
        self.is_quick = self.slug in QUICK

    @property
    def has_image(self) -> bool:
        return "image" in self.form.fields

    @property
    def file_fields(self) -> list[str]:
        """The fields that take the visitor's own image, clips or cloud."""
        return [name for name, made in self.form.components.items() if isinstance(made, gr.Image | gr.File)]

    @property
    def has_weights(self) -> bool:
        return "checkpoint" in self.form.fields

    @property
    def lesson(self) -> tuple[str, int] | None:
        """The last step of the last lesson."""
        walk = self.declared.walk
        if walk is None:
            return None
        name, lesson = list(walk.lessons().items())[-1]
        return name, len(lesson["steps"]) - 1

    @property
    def inputs(self) -> dict[str, Any]:
        """The values of the fields by name, but for the image."""
        fold = self.page.locator("#settings > button:not(.open)")
        if fold.count() and fold.is_visible():
            unfold(self.page, "settings")
        return self.page.evaluate(INPUTS, [name for name in self.form.fields if name != "image"])

    @property
    def image(self) -> str | None:
        """The address of the page's image."""
        return self.page.evaluate("document.querySelector('#image img')?.src")

    def text_fields(self) -> list[str]:
        """The fields above the answer in which a visitor writes."""
        names = [name for name, how in self.form.fields.items() if how.place != "settings"]
        return [
            name for name in names if self.is_chips(name) or self.page.locator(f"#{name} textarea").count()
        ]

    def is_chips(self, name: str) -> bool:
        return self.page.locator(f"#{name} .atlas-labels").count() > 0

    def write(self, name: str, text: str) -> None:
        """Writes a text in place of what a field has, on the first tab, which shows all fields."""
        self.page.locator("[role=tab]").first.click()
        if self.is_chips(name):
            write_labels(self.page, text)
        else:
            self.page.locator(f"#{name} textarea").fill(text)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """The inputs that are set inside are asked about: to the end where that is quick, else until `end`."""
        if self.is_quick:
            with newer(self.page):
                yield
            return
        yield
        # A run that begins while Gradio closes the stream of an answer may lose its first step in a slow browser.
        settle(self.page)
        self.page.locator("#try-run").click()

    def end(self) -> None:
        """Stops what `asking` began where it takes long."""
        if not self.is_quick:
            self.stop()

    def stop(self) -> None:
        """Stops the run of the first tab and waits for its end; there has to be a Stop."""
        # What is known before the answer is there.
        assert press_stop(self.page, "#try-line [role=progressbar][aria-valuenow]") == STOP[self.lang]
        self.page.locator("#try-run").wait_for()
        assert not self.page.locator("#try-stop").is_visible()


def press_stop(page: Any, beside: str = "", place: str = "try") -> str:
    """Presses the Stop of a place as soon as it is shown beside something else, and returns what it is called.

    In one step in the browser: on a busy machine a run may end between looking for the button and pressing it.
    """
    page.wait_for_function(
        """([place, beside]) => {
          const [stop, run] = ['stop', 'run'].map((name) => document.getElementById(`${place}-${name}`));
          if (!stop?.offsetParent || run?.offsetParent || !document.querySelector(beside)) return false;
          window.pressed = stop.innerText.trim();
          stop.click();
          return true;
        }""",
        arg=[place, beside or f"#{place}-stop"],
    )
    return str(page.evaluate("window.pressed"))


CASES = [(slug, lang) for slug in PAGES for lang in LOCALES]


@pytest.fixture(scope="module", params=CASES, ids=[f"{slug}-{lang}" for slug, lang in CASES])
def desk(request: pytest.FixtureRequest, tabs: Tabs, server: str) -> Iterator[Desk]:
    """A page that was opened from the link of a step, if it has one."""
    slug, lang = request.param
    with tabs.visit(server, **DESK, locale=LOCALES[lang], script=WATCH) as tab:
        made = Desk(slug, lang, tab)
        tab.open(f"/{slug}" + (f"?step={made.lesson[0]}:{made.lesson[1]}" if made.lesson else ""))
        yield made


def test_a_step_opens_from_its_link(desk: Desk) -> None:
    if desk.lesson is None:
        pytest.skip("no walkthrough")
    page, (name, at) = desk.page, desk.lesson
    page.locator("#walk-step h3").wait_for()
    lesson = desk.declared.walk.lessons()[name]
    assert page.locator("#walk-step h3").inner_text() == lesson["steps"][at]["ask"][desk.lang]
    assert not page.locator("#image").is_visible()
    # Another step has its link as well.
    first = next(iter(desk.declared.walk.lessons()))
    page.locator(f"#walk-{first}").click()
    page.wait_for_function("document.querySelectorAll('#walk-guess label').length > 1")
    settle(page)
    page.locator("#walk-link").click()
    page.wait_for_function(f"new URLSearchParams(location.search).get('step') === '{first}:0'")


def test_the_result_is_seen_without_scrolling(desk: Desk) -> None:
    page = desk.page
    open_tab(page, TABS[desk.lang][0])
    page.wait_for_function(ANSWERED if desk.is_quick else "document.querySelector('#try-line p')")
    settle(page)
    page.evaluate("window.scrollTo(0, 0)")
    box = page.locator("#try-result > *:visible").first.bounding_box()
    assert box["y"] < 620 and min(box["y"] + box["height"], 800) - box["y"] > 120, box
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_each_language_is_shown_alone(desk: Desk) -> None:
    other = {"en": "zh", "zh": "en"}[desk.lang]
    assert desk.page.locator(f".l-{other}:visible").count() == 0
    if desk.lang == "en":
        chinese = chinese_lines(desk.page)
        # Labels in Chinese are what Chinese-CLIP is about; their English stands beside them.
        known = chinese_clip.data()["sheep"]["labels"] if desk.slug == "chinese-clip" else ()
        assert [line for line in chinese if not any(label in line for label in known)] == []


def test_each_thing_has_one_name_and_one_place(desk: Desk) -> None:
    page = desk.page
    names = [name.strip() for name in page.locator("#tabs > .tab-wrapper button[role=tab]").all_inner_texts()]
    names = [name for name in names if name]
    assert names and names == [name for name in TABS[desk.lang] if name in names]
    repeated = page.evaluate("""() => {
      const ids = [...document.querySelectorAll('#tabs [id], .atlas-form [id], .atlas-top [id]')].map((e) => e.id);
      return ids.filter((id, i) => id && ids.indexOf(id) !== i);
    }""")
    assert repeated == []
    # Inputs beside the answer, the button above it, settings, downloads and the link below it.
    tops = [page.locator(one).first.bounding_box()["y"] for one in ("#try-run", "#try-result", "#link")]
    assert tops == sorted(tops)
    assert page.locator(".atlas-form #checkpoint").count() == int(desk.has_weights)


def test_a_word_outside_the_miniature_is_named_above_the_answer(desk: Desk) -> None:
    if not desk.has_weights:
        pytest.skip("no weights")
    page, word = desk.page, UNKNOWN[desk.lang]
    with desk.asking():
        for name in desk.text_fields():
            desk.write(name, word)
    hint = page.locator("#try-notes .atlas-hint", has_text=word).first
    hint.wait_for()
    page.locator("#try-get", has_text=re.compile(r"\S")).wait_for()
    assert hint.bounding_box()["y"] < page.locator("#try-line").bounding_box()["y"]
    desk.end()


def test_a_photo_is_a_guess_for_the_miniature(desk: Desk) -> None:
    if not desk.has_image:
        pytest.skip("no image")
    page, before = desk.page, desk.image
    with desk.asking():
        page.set_input_files("#image input[type=file]", PHOTO)
        page.wait_for_function(
            "(before) => ![before, undefined].includes(document.querySelector('#image img')?.src)", arg=before
        )
    if not desk.has_weights:  # the photo is answered, and stays for the tests that follow
        desk.end()
        return
    told = "drawings of the classroom" if desk.lang == "en" else "图画"
    hint = page.locator("#try-notes .atlas-hint", has_text=told).first
    hint.wait_for()
    button = page.locator("#try-get", has_text=re.compile(r"\S"))
    button.wait_for()
    above = [one.bounding_box()["y"] for one in (hint, button, page.locator("#try-line"))]
    assert above == sorted(above)
    desk.end()


def test_a_walkthrough_leaves_the_inputs_as_they_were(desk: Desk) -> None:
    if desk.lesson is None:
        pytest.skip("no walkthrough")
    page = desk.page
    before, image = desk.inputs, desk.image
    mark, stale = page.evaluate(MARK), page.evaluate(STALE)
    open_tab(page, TABS[desk.lang][3])
    page.locator("#walk-step h3").wait_for()
    page.locator("#walk-guess label").first.click()
    page.locator("#walk-run").click()
    if desk.is_quick:
        page.locator("#walk-out .atlas-verdict").wait_for()
        page.locator("#walk-run").wait_for()
    else:
        press_stop(page, place="walk")
        page.locator("#walk-run").wait_for()
        assert not page.locator("#walk-stop").is_visible()
    # The step ran on its own image, not on the visitor's, which is hidden meanwhile.
    assert not page.locator(".atlas-form #image").is_visible()
    if desk.has_image:
        own = page.locator("#walk-step img").first
        assert own.is_visible() and own.get_attribute("src") != image
    open_tab(page, TABS[desk.lang][0])
    settle(page)
    assert desk.inputs == before and desk.image == image
    assert page.evaluate(MARK) == mark and page.evaluate(STALE) == stale


def test_many_files_stand_beside_the_labels_and_no_image(desk: Desk) -> None:
    if desk.declared.many is None:
        pytest.skip("no many files")
    page, beside = desk.page, [*(f"#{name}" for name in desk.file_fields), "#examples"]
    assert all(page.locator(one).is_visible() for one in beside)
    open_tab(page, TABS[desk.lang][5])
    page.locator("#many-files").wait_for()
    assert not any(page.locator(one).is_visible() for one in beside)
    assert all(page.locator(f"#{name}").is_visible() for name in desk.text_fields())
    open_tab(page, TABS[desk.lang][0])
    page.locator("#try-run").wait_for()
    assert all(page.locator(one).is_visible() for one in beside)


def test_a_link_runs_when_it_is_opened_and_says_what_is_not_in_it(desk: Desk) -> None:
    page, before = desk.page, desk.inputs
    page.locator("#link").click()
    page.locator("#atlas-toast").wait_for()
    page.wait_for_function("location.search.length > 1")
    assert page.evaluate("location.search.includes('image=own')") == desk.has_image
    page.set_viewport_size(PHONE)
    page.reload()
    page.locator("h1").first.wait_for()
    if desk.is_quick:
        page.wait_for_function(ANSWERED)
    else:
        desk.stop()
    settle(page)
    assert desk.inputs == before
    assert page.locator("#refused .atlas-refusal").count() == int(desk.has_image)
    assert not desk.is_quick or not page.evaluate(STALE)


def test_on_a_phone_the_answer_comes_into_view(desk: Desk) -> None:
    """The link was opened on a phone."""
    page = desk.page
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.evaluate("window.scrollTo(0, 0)")
    strip = page.locator("#examples .atlas-examples")
    assert strip.bounding_box()["height"] < 130  # one line
    mark = page.evaluate(MARK)
    strip.locator("button").nth(1).click()
    if desk.is_quick:
        page.wait_for_function(f"({MARK}) !== '{mark}'")
    page.wait_for_function("""() => {
      const top = document.querySelector('#try-result').getBoundingClientRect().top;
      return top > -40 && top < window.innerHeight / 2;
    }""")
    if not desk.is_quick:
        press_stop(page)
        page.locator("#try-run").wait_for()
    settle(page)
    page.set_viewport_size(DESK)


def change(page: Any, name: str, lang: str) -> bool:
    """Changes a field as a visitor does; False where there is nothing to change it with."""
    area = page.locator(f"#{name}")
    kinds = {
        "chips": ".atlas-labels-box input",
        "text": "textarea, input[type=text]:not([role])",
        "slider": "input[type=range]",
        "number": "input[type=number]",
        "menu": "input[role=listbox], input[role=combobox]",
        "choice": "input[type=radio]:not(:checked)",
        "tick": "input[type=checkbox]",
    }
    for kind, selector in kinds.items():
        box = area.locator(selector).first
        if not box.count() or not box.is_visible():
            continue
        if kind in ("chips", "text"):
            box.fill(TYPED[lang] if kind == "chips" else f"{box.input_value()} {TYPED[lang]}")
            box.press("Enter" if kind == "chips" else "End")
        elif kind == "slider":
            box.focus()
            page.keyboard.press(
                "ArrowRight" if float(box.input_value()) <= float(box.get_attribute("min")) else "ArrowLeft"
            )
        elif kind == "number":
            box.fill(str(int(box.input_value() or 0) + 1))
        elif kind == "menu":
            box.click()
            options = page.locator("[role=option]:visible")
            options.first.wait_for()
            if options.count() < 2:
                page.keyboard.press("Escape")
                return False
            # By keyboard: a message may stand over the menu.
            first = options.first.get_attribute("aria-selected") == "true"
            page.keyboard.press("ArrowDown" if first else "ArrowUp")
            page.keyboard.press("Enter")
            return True
        else:
            box.click()
        return True
    return False


def test_an_answer_never_stands_beside_other_inputs(desk: Desk) -> None:
    """Each input, one after the other: a new answer, or the old one greyed with a sentence that names the button."""
    page = desk.page
    assert set(desk.inputs) - {"checkpoint"}  # the settings are open
    button = page.locator("#try-run").inner_text().strip()
    changed = []
    for name in [
        *(name for name in desk.form.fields if desk.form.asks(name) and name != "image"),
        "checkpoint",
    ]:
        page.evaluate("() => { delete document.querySelector('#try-result').dataset.stale; }")
        mark = page.evaluate(MARK)
        if not change(page, name, desk.lang):
            continue
        page.wait_for_function(f"({MARK}) !== {mark!r} || {STALE}" if mark else STALE)
        sentence = page.evaluate(STALE)
        assert not sentence or button in sentence
        changed.append(name)
    assert {*(["checkpoint"] if desk.has_weights else []), *desk.text_fields()} <= set(changed)
    settle(page)


def test_no_run_went_on_without_stop(desk: Desk) -> None:
    assert [line for line in desk.tab.errors if line.startswith("no Stop")] == []
