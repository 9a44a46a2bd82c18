"""Real weights on the page: size and licence first, a download, and the real architecture's answer.

The weights come from the stand-in Hub on loopback and are random: what is shown is the way, not the knowledge.
Stop, resume and a Hub out of reach are tested on a small row in test_home.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.checkpoints import registry
from tests import standin_hub
from tests.browser.driving import ANSWERED, STALE
from tests.conftest import Tabs, Visit, running_app

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NAME = "clip-rn50"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, standin_hub.StandInHub]]:
    """An app whose Hub is the stand-in, with one real-size row on it."""
    root: Path = tmp_path_factory.mktemp("hub")
    made = standin_hub.make_repo(registry.row(NAME), root / "repos")
    (root / "registry.toml").write_text(standin_hub.registry_text({NAME: made}), encoding="utf-8")
    with standin_hub.serve(root / "repos") as hub:
        environment = {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(root / "home"),
            "HF_HUB_CACHE": str(root / "home" / "hub"),
            "HF_HUB_OFFLINE": "0",
            "CLIP_ATLAS_REGISTRY": str(root / "registry.toml"),
        }
        with running_app(root / "app.log", **environment) as url:
            yield url, hub


def choose(page: Any, name: str) -> None:
    """Picks a row of the checkpoint menu by the beginning of its title."""
    page.locator("#checkpoint input").click()
    page.get_by_role("option", name=name).first.click()


@pytest.fixture
def tab(tabs: Tabs, hub: tuple[str, standin_hub.StandInHub]) -> Iterator[Visit]:
    """A tab on the app of the stand-in Hub."""
    with tabs.visit(hub[0]) as tab:
        yield tab


def test_a_real_row_is_downloaded_and_answers(tab: Visit, hub: tuple[str, standin_hub.StandInHub]) -> None:
    page = tab.open("/clip?labels=a rose, a horse, a teapot", ANSWERED)
    choose(page, "ResNet-50")
    note = page.locator("#download-note")
    page.wait_for_function("document.querySelector('#download-note').innerText.includes('MB')")
    assert "408 MB" in note.inner_text() and "mit" in note.inner_text().lower()
    # The answer on the page is the miniature's: it is greyed.
    assert page.evaluate(STALE)

    # Asked before it is here: a sentence that says what to do, the page stays on what it has.
    page.locator("#try-run").click()
    alert = page.locator("#atlas-message [role=alert]")
    alert.wait_for()
    assert "408 MB" in alert.inner_text()

    # Once it is here it answers by itself.
    page.locator("#download-checkpoint").click()
    page.wait_for_function(
        "document.querySelector('#checkpoint input').value.includes('· downloaded')", timeout=180_000
    )
    page.wait_for_function(
        "document.querySelector('#try-line').innerText.includes('ResNet-50')", timeout=180_000
    )
    assert not page.evaluate(STALE) and alert.count() == 0
    assert page.locator("#try-bars tbody tr").count() == 3
