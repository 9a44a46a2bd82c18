"""The one number of a paper's miniature with an image of its world, as the report card and the home page show it.

Number, image and sentence are recorded data: `assets/report_card.json` and the headlines of `core.classroom.report`.
"""

from __future__ import annotations

from core.classroom.report import Card
from demos.kit import library, thumbnails
from demos.kit.html import Markup, tag
from demos.kit.language import Text, both_of


def _drawn(card: Card, outer: str, inner: str, kind: str) -> Markup:
    """The image, the number as percent and the sentence that says what it counts; empty without a headline."""
    head, value = card.headline, card.headline_value
    if head is None or value is None:
        return Markup()
    image = tag("img", alt="", src=thumbnails.of_file(library.ASSETS / head["image"]), loading="lazy")
    text = tag(inner, tag("strong", f"{value:.0%}"), " ", both_of(Text(head["en"], head["zh"])))
    return tag(outer, image, text, class_=kind)


def figure(card: Card) -> Markup:
    """A figure for the report card."""
    return _drawn(card, "figure", "figcaption", "atlas-headline")


def line(card: Card) -> Markup:
    """One line for a card of the home page."""
    return _drawn(card, "span", "span", "atlas-card-result")
