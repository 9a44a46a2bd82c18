"""Facts that pages state about the papers: every published number has its source, and what can be counted is counted."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from open_clip.tokenizer import SimpleTokenizer

from core.classroom import report
from demos import catalog

ROOT = Path(__file__).resolve().parents[1]


def published(value: Any, inside: bool = False) -> Iterator[dict[str, Any]]:
    """Every table with a `value` under a key `published`, at any depth."""
    if isinstance(value, dict):
        if inside and "value" in value:
            yield value
        for key, child in value.items():
            yield from published(child, inside or key == "published")
    elif isinstance(value, list):
        for child in value:
            yield from published(child, inside)


@pytest.mark.parametrize("path", sorted(ROOT.glob("demos/*/*.toml")), ids=lambda path: f"{path.parent.name}")
def test_a_published_number_on_a_page_names_its_source(path: Path) -> None:
    for row in published(tomllib.loads(path.read_text("utf-8"))):
        assert row["source"]["en"] and row["source"]["zh"], row


def test_a_published_number_of_the_report_card_names_its_source() -> None:
    rows = list(published(report.notes()))
    assert rows
    for row in rows:
        assert row["note"]["en"] and row["note"]["zh"], row


def test_the_lseg_number_is_of_the_larger_backbone_and_vild_image_has_none() -> None:
    papers = report.notes()["papers"]
    assert all("ViT-L/16" in row["note"]["en"] for row in papers["lseg"]["published"])
    assert "ViLD-image" not in [row["split"] for row in papers["vild"]["published"]]


def test_clip_cuts_chinese_characters_into_as_many_pieces_as_the_page_says() -> None:
    tokenizer = SimpleTokenizer()
    counts = Counter(len(tokenizer.encode(chr(code))) for code in range(0x4E00, 0xA000))
    assert counts == {1: 2, 2: 2_243, 3: 18_747} and sum(counts.values()) == 20_992
    page = (ROOT / "demos/chinese_clip/data.toml").read_text("utf-8")
    assert all(f"{number:,}" in page for number in (20_992, 2_243, 18_747))


def test_an_article_is_cited_with_volume_and_pages() -> None:
    entry = catalog.entry("clip4clip").paper.bibtex
    assert "volume = {508}" in entry and "pages = {293--304}" in entry and "Captioning" in entry
