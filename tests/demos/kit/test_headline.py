"""The number of a paper: read from what is recorded, with an image that is served, in both languages."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from core.classroom import report
from demos.app import home
from demos.kit import headline, thumbnails

CARDS = {card.paper: card for card in report.cards()}
HEADLINED = sorted(paper for paper, card in CARDS.items() if card.headline)


@pytest.mark.parametrize("paper", HEADLINED)
def test_a_line_has_the_recorded_number_both_sentences_and_an_image(paper: str) -> None:
    card = CARDS[paper]
    assert card.headline is not None and card.headline_value is not None
    line = headline.line(card)
    assert f"<strong>{card.headline_value:.0%}</strong>" in line
    assert card.headline["en"].split("'")[0] in line and card.headline["zh"] in line
    (name,) = re.findall(rf'src="{thumbnails.ROUTE}/(\w+)\.webp"', line)
    assert thumbnails.encode(name).startswith(b"RIFF")


def test_a_paper_without_a_headline_has_no_line() -> None:
    card = replace(CARDS["clip"], headline=None)
    assert headline.line(card) == headline.figure(card) == ""


def test_the_home_page_shows_the_line_on_its_card() -> None:
    section = home.section("matching", {"clip": headline.line(CARDS["clip"])})
    assert section.count('class="atlas-card-result"') == 1
