"""Accessibility by axe-core: every page, every tab of it, light and dark, without a serious or critical finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from demos import catalog
from tests.conftest import settle

pytestmark = pytest.mark.browser

PATHS = ["/", *(f"/{row.slug}" for row in catalog.open_rows())]
# What Gradio 6.31 draws itself and nothing here can change: a label on the box of an empty image, for one.
GRADIOS = {"aria-prohibited-attr": (".empty",)}
EVERYTHING = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
# All that the dark theme changes is colours.
COLOURS = {"type": "rule", "values": ["color-contrast"]}
NEXT_TAB = """(seen) => {
  const tabs = [...document.querySelectorAll('[role=tab]')].filter((tab) => tab.checkVisibility() && !tab.disabled);
  const fresh = tabs.find((tab) => !seen.includes(tab.id || tab.innerText));
  if (!fresh) return null;
  fresh.click();
  return fresh.id || fresh.innerText;
}"""


def violations(page: Any, rules: Any = EVERYTHING) -> list[str]:
    """Serious and critical findings as "rule: element", less what is Gradio's own."""
    found = []
    options = {"resultTypes": ["violations"], "runOnly": rules}
    for rule in Axe().run(page, options=options).response["violations"]:
        if rule["impact"] not in ("serious", "critical"):
            continue
        own = GRADIOS.get(rule["id"], ())
        for node in rule["nodes"]:
            if not any(part in node["target"][-1] or part[1:] in node["html"] for part in own):
                why = " ".join((node["failureSummary"] or "").split())[:160]
                found.append(f"{rule['id']}: {node['target'][-1]} {node['html'][:120]} ({why})")
    return found


def tabs(page: Any) -> Iterator[str]:
    """Opens every tab of a page, the outer before the inner ones; the page as it opened comes first."""
    yield "as it opens"
    seen: list[str] = []
    while (name := page.evaluate(NEXT_TAB, seen)) is not None:
        seen.append(name)
        settle(page)  # Gradio fetches what a tab shows when it is first opened
        yield name


@pytest.mark.parametrize("path", PATHS)
def test_no_serious_finding(visit: Callable[..., Any], path: str) -> None:
    page = visit(color_scheme="light").open(path)
    found: dict[str, str] = {}  # a finding, and the tab where it was seen first
    for name in tabs(page):
        for theme, rules in (("light", EVERYTHING), ("dark", COLOURS)):
            for line in violations(page, rules):
                found.setdefault(line, f"{name}, {theme}")
            page.locator("[data-toggle-theme]").click()
            settle(page)  # colours fade
    assert "\n".join(f"[{where}] {line}" for line, where in found.items()) == ""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_serious_finding_where_there_is_no_page(visit: Callable[..., Any], theme: str) -> None:
    tab = visit(color_scheme=theme)
    assert violations(tab.open("/there-is-no-such-page")) == []
    # The browser reports the 404 itself.
    tab.errors[:] = [line for line in tab.errors if "404" not in line]


def test_a_finding_would_be_seen(visit: Callable[..., Any]) -> None:
    """The check can fail: text that nobody can read, a button without a name."""
    page = visit().open("/privacy")
    page.evaluate(
        """() => document.querySelector("main").insertAdjacentHTML("afterbegin",
          "<p style='color:#ccc;background:#fff'>pale</p><button></button>")"""
    )
    found = " ".join(violations(page))
    assert "color-contrast" in found and "button-name" in found


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_the_language_is_declared(visit: Callable[..., Any], locale: str) -> None:
    page = visit(locale=locale).open("/privacy")
    assert page.evaluate("document.documentElement.lang").startswith(locale[:2])
