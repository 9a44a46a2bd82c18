"""The one number of a paper's miniature with an image of its world, as the report card and the home page show it.

Number, image and sentence are recorded data: `assets/report_card.json` and the headlines of `core.classroom.report`.
"""

from __future__ import annotations

from core.classroom.report import Card
from demos.kit import library, thumbnails
from demos.kit.html import Markup, tag
from demos.kit.language import Text, both_of


def parts(card: Card) -> tuple[str, str, Markup] | None:
    """The address of the image, the number as percent and the sentence that says what it counts; None without a headline."""
    head, value = card.headline, card.headline_value
    if head is None or value is None:
        return None
    image = thumbnails.of_file(library.ASSETS / head["image"])
    return image, f"{value:.0%}", both_of(Text(head["en"], head["zh"]))


def figure(card: Card) -> Markup:
    """A figure for the report card; empty without a headline."""
    headline = parts(card)
    if headline is None:
        return Markup("")
    image, number, sentence = headline
    caption = tag("figcaption", tag("strong", number), Markup(" "), sentence)
    return tag("figure", tag("img", alt="", src=image, loading="lazy"), caption, class_="atlas-headline")


def line(card: Card) -> Markup:
    """One line for a card of the home page; empty without a headline."""
    headline = parts(card)
    if headline is None:
        return Markup("")
    image, number, sentence = headline
    text = tag("span", tag("strong", number), Markup(" "), sentence)
    return tag("span", tag("img", alt="", src=image, loading="lazy"), text, class_="atlas-card-result")
