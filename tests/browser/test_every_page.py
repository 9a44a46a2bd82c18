"""What holds on every page, rooms included: it fits, speaks one language, is readable, and is used without a mouse.

The tests share one visit for each page, in their order: a page takes long to open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from demos import catalog
from tests.conftest import Tabs, settle

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / "shots"
PATHS = ["/", *(f"/{row.slug}" for row in catalog.open_rows())]
WIDE = {"width": 1280, "height": 844}

# --- what axe-core looks for ---

# What Gradio 6.31 draws itself and nothing here can change: a label on the box of an empty image, for one.
GRADIOS = {"aria-prohibited-attr": (".empty",)}
EVERYTHING = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
# All that another theme changes is colours. They do so at once, because a visit asks for less motion.
COLOURS = {"type": "rule", "values": ["color-contrast"]}
# What a closed fold hides is not judged, but axe reads all of it: it is taken out and put back.
RUN_AXE = """async ([area, options]) => {
  const folds = [...document.querySelectorAll("details:not([open])")];
  const hidden = folds.map((fold) => [...fold.childNodes].filter((part) => part.nodeName !== "SUMMARY"));
  hidden.flat().forEach((part) => part.remove());
  try {
    return (await axe.run(area ?? document, options)).violations;
  } finally {
    folds.forEach((fold, i) => fold.append(...hidden[i]));
  }
}"""
OTHER_THEME = """() => {
  document.querySelector("[data-toggle-theme]").click();
  return document.documentElement.dataset.theme;
}"""
NEXT_TAB = """(seen) => {
  const tabs = [...document.querySelectorAll('[role=tab]')].filter((tab) => tab.checkVisibility() && !tab.disabled);
  const fresh = tabs.find((tab) => !seen.includes(tab.id || tab.innerText));
  if (!fresh) return null;
  fresh.click();
  const panel = document.getElementById(fresh.getAttribute("aria-controls"));
  return [fresh.id || fresh.innerText, panel ? `#${CSS.escape(panel.id)}` : "#tabs"];
}"""

# --- what Tab stops at ---

# Marks what a mouse could use and says what it is; a group of radio buttons is one stop. In a tab these are the stops among
# the tabs and the one behind them; the focus begins before them. What stands around the tabs was marked when the page opened.
MARK = """(inTab) => {
  const selector = "a[href], button, input, select, textarea, summary, [role=tab], [role=button], [contenteditable=true]";
  const shown = (e) => e.checkVisibility({ opacityProperty: true, visibilityProperty: true })
    && e.getBoundingClientRect().width > 1 && e.getBoundingClientRect().height > 1;
  const groups = new Set();
  document.querySelectorAll("[data-stop]").forEach((e) => delete e.dataset.stop);
  let stops = [...document.querySelectorAll(selector)].filter((e) => shown(e) && !e.disabled && !e.closest("[inert]"));
  stops = stops.filter((e) => e.type !== "radio" || (!groups.has(e.name) && groups.add(e.name)));
  document.activeElement.blur();
  window.getSelection().removeAllRanges();
  const area = inTab && document.getElementById("tabs");
  if (area) {
    const first = stops.findIndex((e) => area.contains(e));
    const last = stops.findLastIndex((e) => area.contains(e));
    if (first > 0) stops[first - 1].focus();
    stops = stops.slice(first, last + 2);
  }
  // An answer that comes meanwhile draws its part of the page anew: there a stop is known by its words.
  const words = (e) => [e.closest("[id]")?.id, e.tagName, e.getAttribute("download") || e.textContent.slice(0, 40)].join();
  stops.forEach((e, i) => { e.dataset.stop = i; });
  window.stopsByWords = Object.fromEntries(stops.map((e) => [words(e), e.dataset.stop]));
  window.reachedStops = new Set();
  window.watchesStops ||= document.addEventListener("focusin", ({ target: e }) => {
    // The stop of a group of radio buttons is its first one.
    const same = e.type === "radio" ? [...document.querySelectorAll("input[type=radio]")].filter((o) => o.name === e.name) : [e];
    const stop = same.map((o) => o.dataset.stop).find((o) => o != null) ?? window.stopsByWords[words(e)];
    if (stop != null) window.reachedStops.add(stop);
  }) || true;
  return Object.fromEntries(stops.map((e) => [e.dataset.stop, e.outerHTML.replace(/\\s+/g, " ").slice(0, 110)]));
}"""


def violations(page: Any, rules: Any = EVERYTHING, area: str | None = None) -> list[str]:
    """Serious and critical findings in an area of a page, or all of it, as "rule: element", less what is Gradio's own."""
    if page.evaluate("() => typeof window.axe === 'undefined'"):
        page.evaluate(Axe().axe_script)
    found = []
    for rule in page.evaluate(RUN_AXE, [area, {"resultTypes": ["violations"], "runOnly": rules}]):
        if rule["impact"] not in ("serious", "critical"):
            continue
        own = GRADIOS.get(rule["id"], ())
        for node in rule["nodes"]:
            if not any(part in node["target"][-1] or part[1:] in node["html"] for part in own):
                why = " ".join((node["failureSummary"] or "").split())[:160]
                found.append(f"{rule['id']}: {node['target'][-1]} {node['html'][:120]} ({why})")
    return found


def tabs(page: Any) -> Iterator[tuple[str, str | None]]:
    """Opens every tab of a page, the outer before the inner ones: its name and what it shows; ("", None) is the whole page
    with its first tab, as it opens."""
    first = page.evaluate(NEXT_TAB, [])
    settle(page)
    yield "", None
    seen = first[:1] if first else []
    while (opened := page.evaluate(NEXT_TAB, seen)) is not None:
        name, area = opened
        seen.append(name)
        settle(page)  # Gradio fetches what a tab shows when it is first opened
        yield name, area


def unreached(page: Any, in_tab: bool) -> list[str]:
    """The stops that Tab does not come by on its way around a page, or through the open tab."""
    for _ in range(3):
        stops = page.evaluate(MARK, in_tab)
        left = set(stops)
        for pressed in range(1, 2 * len(stops) + 41):
            page.keyboard.press("Tab")
            if pressed >= len(stops) and pressed % 5 == 0:
                left = stops.keys() - page.evaluate("[...window.reachedStops]")
                if not left:
                    return []
        # Perhaps an answer came meanwhile and drew its part of the page anew: once more.
        settle(page)
    return [stops[stop] for stop in sorted(left)]


@dataclass
class Tour:
    """One page of the app in English, on a wide screen."""

    path: str
    page: Any


@pytest.fixture(scope="module", params=PATHS)
def tour(request: pytest.FixtureRequest, tabs: Tabs, server: str) -> Iterator[Tour]:
    """A page that was just opened. Also: no error on the console and no request to another host in all that follows."""
    with tabs.visit(server, **WIDE) as tab:
        yield Tour(request.param, tab.open(request.param))


def test_it_fits_and_has_one_heading(tour: Tour) -> None:
    """Wide and narrow, light and dark."""
    SHOTS.mkdir(exist_ok=True)
    page = tour.page
    for width in (1280, 390):
        page.set_viewport_size({**WIDE, "width": width})
        settle(page)
        assert page.locator("h1").count() == 1
        if tour.path != "/privacy":
            assert "privacy" in page.locator(".atlas-foot a[href=privacy]:visible").first.inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        # What is shown lies inside the screen, also where the overflow is cut off.
        outside = page.evaluate(
            """() => [...document.querySelectorAll(".atlas-bar *, .atlas-head *, .atlas-foot *, #home *")]
              .filter((e) => e.checkVisibility() && !e.closest("svg, .atlas-only-read") && e.getBoundingClientRect().width)
              .filter((e) => e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 80))"""
        )
        assert outside == []
        for theme in ("light", "dark"):
            assert page.evaluate("document.body.classList.contains('dark')") == (theme == "dark")
            if (width == 1280) == (theme == "light"):
                name = f"{tour.path.strip('/') or 'home'}-{width}-{theme}.png"
                page.screenshot(path=str(SHOTS / name), full_page=True)
            page.locator("[data-toggle-theme]").click()
    page.set_viewport_size(WIDE)
    settle(page)


def test_no_tab_has_a_serious_finding(tour: Tour) -> None:
    """Accessibility by axe-core, light and dark: each tab as the one before left the theme, then in the other theme."""
    page, theme = tour.page, "light"
    found: dict[str, str] = {}  # a finding, and where it was seen first
    for name, area in tabs(page):
        for rules in (EVERYTHING, COLOURS):
            if rules is COLOURS:
                before, theme = theme, page.evaluate(OTHER_THEME)
                assert {before, theme} == {"light", "dark"}
            for line in violations(page, rules, area):
                found.setdefault(line, f"{name or 'as it opens'}, {theme}")
    assert "\n".join(f"[{where}] {line}" for line, where in found.items()) == ""


def test_tab_reaches_everything(tour: Tour) -> None:
    """The last test of a page: the keys change some of its inputs."""
    missed = {}
    for name, _ in tabs(tour.page):
        if left := unreached(tour.page, bool(name)):
            missed[name or "as it opens"] = left
    assert missed == {}


# --- the checks themselves, and the page that is none ---


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_serious_finding_where_there_is_no_page(visit: Callable[..., Any], theme: str) -> None:
    tab = visit(color_scheme=theme)
    assert violations(tab.open("/there-is-no-such-page")) == []
    # The browser reports the 404 itself.
    tab.errors[:] = [line for line in tab.errors if "404" not in line]


def test_a_finding_would_be_seen(visit: Callable[..., Any]) -> None:
    """The checks can fail: text that nobody can read, a button without a name, a button that Tab passes by."""
    page = visit().open("/privacy")
    page.evaluate(
        """() => document.querySelector("main").insertAdjacentHTML("afterbegin",
          "<p style='color:#ccc;background:#fff'>pale</p><button></button><button tabindex=-1>passed by</button>")"""
    )
    found = " ".join(violations(page))
    assert "color-contrast" in found and "button-name" in found
    (left,) = unreached(page, False)
    assert "passed by" in left


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_the_language_is_declared(visit: Callable[..., Any], locale: str) -> None:
    page = visit(locale=locale).open("/privacy")
    assert page.evaluate("document.documentElement.lang").startswith(locale[:2])
