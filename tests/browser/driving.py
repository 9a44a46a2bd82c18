"""How tests drive a page of the kit: its answer, its labels, its tabs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import settle

# JavaScript: whether the first tab has an answer, which one, and the sentence over one that belongs to other inputs.
ANSWERED = "document.querySelector('#try-result [data-answer]') !== null"
MARK = "document.querySelector('#try-result [data-answer]')?.dataset.answer"
STALE = "document.querySelector('#try-result').dataset.stale"
PATIENCE = 180_000  # milliseconds that an answer may take
SHOTS = Path(__file__).resolve().parents[2] / "shots"
LABELS = "[...document.querySelectorAll('#labels li')].map((chip) => chip.firstChild.textContent)"


def write_labels(page: Any, text: str) -> None:
    """Types labels in place of those that are there."""
    box = page.locator("#labels input")
    box.click()
    for _ in range(page.locator("#labels li").count()):
        page.keyboard.press("Backspace")
    box.fill(text)
    box.press("Enter")


@contextmanager
def newer(page: Any, place: str = "try", press: bool = False) -> Iterator[None]:
    """What is done inside asks for an answer of a place, which is there behind it.

    Args:
        page: of the browser.
        place: the name of the place, "try" for the first tab.
        press: whether its button has to be pressed in any case.
    """
    mark = f"document.querySelector('#{place}-result [data-answer]')?.dataset.answer ?? ''"
    stale = f"document.querySelector('#{place}-result').dataset.stale"
    before = page.evaluate(mark)
    yield
    if press:
        page.locator(f"#{place}-run").click()
    else:
        page.wait_for_function(f"({mark}) !== '{before}' || {stale}", timeout=PATIENCE)
        settle(
            page, rounds=2, seconds=PATIENCE / 1000
        )  # a click while the handler is at work would replace its answer
        if page.evaluate(stale):  # a slow machine asks for a click
            page.locator(f"#{place}-run").click()
    page.wait_for_function(f"({mark}) !== '{before}' && !({stale})", timeout=PATIENCE)


def refusal(page: Any) -> Any:
    """The sentence that refuses the new inputs of the first tab. A slow machine asks for a click before it looks at them."""
    alert = page.locator("#atlas-message .atlas-refusal")
    page.wait_for_function(
        f"document.querySelector('#atlas-message .atlas-refusal') || {STALE}", timeout=PATIENCE
    )
    settle(page, rounds=2)
    if not alert.count():
        page.locator("#try-run").click()
    alert.wait_for()
    return alert


def upload(page: Any, place: str, files: Any) -> None:
    """Chooses files in a field of files. Their names stand there while they are sent, so one has to wait for the list of them."""
    page.locator(f"{place} input[type=file]").set_input_files(files)
    page.locator(f"{place} .file-preview tr", has_text="⇣").first.wait_for()


def answer_to(page: Any, text: str) -> None:
    """Types labels and waits for their answer."""
    with newer(page):
        write_labels(page, text)


def run(page: Any, place: str) -> None:
    """Presses the button of a place and waits for its answer."""
    with newer(page, place, press=True):
        pass


def first_label(page: Any) -> str:
    """The label that the first tab's bars begin with: the best one."""
    return str(page.locator("#try-bars tbody tr").first.locator("th").inner_text())


def open_tab(page: Any, *names: str) -> None:
    """Opens a tab by its title, one of a group after its group; on a narrow screen it may be behind a bar's menu."""
    for name in names:
        shown = page.get_by_role("tab", name=name, exact=True).locator("visible=true")
        if not shown.count():
            shown = page.locator(".overflow-menu:visible .overflow-dropdown button", has_text=name)
            shown.locator("xpath=../../button").click()
        shown.first.click()


def unfold(page: Any, name: str) -> None:
    """Opens a fold. A slider that comes into the page is set to its value once more, so one has to wait before moving it."""
    page.locator(f"#{name} > button:not(.open)").click()
    settle(page)


def look_around(page: Any) -> Iterator[tuple[int, str]]:
    """Shows an open page on a desk in light and on a phone in dark, where it has to fit: the width, and the theme."""
    SHOTS.mkdir(exist_ok=True)
    for width, height, theme in ((1280, 900, "light"), (390, 844, "dark")):
        page.set_viewport_size({"width": width, "height": height})
        if page.evaluate("document.body.classList.contains('dark')") != (theme == "dark"):
            page.locator("[data-toggle-theme]").click()
        assert page.evaluate("document.body.classList.contains('dark')") == (theme == "dark")
        settle(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        yield width, theme


def refuse_device(visit: Callable[..., Any], path: str, button: str, sentence: str) -> None:
    """Presses a button that records where there is no device: one sentence, and the button stays."""
    script = "navigator.mediaDevices.getUserMedia = async () => { throw new Error('none'); }"
    page = visit(locale="zh-CN", script=script).open(f"{path}?lang=zh", ANSWERED)
    page.locator(f"{button} button").click()
    page.locator(f"{button} [role=status]", has_text=sentence).wait_for()
    settle(page)
    assert page.locator(f"{button} button").is_enabled()


def chinese_lines(page: Any) -> list[str]:
    """The lines in sight that have Chinese characters, but for the button of the other language."""
    text = str(page.locator(".gradio-container").inner_text()).replace("中文", "")
    return [line for line in text.splitlines() if any("\u4e00" <= letter <= "\u9fff" for letter in line)]
