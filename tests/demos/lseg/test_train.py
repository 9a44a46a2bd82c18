"""The *Train it live* tab of LSeg and GroupViT through its handlers: it shows how it learns, Stop, one lesson at a time."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from core.classroom.recipes.common import lessons, live_masks
from demos.kit import events as wiring
from demos.kit import segment_train

NUMBERS, MASK, CURVES, START, STOP = range(1, 6)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sets of drawings, a few small pictures a step, and a look at the mask after each."""
    monkeypatch.setattr(live_masks, "STYLES", ("twemoji", "symbola"))
    monkeypatch.setattr(live_masks, "EVERY", 0.0)
    tiny = {name: (recipe, kind, ((1.01, 32, 4),)) for name, (recipe, kind, _) in live_masks.LESSONS.items()}
    monkeypatch.setattr(live_masks, "LESSONS", tiny)


def lesson(
    paper: str = "lseg", session: str = "tab", minutes: float = 5, lang: str = "en"
) -> Iterator[tuple[Any, ...]]:
    """The page's own call, as a visitor's session makes it."""
    run = wiring.with_session(partial(segment_train.train, paper), 5)
    return run(SimpleNamespace(session_hash=session), minutes, lang)


@pytest.mark.parametrize(("paper", "lang"), [("lseg", "en"), ("groupvit", "zh")])
def test_the_mask_is_shown_as_it_learns_and_stop_ends_it(paper: str, lang: str, small: None) -> None:
    steps = lesson(paper, lang=lang)
    first = next(steps)
    assert first[0] == "" and first[START]["visible"] is False and first[STOP]["visible"] is True
    before, after = next(steps), next(steps)
    assert re.search(r"\d:\d\d left" if lang == "en" else r"剩余 \d:\d\d", before[NUMBERS])
    assert before[NUMBERS] != after[NUMBERS]
    legend = re.findall(r"<span>([^<]+)</span><b>", after[MASK])
    # LSeg: background, two labels of the picture's own and four others. GroupViT: eight numbered groups.
    assert len(legend) == (7 if paper == "lseg" else 8)
    assert ("background" in legend) if paper == "lseg" else all(re.match(r"\d · ", name) for name in legend)
    assert after[CURVES].count("<svg") == 2 and "data:image/png" in after[CURVES]
    stopped = wiring.with_session(segment_train.stop, 1)(SimpleNamespace(session_hash="tab"), lang)
    assert isinstance(stopped, tuple) and stopped[1]["interactive"] is False
    (last,) = steps
    assert ("Stopped." if lang == "en" else "已停止。") in last[NUMBERS]
    assert last[START]["visible"] is True and last[STOP]["visible"] is False
    found = re.search(r'download="([^"]+)" href="data:text/csv;base64,([^"]+)"', last[CURVES])
    assert found and found[1] == f"{paper}-training.csv"
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(found[2]).decode())))
    assert (
        [row["step"] for row in rows] == ["0", "1", "1"]
        and rows[0]["loss"] == ""
        and float(rows[1]["loss"]) > 0
    )


@pytest.mark.parametrize(("lang", "words"), [("en", "about 4 more min"), ("zh", "大约还需 4 分钟")])
def test_it_shares_the_one_seat_with_clips_lesson(lang: str, words: str) -> None:
    with lessons.seat(4):
        (answer,) = lesson(lang=lang)
    assert words in answer[0] and 'role="alert"' in answer[0]


def test_a_closed_tab_gives_up_the_seat(small: None) -> None:
    steps = lesson()
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    with lessons.seat(1):
        pass


def test_minutes_out_of_range_and_a_space_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    (answer,) = lesson(minutes=60)
    assert "minutes must be from" in answer[0]
    monkeypatch.setenv("SPACE_ID", "somebody/something")
    (answer,) = lesson()
    assert "switched off on this Space" in answer[0]
