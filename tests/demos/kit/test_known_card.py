"""The card of a checkpoint says whether the row answers as published; after a first download that is checked behind the page."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from core import checkpoints
from core.checkpoints import known
from core.checkpoints.known import Verdict
from demos.kit import menu
from tests.core.checkpoints import known_rows
from tests.core.checkpoints.known_rows import Shelf


@pytest.mark.parametrize("row", checkpoints.rows(), ids=lambda row: row.name)
def test_every_row_says_something_in_both_languages(row: checkpoints.Checkpoint) -> None:
    said = menu.verdict(row.name)
    assert said.en and said.zh and said.en != said.zh


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A row on the stand-in Hub whose files are right, one with a mistake, and one that nothing is known of."""
    shelf = Shelf(tmp_path_factory.mktemp("cards"))
    source = shelf.root / "clip"
    wanted = known_rows.clip_repository(source)
    for name in ("right", "wrong", "silent"):
        folder = known_rows.copy(source, shelf.folder(name))
        if name == "wrong":
            known_rows.spoil_clip(folder, "tokens")
        shelf.row(name, "core.clip.encoders:load_open_clip")
    for name in ("right", "wrong"):
        shelf.answer(name, known_rows.CLIP_PROBES["logits"], "logits", wanted["logits"])
    with known_rows.on_hub(shelf):
        yield


def checked(name: str) -> list[Any]:
    """The cards that the check of a row shows, one behind the other."""
    return [cards[0] for cards in menu.CheckpointMenu._check(None, name, "en")]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "sentence", "chinese"),
    [
        ("right", "answers as published (the library)", "回答与公布的一致（the library）"),
        ("wrong", "answers differ from what is published by 1 where 0.03 is allowed (the library)", "允许 0.03"),
    ],
)  # fmt: skip
def test_after_a_first_download_the_card_says_how_the_row_answers(
    rows: None, name: str, sentence: str, chinese: str
) -> None:
    assert "to be checked after the download (the library)" in menu.card(name)
    assert len(checked(name)) == 1  # nothing is checked before it is here
    checkpoints.open(name)
    assert "not checked yet" in menu.card(name)
    during, after = checked(name)
    assert "being checked …" in during and "正在核对" in during
    assert sentence in after and chinese in after and menu.card(name) == after
    assert len(checked(name)) == 1  # once is enough


def test_a_row_without_a_known_answer_says_so(rows: None) -> None:
    checkpoints.open("silent")
    assert "none: no published answer was found" in menu.card("silent")
    assert len(checked("silent")) == 1


def test_a_check_that_fails_is_logged_and_hurts_nobody(
    rows: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints.open("right")
    monkeypatch.setattr(known, "remembered", lambda name: None)
    monkeypatch.setattr(known, "check", lambda *_, **__: 1 / 0)
    with caplog.at_level(logging.ERROR):
        assert "not checked yet" in checked("right")[-1]
    assert "could not be checked" in caplog.text


@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [
        (Verdict("right", "differs", source="<i>"), "does not answer as published (&lt;i&gt;)"),
        (Verdict("right", "as published", source="a & b"), "answers as published (a &amp; b)"),
    ],
)
def test_a_source_is_escaped(
    rows: None, verdict: Verdict, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "remembered", lambda name: replace(verdict))
    assert sentence in menu.verdict("right").en
