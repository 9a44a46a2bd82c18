"""The Classroom and the Report card in a real browser: compose, look, carry elsewhere, make a data set, filter."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client

from core.classroom import report
from tests.browser.driving import ANSWERED, LABELS, SHOTS, look_around

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
FILLED = "document.querySelector('#stage .atlas-scene') !== null"
# The line under the stage is recorded until something was drawn.
DRAWN = "/\\d (s|秒)/.test(document.querySelector('#line').innerText)"


@pytest.fixture(scope="module", autouse=True)
def opened_world(client: Client) -> None:
    """The drawings are opened once a process, which takes seconds, on a busy machine minutes: not each test's to wait."""
    client.predict(["dog"], size=48, api_name="/classroom_compose")


def choose(page: Any, elem_id: str, typed: str, entry: str) -> None:
    """Types into a menu's search box, at once as an input method or a paste does, and picks an entry."""
    box = page.locator(f"#{elem_id} input")
    box.click()
    box.fill(typed)
    page.wait_for_function(
        "typed => [...document.querySelectorAll('[role=option]')].every(o => o.innerText.includes(typed))",
        arg=typed,
    )
    page.get_by_role("option", name=entry, exact=True).click()


def says(page: Any, text: str) -> None:
    """Waits until the stage says this."""
    page.wait_for_function("text => document.querySelector('#stage').innerText.includes(text)", arg=text)


def test_a_scene_is_composed_by_choosing_and_opens_again_from_its_link(visit: Visits) -> None:
    tab = visit()
    page = tab.open("/classroom", FILLED)
    says(page, "a dog to the left of a car")
    choose(page, "concept-1", "猫", "cat · 猫")
    says(page, "a cat to the left of a car")
    page.locator("#arrangement input").click()
    page.get_by_role("option", name="1 above 2").click()
    says(page, "a cat above a car")
    choose(page, "background", "sno", "snow")
    says(page, "in the snow")
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#link").click()
    page.wait_for_function("location.search.includes('scene=')")
    address = page.url
    again = visit(locale="zh-CN").open(address.removeprefix(tab.server).replace("lang=en", "lang=zh"), FILLED)
    says(again, "猫在汽车的上面")
    assert "a cat above a car" in again.locator("#stage").inner_text()


def test_a_view_is_made_big_and_stays_so(visit: Visits) -> None:
    page = visit().open("/classroom", FILLED)

    def width(name: str) -> float:
        return float(page.locator(f'[data-is="{name}"]').bounding_box()["width"])

    assert width("picture") > 2 * width("depth")
    page.locator('[data-view="depth"]').focus()
    page.keyboard.press("Enter")
    assert width("depth") > 2 * width("picture")
    page.locator('[data-example="four_sheep"]').click()
    page.wait_for_function(DRAWN)
    assert width("depth") > 2 * width("picture")
    page.locator('[data-view="depth"]').click()
    assert width("picture") > 2 * width("depth")


def test_the_scene_opens_on_the_clip_page_with_its_caption(visit: Visits) -> None:
    page = visit().open("/classroom", FILLED)
    page.locator('#links a[href^="clip?scene="]').click()
    page.wait_for_function(ANSWERED)
    captions = ["a dog to the left of a car", "a car to the left of a dog"]
    assert page.evaluate(LABELS)[:4] == [*captions, "dog", "car"]
    page.locator("#image img").wait_for()
    # It is answered without a click, and the miniature knows such scenes.
    page.locator("#try-bars tbody tr").first.wait_for()
    assert page.locator("#try-notes .atlas-hint").count() == 0


def test_a_link_without_a_scene_is_one_sentence(visit: Visits) -> None:
    page = visit().open("/classroom?scene=1F415.q3_grass.colour.0", FILLED)
    says(page, "a dog to the left of a car")
    assert "1F415.q3" in page.locator("#line [role=alert]").inner_text() and "Traceback" not in page.content()
    # The page goes on: the sentence makes room for the first scene that is drawn.
    page.locator("#compose-button").click()
    page.wait_for_function(DRAWN)
    assert page.locator("[role=alert]").count() == 0


def test_a_data_set_is_made_and_downloaded(visit: Visits, tmp_path: Path) -> None:
    page = visit().open("/classroom", FILLED)
    count = page.locator("#count input[type=number]")
    count.fill("10")
    count.press("Enter")
    # Ten scenes are soon drawn: the bar may be gone before it is looked for.
    page.evaluate("""() => {
      const line = document.getElementById('dataset-line');
      const note = () => { window.progress ||= line.querySelector('[role=progressbar]') !== null; };
      new MutationObserver(note).observe(line, { childList: true, subtree: true });
    }""")
    page.locator("#dataset-run").click()
    page.locator("#dataset-file").wait_for()
    assert page.evaluate("window.progress")
    with page.expect_download() as download:
        page.locator("#dataset-file").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert sum(name.endswith(".png") for name in archive.namelist()) == 10
        assert {"train", "val"} == {
            name.split("/")[1] for name in archive.namelist() if name.startswith("images/")
        }


def test_a_data_set_stops(visit: Visits) -> None:
    page = visit().open("/classroom", FILLED)
    count = page.locator("#count input[type=number]")
    count.fill("200")
    count.press("Enter")
    page.locator("#dataset-run").click()
    page.locator("#dataset-stop").click()
    page.locator("#atlas-message [role=alert]").wait_for()
    page.locator("#dataset-run").wait_for()
    assert not page.locator("#dataset-stop").is_visible() and not page.locator("#dataset-file").is_visible()


def test_the_report_card_shows_one_paper_or_all(visit: Visits) -> None:
    papers = list(dict.fromkeys(row["paper"] for row in report.rows()))
    page = visit().open("/report", "document.querySelector('#report table') !== null")
    assert page.locator("#report section:visible").count() == len(papers)
    page.locator(f'[data-only="{papers[0]}"]').click()
    assert page.locator("#report section:visible").count() == 1 and f"paper={papers[0]}" in page.url
    assert page.locator(f'[data-only="{papers[0]}"]').get_attribute("aria-pressed") == "true"
    page.reload()
    page.wait_for_function(f"document.querySelector('[data-only=\"{papers[0]}\"]')?.ariaPressed === 'true'")
    page.locator('[data-only=""]').click()
    assert page.locator("#report section:visible").count() == len(papers) and "paper=" not in page.url
    page.locator("#report .atlas-measures > summary").first.click()
    page.locator("#report .atlas-recorded > summary").first.click()
    assert page.locator(".atlas-recorded td:visible").count() > 12
    with page.expect_download() as download:
        page.locator('a[download="report_card.json"]').click()
    rows = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert page.locator('[data-only=""] small').inner_text() == str(len(rows))
    assert {row["paper"] for row in rows} == set(papers)


@pytest.mark.parametrize("slug", ["classroom", "report"])
def test_both_rooms_fit_their_width_in_chinese(visit: Visits, slug: str) -> None:
    """In English: test_every_page.py."""
    ready = FILLED if slug == "classroom" else "document.querySelector('#report table') !== null"
    page = visit(locale="zh-CN", color_scheme="dark").open(f"/{slug}", ready)
    assert page.evaluate("document.body.classList.contains('dark')")
    for width, theme in look_around(page):
        page.screenshot(path=str(SHOTS / f"{slug}-{width}-{theme}-zh.png"), full_page=True)
