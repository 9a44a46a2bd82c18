"""The live training of LSeg and GroupViT through the kit: a mask that learns, the truth beside it, Stop, the numbers."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Iterator
from typing import Any

import pytest

from core.classroom.recipes.common import live_masks
from core.runtime import Cancel
from demos.kit import mask_training, train
from demos.kit.jobs import Progress
from demos.kit.language import Text
from tests import pages


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sets of drawings, a few small images a step, and a look at the mask after each."""
    monkeypatch.setattr(live_masks, "STYLES", ("twemoji", "symbola"))
    monkeypatch.setattr(live_masks, "EVERY", 0.0)
    tiny = {
        name: (recipe, kind, {**options, "phases": ((1.01, 32, 4),)})
        for name, (recipe, kind, options) in live_masks.LESSONS.items()
    }
    monkeypatch.setattr(live_masks, "LESSONS", tiny)


def moments(paper: str, lang: str, cancel: Cancel, minutes: float = 5) -> Iterator[Any]:
    """The job behind Start of a paper's tab."""
    live = mask_training.tab(paper, Text("", ""), Text("IoU", "IoU")).lay_out.args[0]  # type: ignore[attr-defined]
    return train.training(live, "tab", minutes, lang, cancel)


@pytest.mark.parametrize(("paper", "lang"), [("lseg", "en"), ("groupvit", "zh")])
def test_the_mask_is_visible_as_it_learns_and_stop_ends_it(paper: str, lang: str, small: None) -> None:
    cancel = Cancel()
    job = moments(paper, lang, cancel)
    assert isinstance(next(job), Progress)
    before, after = next(job), next(job)
    assert re.search(r"\d:\d\d left" if lang == "en" else r"剩余 \d:\d\d", before["line"])
    assert before["numbers"] != after["numbers"]
    legend = re.findall(r"<span>([^<]+)</span><b>", after["mask"])
    # LSeg: background, two labels of the image's own and four others. GroupViT: eight numbered groups.
    assert len(legend) == (7 if paper == "lseg" else 8)
    assert ("background" in legend) if paper == "lseg" else all(re.match(r"\d · ", name) for name in legend)
    # The exact mask travels once.
    assert "data:image/png" in before["truth"] and "truth" not in after
    assert after["curves"].count("<svg") >= 2
    cancel.set()
    (last,) = job
    assert ("Stopped." if lang == "en" else "已停止。") in last["line"]
    found = re.search(r'download="([^"]+)" href="data:text/csv;base64,([^"]+)"', last["file"])
    assert found and found[1] == f"{paper}-training.csv"
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(found[2]).decode())))
    assert [row["step"] for row in rows] == ["0", "1", "1"]
    assert rows[0]["loss"] == "" and float(rows[1]["loss"]) > 0


def test_minutes_out_of_range_are_one_sentence() -> None:
    slots = pages.run(lambda lang: list(moments("lseg", lang, Cancel(), minutes=60)), "en")
    assert "minutes must be from" in slots["message"]
