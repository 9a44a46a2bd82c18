"""Real shapes on the PointCLIP page in a real browser: each one opens, turns and is classified; a bad file is one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demos.pointclip.words import examples
from tests.browser.driving import ANSWERED, STALE, newer, refusal

pytestmark = pytest.mark.browser

Visits = Callable[..., Any]
OWN = Path(__file__).parents[1] / "core/inputs/shapes"
SHIPPED = [name for name, one in examples().items() if not one["cloud"].endswith(".npy")]
# How many pixels of the viewer are painted, and how the cloud is turned.
PAINTED = """() => {
  const canvas = document.querySelector('#try-turning canvas');
  return canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.filter((v, i) => i % 4 === 3 && v).length;
}"""
POSE = "(({turn, tilt}) => [Number(turn), Number(tilt)])(document.querySelector('#try-turning .pc-viewer').dataset)"


def check(page: Any) -> None:
    """The shape in the viewer is painted, turns by mouse and by keyboard, and has a row for each label."""
    viewer = page.locator("#try-turning .pc-viewer")
    viewer.scroll_into_view_if_needed()
    area = viewer.locator("canvas").bounding_box()
    x, y = area["x"] + area["width"] / 2, area["y"] + area["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()  # the cloud no longer turns by itself
    turn, tilt = page.evaluate(POSE)
    page.mouse.move(x + 60, y + 24, steps=2)
    page.mouse.up()
    dragged = page.evaluate(POSE)
    assert dragged[0] > turn + 0.3 and dragged[1] > tilt + 0.1
    viewer.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    pressed = page.evaluate(POSE)
    assert pressed[0] < dragged[0] and pressed[1] < dragged[1]
    assert page.evaluate(PAINTED) > 500
    labels = page.locator("#labels li").count()
    assert labels and page.locator("#try-bars tbody tr").count() == labels
    assert page.locator("#try-views figure img").count() == 6


def upload(page: Any, file: Any) -> None:
    """Puts a visitor's own cloud in place of the one that is there."""
    remove = page.locator("#cloud [aria-label='Clear']")
    if remove.count():
        remove.click()
    page.locator("#cloud input[type=file]").set_input_files(file)


def test_every_real_shape_opens_turns_and_is_classified(visit: Visits) -> None:
    page = visit().open("/pointclip", ANSWERED)
    check(page)
    for name in SHIPPED:
        with newer(page):
            page.locator(f'#examples [data-example="{name}"]').click()
        check(page)
    for file in sorted(OWN.glob("*.[op]*")):
        with newer(page):
            upload(page, str(file))
        check(page)
    # A link says that the visitor's own cloud is not in it.
    page.locator("#link").click()
    page.wait_for_function("location.search.includes('image=own') && !location.search.includes('example=')")
    assert "own file" in page.locator("#atlas-toast").inner_text()
    # A file that holds nothing is refused in a sentence, and the old answer is greyed.
    upload(page, {"name": "dots.obj", "mimeType": "model/obj", "buffer": b"v 0 0 0\n"})
    refusal(page)
    assert page.evaluate(STALE)
