"""The shell in a real browser: home, both languages, light and dark, phone width, links, downloads of checkpoints."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demos import catalog
from tests import standin_hub, tiny
from tests.browser.driving import ANSWERED, chinese_lines
from tests.conftest import QUEUE, Tabs, running_app, settle, visits

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]


# --- a slow browser ------------------------------------------------------------------------------------------

LATE_NUMBERS = """
const real = window.fetch;
window.fetch = async (request, ...options) => {
  const answer = await real(request, ...options);
  if ((request.url ?? String(request)).includes('/queue/join')) await new Promise((go) => setTimeout(go, 700));
  return answer;
};
"""


def test_an_answer_that_comes_before_its_number_keeps_no_stream_open(visit: Visits) -> None:
    """Of events that begin together some are over before a slow browser knows their numbers."""
    page = visit(script=LATE_NUMBERS).open("/clip", ANSWERED)
    page.locator("#examples [data-example=sheep_eating]").click()
    settle(page, rounds=3)
    assert not QUEUE[page]
    page.reload()  # the visit's end looks whether a connection was said to be lost
    page.wait_for_function(ANSWERED)


# --- home ----------------------------------------------------------------------------------------------------


def test_home_lists_every_paper_and_links_only_what_is_open(visit: Visits) -> None:
    page = visit().open("/")
    page.locator("#home h1").wait_for()
    assert page.locator(".atlas-kind .atlas-card").count() == len(catalog.PAGES)
    assert page.locator(".atlas-map .stop").count() == len(catalog.PAGES)
    ready = {row.slug for row in catalog.PAGES if row.ready}
    links = {link.get_attribute("href") for link in page.locator("#home a").all()}
    assert links == ready | {room.slug for room in catalog.ROOMS}
    coming = page.locator(".atlas-kind .atlas-card:not(.open) .atlas-pill").all_inner_texts()
    assert coming == ["coming"] * (len(catalog.PAGES) - len(ready))
    page.locator(".atlas-kind .atlas-card.open").first.click()
    page.locator(".atlas-head h1").wait_for()
    assert page.url.rstrip("/").endswith("/" + next(row.slug for row in catalog.PAGES if row.ready))


@pytest.mark.parametrize(("locale", "other"), [("en-US", "zh"), ("zh-CN", "en")])
def test_each_language_is_shown_alone_and_names_on_the_map_do_not_touch(
    visit: Visits, locale: str, other: str
) -> None:
    page = visit(locale=locale).open("/")  # the other pages: test_contract.py
    assert page.locator(f".l-{other}:visible").count() == 0
    assert other == "en" or chinese_lines(page) == []
    page.locator(".atlas-map").wait_for()
    overlaps = page.evaluate(
        """() => {
          const boxes = [...document.querySelectorAll(".atlas-map .name")]
            .filter((text) => getComputedStyle(text).display !== "none")
            .map((text) => [text.textContent, text.getBoundingClientRect()]);
          const map = document.querySelector(".atlas-map").getBoundingClientRect();
          const found = boxes.filter(([, b]) => b.right > map.right + 1 || b.left < map.left).map(([t]) => t);
          boxes.forEach(([one, a], i) => boxes.slice(i + 1).forEach(([other, b]) => {
            if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom) found.push([one, other]);
          }));
          return found;
        }"""
    )
    assert overlaps == []


# --- language and theme --------------------------------------------------------------------------------------


def test_the_language_follows_the_browser_and_the_choice_stays(visit: Visits) -> None:
    page = visit(locale="zh-TW").open("/")
    page.locator("#home h1").wait_for()
    assert page.title() == "CLIP Atlas 图文模型图谱"
    assert "家族" in page.locator("h1").inner_text()
    page.get_by_role("button", name="EN", exact=True).click()
    page.wait_for_function("document.title === 'CLIP Atlas'")
    assert "family" in page.locator("h1").inner_text()
    page.goto(page.url.split("?")[0] + "clip")
    page.locator("#try-run").wait_for()
    assert page.locator("#try-run").inner_text() == "Classify"
    assert page.title() == "CLIP · CLIP Atlas" and page.evaluate("document.documentElement.lang") == "en"


def test_a_link_brings_its_language_with_it(visit: Visits) -> None:
    tab = visit(locale="en-US")
    for address in ("/clip?lang=zh", "/clip", "/clip"):
        page = tab.open(address)
        # Gradio's requests in flight are an error on the console when their page goes away.
        page.wait_for_function("document.querySelectorAll('#labels li').length > 0")
        assert page.locator("#try-run").inner_text() == "分类"
        assert (
            page.locator("button.show-api").inner_text().startswith("通过 API")
        )  # Gradio's own words follow


def test_where_storage_is_forbidden_the_language_travels_in_the_address(visit: Visits) -> None:
    # As browsers do in a frame of another site.
    forbidden = (
        "const get = () => { throw new DOMException('no', 'SecurityError'); };"
        "Object.defineProperty(window, 'localStorage', { configurable: true, get });"
    )
    page = visit(script=forbidden).open("/")
    page.get_by_role("button", name="中文").click()
    page.wait_for_url("**/?lang=zh")
    page.locator(".atlas-start").click()
    page.wait_for_url("**/clip?lang=zh")
    page.locator(".atlas-head h1").first.wait_for()
    assert page.title().startswith("CLIP") and page.evaluate("document.documentElement.lang") == "zh-CN"
    # The page works without its memory.
    page.wait_for_function("document.querySelectorAll('#labels li').length > 0")
    page.locator("#try-run").click()
    page.locator("#try-line .atlas-line").wait_for()


def test_light_and_dark_are_chosen_and_stay(visit: Visits) -> None:
    page = visit(color_scheme="light").open("/")
    dark = "document.body.classList.contains('dark')"
    page.locator("[data-toggle-theme]").wait_for()
    assert not page.evaluate(dark)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("[data-toggle-theme]").click()
    assert page.evaluate(dark)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != paper
    page.goto(page.url + "clip")
    page.locator("#try-run").wait_for()
    assert page.evaluate(dark) and page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_everything_in_the_bar_is_reached_by_keyboard(visit: Visits) -> None:
    page = visit().open("/clip")
    page.locator(".atlas-bar").wait_for()
    reached = [""]
    while "Light or dark" not in reached[-1]:
        assert len(reached) < 15, reached
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim()"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", reached[-1]
        if reached[-1].startswith("Papers"):
            page.keyboard.press("Enter")
            assert page.locator(".atlas-menu-list a").first.is_visible()
            page.keyboard.press("Escape")
            assert not page.locator(".atlas-menu-list a").first.is_visible()
    text = " ".join(reached)
    assert all(stop in text for stop in ("CLIP Atlas", "Papers", "Classroom", "Report card", "EN", "中文"))


def test_bibtex_is_copied(visit: Visits) -> None:
    tab = visit()
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = tab.open("/clip")
    page.locator("[data-copy]").click()
    page.locator("#atlas-toast").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == catalog.entry("clip").paper.bibtex
    page.locator("#atlas-toast").wait_for(state="detached")


def test_an_unknown_address_leads_back_home(visit: Visits) -> None:
    tab = visit(locale="zh-CN")
    page = tab.open("/no-such-page")
    assert "没有这一页" in page.locator("main").inner_text()
    page.get_by_role("link").click()
    page.locator("#home h1").wait_for()
    # The browser itself reports the status of the first page.
    assert len(tab.errors) == 1 and "404" in tab.errors.pop()


# --- checkpoints ---------------------------------------------------------------------------------------------


REPO, COMMIT, SIZE = "lab/slow", "0123456789abcdef0123456789abcdef01234567", 6_000_000


@dataclass(frozen=True)
class Place:
    """The app on a registry of a bundled row and one on a stand-in Hub."""

    url: str
    hub: standin_hub.StandInHub
    cache: Path  # where downloads lie


@pytest.fixture(scope="module")
def app_with_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One for all tests of downloads."""
    folder = tmp_path_factory.mktemp("hub")
    tiny.make_bundle(folder / "bundle")
    repo = folder / "hub" / REPO / COMMIT
    tiny.make_bundle(repo, seed=9)
    (repo / "padding.bin").write_bytes(random.Random(0).randbytes(SIZE))  # takes its time on a slow line
    table = tiny.row("lab-slow", repo).replace(
        f'bundled = "{repo}"', f'repo = "{REPO}"\nrevision = "{COMMIT}"\nsize_bytes = {SIZE}'
    )
    table = table.replace('en = "Tiny", zh = "微型"', 'en = "Slow", zh = "慢"')
    registry = folder / "registry.toml"
    registry.write_text(tiny.row("tiny", folder / "bundle") + table, encoding="utf-8")
    with (
        standin_hub.serve(folder / "hub") as hub,
        running_app(
            folder / "app.log",
            warm=False,
            CLIP_ATLAS_REGISTRY=str(registry),
            HF_ENDPOINT=hub.url,
            HF_HOME=str(folder / "home"),
        ) as url,
    ):
        yield Place(url, hub, folder / "home" / "hub")
        assert "Traceback" not in (folder / "app.log").read_text()


@pytest.fixture
def place(app_with_hub: Place) -> Place:
    """The app before anything is downloaded, and a Hub without faults."""
    shutil.rmtree(app_with_hub.cache, ignore_errors=True)
    app_with_hub.hub.faults.clear()
    return app_with_hub


@pytest.fixture
def visit_hub(tabs: Tabs, place: Place) -> Iterator[Visits]:
    """Opens tabs on that app."""
    yield from visits(tabs, place.url)


def choose(page: Any, text: str) -> None:
    """Picks a row of the checkpoint menu, once the page has set its own."""
    settle(page)
    page.locator("#checkpoint input").click()
    page.get_by_role("option", name=text).click()


def test_a_checkpoint_is_downloaded_stopped_resumed_and_remembered(visit_hub: Visits, place: Place) -> None:
    place.hub.fault(REPO, "slow", rate=300_000)  # 20 seconds: on a busy machine a click takes a few
    tab = visit_hub()
    page = tab.open("/clip")
    page.locator("#checkpoint input").wait_for()
    assert not page.locator("#download-checkpoint").is_visible()
    choose(page, "Slow")
    # Size and licence are there before anything is fetched.
    page.locator("#download-checkpoint").wait_for()
    note = page.locator("#download-note").inner_text()
    assert "6 MB" in note and "apache-2.0" in note
    assert not list(place.cache.rglob("*.incomplete"))
    page.locator("#download-checkpoint").click()
    bar = page.locator("[role=progressbar]")
    page.wait_for_function("+document.querySelector('[role=progressbar]')?.ariaValueNow > 5")
    assert "MB" in page.locator("#download-note").inner_text()
    page.locator("#stop-download").click()
    page.locator("#download-checkpoint").wait_for()
    bar.wait_for(state="detached")
    page.locator("#stop-download").wait_for(state="hidden")

    place.hub.fault(REPO, "slow", rate=1_500_000)
    page.locator("#download-checkpoint").click()
    page.wait_for_function("+document.querySelector('[role=progressbar]')?.ariaValueNow > 10")
    page.locator("#download-checkpoint").wait_for(state="hidden")
    page.locator("#stop-download").wait_for(state="hidden")
    assert page.locator("#checkpoint input").input_value() == "Slow · downloaded"
    # It answers as soon as it is here.
    page.wait_for_function("document.querySelector('#try-line').innerText.includes('Slow')")
    page.locator("#about-checkpoint button").first.click()
    assert "downloaded, 6 MB" in page.locator("#checkpoint-card").inner_text()

    # A new page of the same browser starts on it; a link can ask for another.
    page.goto(f"{place.url}/clip?lang=zh")
    page.wait_for_function("document.querySelector('#checkpoint input')?.value === '慢 · 已下载'")
    page.goto(f"{place.url}/clip?checkpoint=tiny")
    page.wait_for_function("document.querySelector('#checkpoint input')?.value === '微型 · 内置'")
    # Gradio reports requests that a change of page cut off.
    tab.errors[:] = [line for line in tab.errors if "AbortError" not in line and "errored out" not in line]


def test_a_hub_out_of_reach_is_one_sentence_and_the_page_goes_on(visit_hub: Visits, place: Place) -> None:
    place.hub.fault(REPO, "error")
    page = visit_hub(locale="zh-CN").open("/clip")
    page.locator("#checkpoint input").wait_for()
    choose(page, "慢")
    page.locator("#download-checkpoint").click()
    alert = page.locator("#download-note [role=alert]")
    alert.wait_for(timeout=60_000)
    assert "500" in alert.inner_text() and "重试" in alert.inner_text()
    choose(page, "微型")
    page.wait_for_function("!document.querySelector('#download-note [role=alert]')")
    page.locator("#try-run").click()
    page.locator("#try-line .atlas-line").wait_for(timeout=60_000)


def test_a_tab_keeps_nothing_of_the_visit_before(tabs: Tabs, server: str) -> None:
    """The tests share tabs, and each begins as in a new browser."""
    state = """async () => [
      localStorage.length, sessionStorage.length, document.cookie, document.documentElement.lang.slice(0, 2),
      document.documentElement.dataset.theme, innerWidth, matchMedia("print").matches,
      (await navigator.permissions.query({ name: "clipboard-read" })).state,
    ]"""
    with tabs.visit(server, script="0") as tab:
        page = tab.open("/privacy")
        new = page.evaluate(state)
        page.evaluate("sessionStorage.setItem('kept', 1); document.cookie = 'kept=1'")
        page.locator("[data-toggle-theme]").click()
        page.locator("[data-set-lang=zh]").click()
        page.wait_for_function("document.documentElement.lang === 'zh-CN'")
        page.set_viewport_size({"width": 390, "height": 844})
        page.emulate_media(media="print")
        tab.context.grant_permissions(["clipboard-read"])
        assert not any(one == other for one, other in zip(new, page.evaluate(state), strict=True))
    with tabs.visit(server, script="0") as again:
        assert again is tab and again.open("/privacy").evaluate(state) == new
